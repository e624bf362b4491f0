"""Sentences that remember what they were made of, and are translated when they are shown.

A `Message` is English text wherever a text is expected: in an error, a log or a file. What shows it
to a person calls `shown`, which says the same in the language in use.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from typing import Any, Self

from clinadapt.core import formatting
from clinadapt.core.language import catalogue, language, localised, use_language

# Number formats that a template may name: "{difference:points}".
FORMATS = {
    name: getattr(formatting, name)
    for name in ("score", "seconds", "size", "count", "estimate", "share", "percent", "points", "p")
}


class Message(str):
    """A sentence: English text, with its template and the values in it.

    Parameters
    ----------
    template : str
        The whole sentence, with named fields in braces. A format is one of Python's or of
        `FORMATS`. Without fields it is taken as it is. It is the key of the translations.
    many : str, optional
        The template where the field ``count`` asks for the plural; see `plural`.
    **fields
        Values: numbers, texts that need no translation, other messages, and lists of these.

    Examples
    --------
    >>> from clinadapt.core.language import use_language
    >>> said = Message("{notes:,} test notes", notes=1200)
    >>> print(said)
    1,200 test notes
    >>> with use_language("fr"):
    ...     print(shown(said).replace("\u202f", " "))
    1 200 comptes rendus de test
    """

    template: str
    many: str | None
    fields: Mapping[str, Any]

    def __new__(cls, template: str, many: str | None = None, /, **fields: Any) -> Self:  # noqa: D102
        with use_language("en"):
            self = super().__new__(cls, _filled(template, many, fields))
        self.template, self.many, self.fields = str(template), many, fields
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self.template, self.many, dict(self.fields))

    def to_json(self) -> dict[str, Any]:
        """Return template and values, for `from_json`."""
        fields = {name: _to_json(value) for name, value in self.fields.items()}
        many = {} if self.many is None else {"many": self.many}
        return {"template": self.template, **many, "fields": fields}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the message that `to_json` described."""
        fields = {name: _from_json(value) for name, value in content["fields"].items()}
        return cls(content["template"], content.get("many"), **fields)


def plural(one: str, many: str, /, count: int, **fields: Any) -> Message:
    """Return the message for one thing or for several; its template may name ``count``."""
    return Message(one, many, count=count, **fields)


def shown(text: str) -> str:
    """Return a text in the language in use, if it is a message; another text as it is."""
    if not isinstance(text, Message):
        return text
    return str(text) if language() == "en" else _filled(text.template, text.many, text.fields)


def translate(template: str, /, **fields: Any) -> str:
    """Return a sentence in the language in use; see `Message`."""
    return shown(Message(template, **fields))


def looked_up(text: str) -> str:
    """Return the translation of a text without fields that may be a message's, or the text."""
    return shown(text) if isinstance(text, Message) else catalogue(language()).gettext(text)


def joined(messages: Sequence[str], separator: str = ", ") -> str:
    """Return texts and messages in the language in use, with a separator between them."""
    return separator.join(map(shown, messages))


def _to_json(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    return {"message": value.to_json()} if isinstance(value, Message) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, list):
        return [_from_json(item) for item in value]
    return Message.from_json(value["message"]) if isinstance(value, dict) else value


def _made(template: str, many: str | None, fields: dict[str, Any]) -> Message:
    return Message(template, many, **fields)


def _filled(template: str, many: str | None, fields: Mapping[str, Any]) -> str:
    known = catalogue(language())
    if many is None:
        text = known.gettext(template)
    else:
        text = known.ngettext(template, many, fields["count"])
    return _FORMATTER.vformat(text, (), fields) if fields else text


class _Formatter(string.Formatter):
    """Formatter for numbers in the language in use; fields are plain names."""

    def get_field(self, field_name: str, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        return kwargs[field_name], field_name  # no attributes, no indices

    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, list | tuple):
            return ", ".join(self.format_field(item, format_spec) for item in value)
        if isinstance(value, str):
            return shown(value)
        if format_spec in FORMATS:
            return str(FORMATS[format_spec](value))
        return localised(format(value, format_spec))


_FORMATTER = _Formatter()
