"""The text of a FHIR ``DocumentReference`` or ``DiagnosticReport``, or why it cannot be scored.

See https://hl7.org/fhir/R4/documentreference.html and
https://hl7.org/fhir/R4/diagnosticreport.html. Only what is valid and complete is scored: documents
with the status ``current`` and reports that are final or corrected after they were.

The attachments of a resource repeat one document in several formats. Those in plain text are read:
identical ones once, different ones joined by an empty line. If there are none, those in HTML and
RTF can be turned into text. If one of the attachments that are read cannot be decoded, the document
is not scored.
"""

import base64
import re
from collections.abc import Callable, Iterator
from email.message import Message
from typing import Any

from clinadapt.deployment.scoring.interfaces import EMPTY
from clinadapt.deployment.scoring.markup_to_text import html_to_text, rtf_to_text

NO_PLAIN_TEXT = "no text/plain attachment"
NOT_INCLUDED = "the attachment is not included (url without data, or a Binary that is absent)"
NOT_BASE64 = "the attachment is not valid base64"
UNKNOWN_CHARSET = "the charset of the attachment is unknown"
OTHER_CHARSET = "the attachment cannot be decoded with its charset"
OTHER_FORMAT = "the attachment calls itself text/plain, but is "
NOT_CONVERTED = "only in {}, which --convert turns into text"
NOT_CONVERTIBLE = "the attachment is not valid {}"
PLAIN, HTML, RTF = "text/plain", "HTML", "RTF"
FORMATS = {
    PLAIN: PLAIN,
    "text/html": HTML,
    "application/xhtml+xml": HTML,
    "text/rtf": RTF,
    "application/rtf": RTF,
    "application/x-rtf": RTF,
}
CONVERTERS: dict[str, Callable[[bytes, str | None], str]] = {HTML: html_to_text, RTF: rtf_to_text}
# The codes of R4 and R5 that stand for a valid, complete document. Those of `status` concern the
# reference, or for a report the report itself; those of `docStatus` the document.
COMPLETE = ("final", "amended", "corrected", "appended", "modified")
ACCEPTED: dict[str, dict[str, tuple[str, ...]]] = {
    "DocumentReference": {"status": ("current",), "docStatus": COMPLETE},
    "DiagnosticReport": {"status": COMPLETE},
}
CODE = re.compile(r"[a-z-]{1,20}")
MEDIA_TYPE = re.compile(r"\s*[\w.+-]+/[\w.+-]+\s*(;.*)?", re.DOTALL)
# First bytes of what often calls itself plain text. Markup may begin with a part of a page.
SIGNATURES = {
    b"%PDF": "PDF",
    b"PK\x03\x04": "a compressed file",
    b"\x1f\x8b": "a compressed file",
    b"\xd0\xcf\x11\xe0": "a Word file",
    b"\x89PNG": "an image",
    b"\xff\xd8\xff": "an image",
    b"II*\x00": "an image",
    b"MM\x00*": "an image",
    b"{\\rtf": RTF,
}
MARKUP = re.compile(
    rb"<(!doctype|!--|\?xml|ClinicalDocument|html|head|body|meta|title|style|div|p|span|br|table|pre"
    rb"|font|center|section|article|h[1-6]|ul|ol|b|i|u|strong|em|a)\b[^<]*>|<!--|<!doctype|<\?xml",
    re.IGNORECASE,
)
BYTE_ORDER_MARKS = {b"\xef\xbb\xbf": "utf-8", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}

Attachment = dict[str, Any]


class NotScorableError(Exception):
    """A document cannot be scored; the message is the reason."""


def text_of(
    resource: dict[str, Any], find: Callable[[str], Attachment | None], convert: bool = False
) -> str:
    """Return the text of a document or report.

    Parameters
    ----------
    resource : dict
        ``DocumentReference`` or ``DiagnosticReport``.
    find : callable
        Returns the ``Binary`` with a URL; None if it is not included.
    convert : bool
        Whether to turn HTML and RTF into text, if there is no plain text.

    Raises
    ------
    NotScorableError
        The message is the reason; it quotes no text.
    """
    _check_status(resource)
    attachments = list(_attachments(resource))
    conclusion = resource.get("conclusion")
    if not attachments and resource["resourceType"] == "DiagnosticReport" and conclusion:
        return _joined([conclusion] if isinstance(conclusion, str) else [])
    contained = resource.get("contained")
    inside = {
        f"#{one.get('id')}": one
        for one in (contained if isinstance(contained, list) else ())
        if isinstance(one, dict) and one.get("resourceType") == "Binary"
    }
    found = [_with_data(one, lambda url: inside.get(url) or find(url)) for one in attachments]
    by_format: dict[str | None, list[tuple[Attachment, Message]]] = {}
    for attachment in found:
        kind = _content_type(attachment)
        by_format.setdefault(FORMATS.get(kind.get_content_type()), []).append((attachment, kind))
    if PLAIN in by_format:
        return _joined([_plain(_bytes(one), kind, convert) for one, kind in by_format[PLAIN]])
    formats = [name for name in CONVERTERS if name in by_format]
    if formats and convert:
        parts = by_format[formats[0]]
        return _joined([_converted(_bytes(one), formats[0], _charset(kind)) for one, kind in parts])
    raise NotScorableError(
        NOT_CONVERTED.format(" and ".join(formats)) if formats else NO_PLAIN_TEXT
    )


