"""The language that people read: English, or a translation from ``core/locales``.

The translations are gettext catalogues: ``clinadapt.po`` is edited, and ``make translations``
brings it up to date with the source and compiles it.
"""

from __future__ import annotations

import gettext
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path

from clinadapt.core.errors import InputError

LANGUAGES = {"en": "English", "fr": "Français"}
DOMAIN = "clinadapt"
LOCALES = Path(__file__).with_name("locales")

_of_program = "en"
_of_block: ContextVar[str | None] = ContextVar("language", default=None)


def language() -> str:
    """Return the code of the language in use, "en" or "fr"."""
    return _of_block.get() or _of_program


def set_language(code: str) -> None:
    """Choose the language of the program, in all of its threads.

    Raises
    ------
    InputError
        There is no translation into this language.
    """
    global _of_program
    _of_program = known(code)


@contextmanager
def use_language(code: str) -> Iterator[None]:
    """Use a language inside a ``with`` block, whatever that of the program is.

    Raises
    ------
    InputError
        There is no translation into this language.

    Examples
    --------
    >>> from clinadapt.core import formatting
    >>> with use_language("fr"):
    ...     formatting.score(0.8125)
    '0,812'
    """
    token = _of_block.set(known(code))
    try:
        yield
    finally:
        _of_block.reset(token)


def known(code: str) -> str:
    """Return the code of a language that there is, or raise.

    Raises
    ------
    InputError
        There is no translation into this language.
    """
    if code not in LANGUAGES:
        raise InputError(f"unknown language {code!r}: expected one of {', '.join(LANGUAGES)}")
    return code


def of_environment() -> str:
    """Return the language that the environment asks for, by the variables that gettext reads."""
    for variable in ("LANGUAGE", "LC_ALL", "LC_MESSAGES", "LANG"):
        if asked := os.environ.get(variable):
            codes = (re.split(r"[_.@-]", locale)[0].lower() for locale in asked.split(":"))
            return next((code for code in codes if code in LANGUAGES), "en")
    return "en"


@cache
def catalogue(code: str) -> gettext.NullTranslations:
    """Return the messages of a language by their English text."""
    return gettext.translation(DOMAIN, LOCALES, [code], fallback=code == "en")


def localised(number: str) -> str:
    """Return a number that Python has formatted, with the marks of the language in use."""
    if language() == "en":
        return number
    # A narrow no-break space parts thousands, a no-break space the percent sign.
    return number.replace(",", "\u202f").replace(".", ",").replace("%", "\u00a0%")
