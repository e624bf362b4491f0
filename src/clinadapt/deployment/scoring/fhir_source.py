"""Reads notes from FHIR ``DocumentReference`` resources in NDJSON files (bulk export).

See https://hl7.org/fhir/R4/documentreference.html. The ``content`` of a resource repeats one
document in several formats. Its ``text/plain`` attachments are read: identical ones once, different
ones joined by an empty line. If one of them cannot be decoded, the document is not scored.
"""

import base64
import json
from collections.abc import Iterator, Sequence
from email.message import Message
from itertools import islice
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.data.tables.table import ROWS_AT_ONCE
from clinadapt.deployment.scoring.file_source import contents_of, names_of
from clinadapt.deployment.scoring.interfaces import EMPTY, NAMELESS, NoteBatch, Position

SUFFIXES = (".ndjson", ".jsonl")
NOT_JSON = "the line is not valid JSON"
NOT_DOCUMENT = "not a DocumentReference"
NO_PLAIN_TEXT = "no text/plain attachment"
NOT_INCLUDED = "the attachment is not included (url without data)"
NOT_BASE64 = "the attachment is not valid base64"
UNKNOWN_CHARSET = "the charset of the attachment is unknown"
OTHER_CHARSET = "the attachment cannot be decoded with its charset"
SCHEMA = dict.fromkeys(("id", "place", "text", "reason", "subject", "time"), pl.String)


class _NotScorableError(Exception):
    """A document cannot be scored; the message is the reason."""


class FhirNotes:
    """Source: FHIR resources; the id of a note is that of its resource.

    Parameters
    ----------
    files : sequence of Path
        NDJSON files, one resource per line.
    """

    integer_ids = False
    ids_repeat = True

    def __init__(self, files: Sequence[Path]) -> None:
        self.files, self.names = files, names_of(files)
        self.identity: dict[str, Any] = {"files": contents_of(files), "format": "fhir"}

    def count(self) -> int:
        """Return the number of lines that are not blank."""
        return sum(1 for path in self.files for _ in _lines(path))

    def read(self, after: Position | None) -> Iterator[NoteBatch]:
        """Yield the documents after a position, which is a file number and a line number."""
        first, skipped = (after["file"], after["line"]) if after else (0, 0)
        for number in range(first, len(self.files)):
            lines = ((at, line) for at, line in _lines(self.files[number]) if at > skipped)
            name = self.names[number]
            # Decoded one by one: a line may also hold megabytes of PDF.
            while some := [
                (at, _note(line, f"{name}:{at}")) for at, line in islice(lines, ROWS_AT_ONCE)
            ]:
                notes = pl.DataFrame([row for _, row in some], schema=SCHEMA, orient="row")
                yield NoteBatch(notes, {"file": number, "line": some[-1][0]})
            skipped = 0


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                yield number, line


def _note(line: bytes, place: str) -> tuple[str | None, ...]:
    """Return id, place, text, reason, subject and time of a resource."""
    try:
        resource = json.loads(line)
    except (ValueError, RecursionError):
        return None, place, None, NOT_JSON, None, None
    if not isinstance(resource, dict) or resource.get("resourceType") != "DocumentReference":
        return None, place, None, NOT_DOCUMENT, None, None
    id, subject, time = resource.get("id"), resource.get("subject"), resource.get("date")
    reference = subject.get("reference") if isinstance(subject, dict) else None
    person = reference.rpartition("/")[2] if isinstance(reference, str) else None
    text = reason = None
    try:
        text = _text(resource)
    except _NotScorableError as error:
        reason = str(error)
    if not isinstance(id, str) or not id.strip():
        id, reason = None, NAMELESS
    return _clean(id), place, text, reason, _clean(person), _clean(time)


def _clean(value: Any) -> str | None:
    """Return a string without lone surrogates, which are valid in JSON but not in a table."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None


def _text(resource: dict[str, Any]) -> str:
    """Return the plain text of a resource."""
    content = resource.get("content")
    parts = [
        attachment
        for item in (content if isinstance(content, list) else [])
        if isinstance(item, dict) and isinstance(attachment := item.get("attachment"), dict)
    ]
    typed = [(attachment, _content_type(attachment)) for attachment in parts]
    plain = [(one, kind) for one, kind in typed if kind.get_content_type() == "text/plain"]
    if not plain:
        raise _NotScorableError(NO_PLAIN_TEXT)
    texts = dict.fromkeys(_decoded(one, kind) for one, kind in plain)
    text = "\n\n".join(text for text in texts if text.strip())
    if not text:
        raise _NotScorableError(EMPTY)
    return text


def _content_type(attachment: dict[str, Any]) -> Message:
    """Return the MIME type of an attachment with its parameters."""
    message = Message()
    kind = attachment.get("contentType")
    # Without this, a missing type would be parsed as text/plain.
    message["content-type"] = kind if isinstance(kind, str) else "application/octet-stream"
    return message


def _decoded(attachment: dict[str, Any], kind: Message) -> str:
    """Return the decoded text of an attachment."""
    data = attachment.get("data")
    if data is None:
        raise _NotScorableError(NOT_INCLUDED if attachment.get("url") else EMPTY)
    try:
        content = base64.b64decode("".join(data.split()), validate=True)
    except (ValueError, AttributeError):
        raise _NotScorableError(NOT_BASE64) from None
    try:
        return content.decode(kind.get_content_charset("utf-8")).removeprefix("\ufeff")
    except LookupError:
        raise _NotScorableError(UNKNOWN_CHARSET) from None
    except ValueError:  # some codecs raise nothing more specific
        raise _NotScorableError(OTHER_CHARSET) from None
