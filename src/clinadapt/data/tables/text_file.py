"""Text files in any encoding: byte order marks, bytes that cannot be decoded, compression."""

import codecs
import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, TextIO, TypeVar, cast

from clinadapt.core.errors import InputError

UNDECODED = "\ufdd0"  # a Unicode noncharacter, which does not occur in exchanged texts
MARKS = {  # the longer ones first: that of UTF-32 begins like that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
SHOWN_LINES = 10
SAMPLE = 4096  # bytes

Found = TypeVar("Found")


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return UNDECODED, error.end


codecs.register_error("clinadapt.mark", _mark)


@dataclass(frozen=True)
class TextFile:
    """A text file and how its bytes are decoded.

    Attributes
    ----------
    path : Path
        File, which is unpacked if its name ends in ``.gz``.
    encoding : str
    marked : int
        Number of bytes of the byte order mark at the beginning, which are no content.
    errors : str
        Python's name of what is done with bytes that cannot be decoded.
    """

    path: Path
    encoding: str
    marked: int = 0
    errors: str = "strict"

    @contextmanager
    def open(self, newline: str | None = "") -> Iterator[TextIO]:
        """Open the file from its beginning; lines keep their ends, unless `newline` is None."""
        with open_bytes(self.path) as file:
            file.read(self.marked)
            with io.TextIOWrapper(file, self.encoding, self.errors, newline) as text:
                yield text


@contextmanager
def open_bytes(path: Path) -> Iterator[BinaryIO]:
    """Open a file, unpacked if its name ends in ``.gz``."""
    if path.suffix.lower() != ".gz":
        with path.open("rb") as file:
            yield file
        return
    try:
        with gzip.open(path, "rb") as unpacked:
            yield cast("BinaryIO", unpacked)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise InputError(f"{path} is no gzip file, or it is cut off or damaged") from None


def by_mark(path: Path, asked: str) -> tuple[str, int]:
    """Return the encoding that a byte order mark says, or else the one asked; and the mark's size.

    Raises
    ------
    InputError
        The file is UTF-16 or UTF-32 without a byte order mark, so that the order of its bytes must
        be given.
    """
    with open_bytes(path) as file:
        sample = file.read(SAMPLE)
    for mark, encoding in MARKS.items():
        if sample.startswith(mark):
            return encoding, len(mark)
    name = codecs.lookup(asked).name
    if name in ("utf-16", "utf-32"):
        raise InputError(
            f"{path.name} has no byte order mark, which would say the order of its bytes: try "
            f"--encoding {name}-le or {name}-be"
        )
    wide = name.startswith(("utf-16", "utf-32"))
    first_line = sample[: sample.find(b"\n")]  # names are ASCII more often than texts
    for order, first in (("le", 1), ("be", 0)):
        for part in () if wide else (sample, first_line):
            if len(part) > 8 and part[first::2].count(0) > 0.4 * len(part):
                raise InputError(
                    f"{path.name} seems to be UTF-16 without a byte order mark: try "
                    f"--encoding utf-16-{order}"
                )
    return asked, 0


def decoded(path: Path, encoding: str, mark: bool, look: Callable[[TextFile], Found]) -> Found:
    """Return what a function finds in a text file, if that can be decoded.

    Parameters
    ----------
    path : Path
    encoding : str
    mark : bool
        Whether to replace bytes that cannot be decoded by `UNDECODED`. If they occur in most of the
        lines that are not ASCII, the file has another encoding, and an error is raised.
    look : callable
        Function that reads the whole file.

    Raises
    ------
    InputError
        The encoding is unknown or cannot decode the file; the first bad lines are listed.
    """
    try:
        io.TextIOWrapper(io.BytesIO(), encoding)
    except (LookupError, ValueError):  # such as "base64", or a name with a null character
        raise InputError(f"unknown text encoding {encoding!r}; try utf-8 or cp1252") from None
    said, marked = by_mark(path, encoding)
    text = TextFile(path, said, marked)
    try:
        return look(text)
    except UnicodeError:
        bad, good = _undecodable(text)
    if marked and codecs.lookup(encoding) not in (codecs.lookup(said), codecs.lookup("utf-8")):
        try:  # some programs put the mark of UTF-8 before text in another encoding
            return look(replace(text, encoding=encoding))
        except UnicodeError:
            pass
    if mark and len(bad) <= good:
        return look(replace(text, errors="clinadapt.mark"))
    shown = ", ".join(map(str, bad[:SHOWN_LINES]))
    more = f" and {len(bad) - SHOWN_LINES} more" if len(bad) > SHOWN_LINES else ""
    says = ", which its byte order mark (BOM) says" if marked else ""
    raise InputError(
        f"{path.name}: {len(bad)} line(s) are not {said}{says} (file lines {shown}{more}). "
        f"Try --encoding cp1252 or latin-1, which are common in French exports"
    )


def _undecodable(text: TextFile) -> tuple[list[int], int]:
    """Return the numbers of undecodable lines, and the count of decodable non-ASCII lines."""
    bad, good = [], 0
    with replace(text, errors="clinadapt.mark").open() as lines:
        for number, line in enumerate(lines, 1):
            if UNDECODED in line:
                bad.append(number)
            else:
                good += not line.isascii()
    return bad, good