def _check_status(resource: dict[str, Any]) -> None:
    for name, accepted in ACCEPTED[resource["resourceType"]].items():
        status = resource.get(name)
        if status is None or status in accepted:
            continue
        shown = isinstance(status, str) and CODE.fullmatch(status)
        raise NotScorableError(f"the {name} is {status if shown else 'not a known code'}")


def _attachments(resource: dict[str, Any]) -> Iterator[Attachment]:
    content, form = resource.get("content"), resource.get("presentedForm")
    for item in content if isinstance(content, list) else ():
        if isinstance(item, dict) and isinstance(attachment := item.get("attachment"), dict):
            yield attachment
    yield from (one for one in (form if isinstance(form, list) else ()) if isinstance(one, dict))


def _with_data(attachment: Attachment, find: Callable[[str], Attachment | None]) -> Attachment:
    """Return an attachment with the data and any missing type of the ``Binary`` it refers to."""
    url = attachment.get("url")
    if attachment.get("data") is not None or not isinstance(url, str):
        return attachment
    binary = find(url)
    if binary is None:
        return attachment
    data = binary.get("data", binary.get("content"))  # "content" before R4
    kind = attachment.get("contentType") or binary.get("contentType")
    return {**attachment, "data": data, "contentType": kind}


def _content_type(attachment: Attachment) -> Message:
    """Return the media type of an attachment with its parameters."""
    message = Message()
    kind = attachment.get("contentType")
    # Without this, what is missing or is no media type would be parsed as text/plain.
    known = isinstance(kind, str) and MEDIA_TYPE.fullmatch(kind)
    message["content-type"] = " ".join(str(kind).split()) if known else "application/octet-stream"
    return message


def _bytes(attachment: Attachment) -> bytes:
    data = attachment.get("data")
    if data is None:
        raise NotScorableError(NOT_INCLUDED if attachment.get("url") else EMPTY)
    try:
        return base64.b64decode("".join(data.split()), validate=True)
    except (ValueError, AttributeError):
        raise NotScorableError(NOT_BASE64) from None


def _charset(kind: Message) -> str | None:
    charset = kind.get_param("charset")
    return charset if isinstance(charset, str) else None


def _plain(content: bytes, kind: Message, convert: bool) -> str:
    """Return the text of an attachment that calls itself plain text."""
    actual = _actual_format(content)
    if actual in CONVERTERS and convert:
        return _converted(content, actual, _charset(kind))
    if actual is not None:
        raise NotScorableError(OTHER_FORMAT + actual)
    text = _decoded(content, _charset(kind))
    if "\0" in text:
        raise NotScorableError(OTHER_CHARSET)
    return text


def _actual_format(content: bytes) -> str | None:
    """Return the format of bytes that are no plain text, by the first of them."""
    start = content[:1024].removeprefix(b"\xef\xbb\xbf").lstrip()
    for signature, name in SIGNATURES.items():
        if start.startswith(signature):
            return name
    if not MARKUP.match(start):
        return None
    is_other = start.startswith((b"<?xml", b"<ClinicalDocument")) and b"<html" not in start.lower()
    return "XML" if is_other else HTML


def _decoded(content: bytes, charset: str | None) -> str:
    marked = (name for mark, name in BYTE_ORDER_MARKS.items() if content.startswith(mark))
    try:
        text = content.decode(charset or next(marked, "utf-8"))
    except LookupError:
        raise NotScorableError(UNKNOWN_CHARSET) from None
    except ValueError:  # some codecs raise nothing more specific
        raise NotScorableError(OTHER_CHARSET) from None
    return text.removeprefix("\ufeff")


def _converted(content: bytes, name: str, charset: str | None) -> str:
    actual = _actual_format(content)
    if actual is not None and actual != name:
        raise NotScorableError(f"the attachment calls itself {name}, but is {actual}")
    try:
        return CONVERTERS[name](content, charset)
    except LookupError:
        raise NotScorableError(UNKNOWN_CHARSET) from None
    except Exception:  # whatever a parser says of damaged markup may quote it
        raise NotScorableError(NOT_CONVERTIBLE.format(name)) from None


def _joined(texts: list[str]) -> str:
    text = "\n\n".join(text for text in dict.fromkeys(texts) if text.strip())
    if not text:
        raise NotScorableError(EMPTY)
    return text
