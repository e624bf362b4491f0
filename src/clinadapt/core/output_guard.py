"""Check, before a command starts to work, that what it writes destroys nothing.

An output may not be an input or another output, neither by its path nor through links, nor lie in
a folder that is read as a whole, such as a bundle. An existing file is replaced only if its content
shows that clinadapt wrote it, as the same kind of output.
"""

import csv
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from clinadapt.core.errors import InputError

HEAD_BYTES = 2**16  # the part of a page or of a line that is looked at
GENERATOR = '<meta name="generator" content="clinadapt">'
# Pages of version 0.1 name no generator.
OLD_PAGE = re.compile(
    r"default-src 'none'.*<title>[^<]* – (study report|drift|(errors, )?contains patient text)"
    r"</title>",
    re.DOTALL,
)

Recognise = Callable[[Path], bool]


@dataclass(frozen=True)
class Output:
    """A file or folder that a command is about to write.

    Attributes
    ----------
    path : Path
    option : str
        What the user changes to choose another path, such as ``--out``.
    is_own : callable
        Returns whether an existing file, or a folder that is not empty, is clinadapt's own output
        of this kind.
    folder : bool
        True if the output is a folder.
    beside : bool
        True if the output is written beside that which the option names.
    """

    path: Path
    option: str
    is_own: Recognise
    folder: bool = False
    beside: bool = False

    def __str__(self) -> str:
        if self.beside:
            return f"{self.path}, which is written beside {self.option},"
        return f"{self.option} {self.path}"


def check_outputs(outputs: Sequence[Output], inputs: Iterable[Any] = ()) -> None:
    """Raise an error if writing the outputs would destroy an input or somebody's file.

    Parameters
    ----------
    outputs : sequence of Output
    inputs : iterable
        What the command reads. A folder, such as a bundle, stands for everything in it; what is
        no path is ignored.

    Raises
    ------
    InputError
        Names all problems.
    """
    read = [Path(path) for path in inputs if isinstance(path, str | os.PathLike)]
    problems = [
        f"{output} {problem} choose another {output.option}"
        for output in outputs
        if (problem := _among(output, read) or _occupied(output))
    ]
    for one, other in combinations(outputs, 2):
        if is_same(one.path, other.path):
            problems.append(
                f"{one.option} and {other.option} are the same file, {other.path}: choose another "
                f"{one.option}"
            )
    if problems:
        raise InputError(problems)


def _among(output: Output, read: Sequence[Path]) -> str | None:
    """Return what an output is, or lies in, of what is read; None if of nothing."""
    for path in read:
        if is_same(output.path, path):
            return f"is {path}, which this command reads:"
        if path.is_dir() and _lies_in(output.path, path):
            return f"lies in {path}, which this command reads:"
    return None


def is_same(one: Path, other: Path) -> bool:
    """Return whether two paths lead to the same file.

    Of files that do not exist yet, names that differ only in case are the same, as they are on
    many file systems.
    """
    try:
        return os.path.samefile(one, other)
    except OSError:
        return os.path.realpath(one).casefold() == os.path.realpath(other).casefold()


def _lies_in(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _occupied(output: Output) -> str | None:
    """Return why an output cannot be written to its path, up to what to do; None if it can."""
    path = output.path
    above = next(folder for folder in (path.absolute()).parents if os.path.lexists(folder))
    if not above.is_dir():
        return f"cannot be written: {above} is not a folder:"
    if not os.access(above, os.W_OK | os.X_OK):
        return f"cannot be written: the folder {above} may not be changed:"
    if not path.exists():
        return None
    if output.folder != path.is_dir():
        expected = "folder" if output.folder else "file"
        return f"exists and is not a {expected}:"
    if not output.folder and not path.is_file():
        return "is not a plain file:"
    if _is_empty(path) or _recognised(output):
        return None
    return "exists and was not written by clinadapt as this kind of output: delete it, or"


def _is_empty(path: Path) -> bool:
    try:
        return not any(path.iterdir()) if path.is_dir() else not path.stat().st_size
    except OSError:
        return False


def _recognised(output: Output) -> bool:
    try:
        return output.is_own(output.path)
    except (OSError, ValueError):  # unreadable, or not of this format
        return False


# ---------------------------------------------------------------- recognise clinadapt's files


def is_page(path: Path) -> bool:
    """Return whether a file is an HTML page that clinadapt wrote."""
    head = _head(path)
    return GENERATOR in head or OLD_PAGE.search(head) is not None


def csv_with(*columns: str) -> Recognise:
    """Return a function that recognises CSV files by their exact header."""
    return lambda path: csv_header(path) == list(columns)


def json_with(*keys: str) -> Recognise:
    """Return a function that recognises JSON files of one object with certain keys."""

    def is_own(path: Path) -> bool:
        content = json.loads(path.read_text(encoding="utf-8"))
        return isinstance(content, dict) and set(keys) <= content.keys()

    return is_own


def jsonl_with(*keys: str) -> Recognise:
    """Return a function that recognises JSON Lines files by the keys of their first line."""

    def is_own(path: Path) -> bool:
        with path.open(encoding="utf-8") as file:
            first = json.loads(file.readline())
        return isinstance(first, dict) and list(first) == list(keys)

    return is_own


def csv_header(path: Path) -> list[str]:
    """Return the column names in the first line of a CSV file."""
    return next(csv.reader(_head(path).splitlines()[:1]), [])


def parquet_columns(path: Path) -> list[str]:
    """Return the column names of a Parquet file; none if it is not one."""
    try:
        return list(pq.read_schema(path).names)
    except pa.ArrowException:
        return []


def sqlite_tables(path: Path) -> set[str]:
    """Return the names of the tables of an SQLite file.

    Raises
    ------
    ValueError
        The file is not an SQLite database.
    sqlite3.OperationalError
        Another process is writing the file.
    """
    place = f"{path.absolute().as_uri()}?mode=rw"  # does not create the file
    try:
        with closing(sqlite3.connect(place, timeout=0, uri=True)) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    except sqlite3.OperationalError:  # in use
        raise
    except sqlite3.DatabaseError as error:
        raise ValueError(type(error).__name__) from None


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(HEAD_BYTES).decode("utf-8-sig", "replace")
