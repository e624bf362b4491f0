"""Reads FHIR resources from files: NDJSON, JSON, Bundles, each of them also compressed by gzip."""

import gzip
import json
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, cast

from clinadapt.core.errors import InputError

SUFFIXES = (".ndjson", ".jsonl", ".json", ".gz")
GZIP = b"\x1f\x8b"
NOT_JSON = object()  # in place of what cannot be parsed


@dataclass(frozen=True)
class Found:
    """A resource and its place in a file.

    Attributes
    ----------
    line : int
        Number of its line from 1 on or, in JSON that spans lines, of its top-level value.
    entry : int
        Number within that line's Bundle or array, from 1 on; 0 if it stands alone.
    resource : object
        The parsed JSON, of any type; `NOT_JSON` if it cannot be parsed.
    url : str, optional
        Its ``fullUrl`` in a Bundle.
    """

    line: int
    entry: int
    resource: Any
    url: str | None = None


def read_resources(path: Path, after: tuple[int, float] = (0, 0)) -> Iterator[Found]:
    """Yield the resources of a file that follow a line and entry.

    Raises
    ------
    InputError
        The file is compressed and damaged.
    """
    for line, value in _values(path, after[0]):
        for found in _unpacked(line, value):
            if (line, found.entry) > after:
                yield found


def _unpacked(line: int, value: Any) -> Iterator[Found]:
    if isinstance(value, dict) and value.get("resourceType") == "Bundle":
        entries = value.get("entry")
        for number, entry in enumerate(entries if isinstance(entries, list) else (), 1):
            content = entry if isinstance(entry, dict) else {}
            yield Found(line, number, content.get("resource"), content.get("fullUrl"))
    elif isinstance(value, list):
        yield from (Found(line, number, entry) for number, entry in enumerate(value, 1))
    else:
        yield Found(line, 0, value)


def _values(path: Path, after: int) -> Iterator[tuple[int, Any]]:
    """Yield number and content of each line from a line on, or of each value that spans some."""
    with _opened(path) as file:
        number = 0
        for number, first in enumerate(file, 1):  # noqa: B007 (the number is used after the loop)
            if first.strip():
                break
        else:
            return
        if _goes_on(first):
            for at, value in enumerate(_sequence(first + file.read()), 1):
                if at >= after:
                    yield at, value
            return
        for at, line in enumerate(chain([first], file), number):
            if at >= after and line.strip():
                yield at, _parsed(line)


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    with path.open("rb") as file:
        is_gzip = file.read(2) == GZIP
    try:
        with path.open("rb") as plain:
            yield cast("IO[bytes]", gzip.GzipFile(fileobj=plain)) if is_gzip else plain
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise InputError(
            f"{path} is a damaged gzip file: copy it again from its source, or unpack what is left"
        ) from None


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return NOT_JSON


def _goes_on(line: bytes) -> bool:
    """Return whether a first line is the beginning of JSON that goes on in the next one."""
    try:
        json.loads(line)
    except json.JSONDecodeError as error:
        return error.pos >= len(error.doc.rstrip())
    except (ValueError, RecursionError):
        pass
    return False


def _sequence(content: bytes) -> Iterator[Any]:
    """Yield JSON values that stand one after the other."""
    decoder, at = json.JSONDecoder(), 0
    try:
        text = content.decode("utf-8-sig")
        while at < len(text):
            value, at = decoder.raw_decode(text, at)
            yield value
            at += len(text[at:]) - len(text[at:].lstrip())
    except (ValueError, RecursionError):
        yield NOT_JSON


class Binaries:
    """The ``Binary`` resources of some files, on disk, and the number of all other resources.

    Parameters
    ----------
    files : sequence of Path
        Files of notes. Others beside them whose names start with ``Binary`` are read, too.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        # A database without a name is a private temporary file.
        self._file = sqlite3.connect("")
        self._file.execute("CREATE TABLE binary (key TEXT PRIMARY KEY, content TEXT) WITHOUT ROWID")
        self.others = 0
        for path in files:
            self.others += self._read(path)
        for path in neighbours(files):
            self._read(path)

    def _read(self, path: Path) -> int:
        """Store the resources of a file; return the number of the others in it."""
        others = 0
        for found in read_resources(path):
            if not is_binary(found.resource):
                others += 1
                continue
            id = found.resource.get("id")
            content = json.dumps(found.resource)
            keys = [f"Binary/{id}" if isinstance(id, str) else None, found.url]
            rows = [(clean(key), content) for key in keys if isinstance(key, str)]
            self._file.executemany("INSERT OR IGNORE INTO binary VALUES (?, ?)", rows)
        return others

    def get(self, url: str) -> dict[str, Any] | None:
        """Return the resource with a relative or absolute URL, of any version; None if absent."""
        plain = clean(url).partition("/_history/")[0]
        relative = "/".join(plain.split("/")[-2:])
        query = "SELECT content FROM binary WHERE key IN (?, ?)"
        row = self._file.execute(query, (plain, relative)).fetchone()
        return None if row is None else json.loads(row[0])


def clean(value: str) -> str:
    """Return a string without lone surrogates, which are valid in JSON but not in a table."""
    return value.encode("utf-8", "replace").decode()


def is_binary(resource: Any) -> bool:
    """Return whether a resource is a ``Binary``, which holds an attachment and is no note."""
    return isinstance(resource, dict) and resource.get("resourceType") == "Binary"


def neighbours(files: Iterable[Path]) -> list[Path]:
    """Return files of ``Binary`` resources beside the given files, as bulk exports write them."""
    given = {path.resolve() for path in files}
    folders = sorted({path.resolve().parent for path in files})
    return [
        path
        for folder in folders
        for path in sorted(folder.glob("Binary*"))
        if path.is_file() and path.suffix in SUFFIXES and path.resolve() not in given
    ]
