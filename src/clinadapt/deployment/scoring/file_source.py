"""Reads notes from table files, given by path, folder or pattern."""

import glob
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.core.errors import InputError
from clinadapt.data.columns import as_text, whole_floats
from clinadapt.data.table_readers import UNDECODED, open_table
from clinadapt.deployment.scoring.interfaces import (
    EMPTY,
    NAMELESS,
    UNDECODABLE,
    NoteBatch,
    Position,
)

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


def find_files(
    patterns: Iterable[str | Path], suffixes: Sequence[str] = SUFFIXES, but: Iterable[Path] = ()
) -> list[Path]:
    """Return the files matched by paths, folders and patterns, each once, in a fixed order.

    Parameters
    ----------
    patterns : iterable of path
        A file; a folder, for all files in it and below that have one of the suffixes; or a
        pattern such as ``notes/*.csv``, in which ``**`` matches any folders.
    suffixes : sequence of str
    but : iterable of Path
        Files to leave out of folders and patterns, such as those that the run itself writes.

    Raises
    ------
    InputError
        If an entry matches no file; names all such entries.
    """
    matched: list[Path] = []
    problems, own = [], {path.resolve() for path in but}
    for pattern in map(str, patterns):
        path = Path(pattern)
        if path.is_file():
            matched.append(path)
            continue
        many = path.rglob("*") if path.is_dir() else map(Path, glob.glob(pattern, recursive=True))
        files = sorted(
            file
            for file in many
            if file.is_file()
            and file.suffix.lower() in suffixes
            and not file.name.startswith(".")
            and file.resolve() not in own
        )
        if not files:
            kind = "no such file" if not path.is_dir() else f"no {', '.join(suffixes)} file in"
            problems.append(f"{kind}: {pattern}")
        matched += files
    if problems:
        raise InputError(problems)
    return list(dict.fromkeys(matched))


def names_of(files: Sequence[Path]) -> list[str]:
    """Return the paths of files relative to their common folder."""
    absolute = [os.path.abspath(path) for path in files]
    root = os.path.commonpath([os.path.dirname(path) for path in absolute])
    return [os.path.relpath(path, root) for path in absolute]


def contents_of(files: Sequence[Path]) -> str:
    """Return a hash of names, sizes and modification times: a change invalidates positions."""
    stats = [path.stat() for path in files]
    known = [
        (name, stat.st_size, stat.st_mtime_ns)
        for name, stat in zip(names_of(files), stats, strict=True)
    ]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


class TableNotes:
    """Source: table files.

    Parameters
    ----------
    files : sequence of Path
        Tables that `clinadapt.data.table_readers.open_table` can open.
    text : str
        Text column.
    id : str, optional
        Id column. Default: the row number, preceded by the file name if there are several files.
    encoding : str
        Text encoding of CSV, TSV and JSON Lines files.
    subject, time : str, optional
        Columns for the MEDS output.

    Raises
    ------
    InputError
        If files cannot be read or lack a column; names all of them.
    """

    integer_ids = False

    def __init__(
        self,
        files: Sequence[Path],
        text: str = "text",
        id: str | None = None,
        encoding: str = "utf-8",
        subject: str | None = None,
        time: str | None = None,
    ) -> None:
        self.files, self.text, self.id, self.encoding = files, text, id, encoding
        self.further = {"subject": subject, "time": time} if subject and time else {}
        self.columns = [text, *([id] if id else []), *self.further.values()]
        self.ids_repeat = id is not None
        self.names = names_of(files)
        self.identity: dict[str, Any] = {
            "files": contents_of(files),
            "text": text,
            "id": id,
            "encoding": encoding,
            **self.further,
        }
        self._rows = self._checked()

    def _checked(self) -> int:
        """Return the number of rows in all tables, after opening and checking each."""
        problems, rows = [], 0
        for name, source in zip(self.names, self.files, strict=True):
            try:
                table = open_table(source, self.encoding, mark=True)
                rows += table.count()
            except InputError as error:
                problems += error.problems
                continue
            problems += [
                f"no column {column!r} in table {name}; its columns: {', '.join(table.schema)}"
                for column in self.columns
                if column not in table.schema
            ]
        if problems:
            raise InputError(problems)
        return rows

    def count(self) -> int:
        """Return the number of rows in all tables."""
        return self._rows

    def read(self, after: Position | None) -> Iterator[NoteBatch]:
        """Yield the notes after a position, which is a table number and a row number."""
        first, skipped = (after["table"], after["row"]) if after else (0, 0)
        for number in range(first, len(self.files)):
            table = open_table(self.files[number], self.encoding, mark=True)
            whole = whole_floats(table, self.columns)
            row = 0
            for frame in table.batches(self.columns):
                begin, row = row, row + len(frame)
                if row > skipped:
                    rest = frame.slice(max(skipped - begin, 0))
                    notes = self._notes(rest, number, row - len(rest), whole)
                    yield NoteBatch(notes, {"table": number, "row": row})
            skipped = 0

    def _notes(self, frame: pl.DataFrame, number: int, row: int, whole: set[str]) -> pl.DataFrame:
        rows = pl.int_range(row + 1, row + 1 + len(frame), eager=True).cast(pl.String)
        places = pl.select(pl.format("{}:{}", pl.lit(self.names[number]), rows)).to_series()
        if self.id is None:
            ids = places if len(self.files) > 1 else rows
        else:
            ids = as_text(frame[self.id], self.id in whole)
        text = as_text(frame[self.text], self.text in whole)
        further = {
            role: as_text(frame[column], column in whole) for role, column in self.further.items()
        }
        notes = pl.DataFrame({"id": ids, "place": places, "text": text, **further})
        reason = (
            pl.when(pl.col("id").is_null())
            .then(pl.lit(NAMELESS))
            .when(pl.col("text").is_null())
            .then(pl.lit(EMPTY))
            .when(pl.any_horizontal(pl.col("id", "text").str.contains(UNDECODED, literal=True)))
            .then(pl.lit(UNDECODABLE))
        )
        id = pl.col("id").str.replace_all(UNDECODED, "\ufffd", literal=True)
        return notes.select(id, "place", "text", reason.alias("reason"), *further)
