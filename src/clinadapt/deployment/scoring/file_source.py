"""Reads notes from table files, given by path, folder or pattern."""

import glob
import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Unpack
from warnings import warn

import polars as pl

from clinadapt.core.errors import InputError
from clinadapt.data.columns import Columns, as_text, column_problems, whole_floats
from clinadapt.data.tables.missing import MissingWords
from clinadapt.data.tables.opening import PLAIN, SUFFIXES, open_table, suffix_of
from clinadapt.data.tables.parquet import SUFFIX as PARQUET
from clinadapt.data.tables.parquet import parts_of
from clinadapt.data.tables.paths import why_no_file
from clinadapt.data.tables.table import ReadOptions, Table, hold
from clinadapt.data.tables.text_file import UNDECODED
from clinadapt.deployment.scoring.interfaces import (
    EMPTY,
    NAMELESS,
    UNDECODABLE,
    NoteBatch,
    Position,
)


def find_files(
    patterns: Iterable[str | Path], suffixes: Sequence[str] = SUFFIXES, but: Iterable[Path] = ()
) -> list[Path]:
    """Return the files matched by paths, folders and patterns, each once, in a fixed order.

    Parameters
    ----------
    patterns : iterable of path
        A file, whatever characters its name has; a folder, for all files in it and below that have
        one of the suffixes; or a pattern such as ``notes/*.csv``, in which ``**`` matches any
        folders. A folder whose own name ends in ``.parquet`` is one table.
    suffixes : sequence of str
        Endings of names, in lower case.
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
        if path.is_file() or (_is_table(path) and PARQUET in suffixes):
            matched.append(path)
            continue
        many: Iterable[Path] = ()
        if not (path.exists() or path.is_symlink()):
            many = map(Path, glob.glob(pattern, recursive=True))
        endings = (*suffixes, *PLAIN) if set(suffixes) == set(SUFFIXES) else suffixes
        if path.is_dir():
            many, endings = path.rglob("*"), suffixes
        files = sorted(
            file
            for file in many
            if file.is_file()
            and suffix_of(file) in endings
            and not file.name.startswith(".")
            and file.resolve() not in own
        )
        if not files:
            no_table = f"no {', '.join(suffixes)} file in: {pattern}"
            problems.append(no_table if path.is_dir() else why_no_file(path))
        matched += files
    if problems:
        raise InputError(problems)
    return list(dict.fromkeys(matched))


def _is_table(path: Path) -> bool:
    return path.is_dir() and path.suffix.lower() == PARQUET


def names_of(files: Sequence[Path]) -> list[str]:
    """Return the paths of files relative to their common folder."""
    absolute = [os.path.abspath(path) for path in files]
    root = os.path.commonpath([os.path.dirname(path) for path in absolute])
    return [os.path.relpath(path, root) for path in absolute]


def contents_of(files: Sequence[Path]) -> str:
    """Return a hash of names, sizes and modification times: a change invalidates positions."""
    parts = [part for path in files for part in (parts_of(path) if path.is_dir() else [path])]
    stats = [path.stat() for path in parts]
    known = [
        (name, stat.st_size, stat.st_mtime_ns)
        for name, stat in zip(names_of(parts), stats, strict=True)
    ]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:16]


class TableNotes:
    """Source: table files.

    Parameters
    ----------
    files : sequence of Path
        Tables that `clinadapt.data.tables.opening.open_table` can open.
    text : str
        Text column.
    id : str, optional
        Id column. Default: the row number, preceded by the file name if there are several files.
    subject, time : str, optional
        Columns for the MEDS output.
    group : str, optional
        Column of the patient, for classifiers of patients.
    **options
        ``encoding``, ``delimiter`` and ``missing``: how to read the tables. See
        `clinadapt.data.tables.table.ReadOptions`. ``tell`` is told what all files have in common.

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
        subject: str | None = None,
        time: str | None = None,
        group: str | None = None,
        **options: Unpack[ReadOptions],
    ) -> None:
        self.files, self.text, self.id = files, text, id
        self.tell = options.pop("tell", None)
        self.further = {"subject": subject, "time": time} if subject and time else {}
        if group is not None:
            self.further["group"] = group
        self.columns = [text, *([id] if id else []), *self.further.values()]
        self.ids_repeat = id is not None
        self.names = names_of(files)
        self.identity: dict[str, Any] = {
            "files": contents_of(files),
            "text": text,
            "id": id,
            "encoding": options.get("encoding", "utf-8"),
            **{name: value for name, value in options.items() if value and name != "encoding"},
            **self.further,
        }
        self.tables = self._opened(options)
        self._rows = sum(table.count() for table in self.tables)

    def _opened(self, options: ReadOptions) -> list[Table]:
        """Open and check all tables, and tell how they are read."""
        problems, tables = [], []
        further = tuple(dict.fromkeys(self.further.values()))
        wanted = Columns(self.text, (), id=self.id, describe=further)
        for name, source in zip(self.names, self.files, strict=True):
            try:
                table = open_table(source, mark=True, **options)
                problems += column_problems(table, wanted, f"table {name}")
                tables.append(table)
            except InputError as error:
                problems += error.problems
        if problems:
            raise InputError(problems)
        if self.tell is not None:
            for read_as, files in Counter(table.read_as for table in tables).items():
                if read_as:
                    self.tell(f"{files} file{'s' * (files > 1)} read as {read_as}")
        for warning in (warning for table in tables for warning in table.warnings):
            (self.tell or warn)(warning)
        return tables

    def count(self) -> int:
        """Return the number of rows in all tables."""
        return self._rows

    def read(self, after: Position | None) -> Iterator[NoteBatch]:
        """Yield the notes after a position, which is a table number and a row number."""
        first, skipped = (after["table"], after["row"]) if after else (0, 0)
        for number in range(first, len(self.files)):
            table = self.tables[number]
            whole = whole_floats(table, self.columns)
            words, row = MissingWords(table), 0
            for frame in table.batches(self.columns, as_written=[self.id]):
                words.add(frame, row)
                begin, row = row, row + len(frame)
                if row > skipped:
                    rest = frame.slice(max(skipped - begin, 0))
                    notes = self._notes(rest, number, row - len(rest), whole)
                    yield NoteBatch(notes, {"table": number, "row": row})
            skipped = 0
            for warning in words.warnings():
                (self.tell or warn)(f"{self.names[number]}: {warning}")

    def _notes(self, frame: pl.DataFrame, number: int, row: int, whole: set[str]) -> pl.DataFrame:
        rows = pl.int_range(row + 1, row + 1 + len(frame), eager=True).cast(pl.String)
        places = pl.select(pl.format("{}:{}", pl.lit(self.names[number]), rows)).to_series()
        nameless = pl.repeat(False, len(frame), dtype=pl.Boolean, eager=True)
        if self.id is None:
            ids = places if len(self.files) > 1 else rows
        else:
            ids = as_text(frame[self.id], self.id in whole)
            nameless |= hold(ids, self.tables[number].words or ())
        text = as_text(frame[self.text], self.text in whole)
        further = {
            role: as_text(frame[column], column in whole) for role, column in self.further.items()
        }
        nameless |= ids.is_null()
        notes = pl.DataFrame({"id": ids, "place": places, "text": text, **further})
        reason = (
            pl.when(nameless)
            .then(pl.lit(NAMELESS))
            .when(pl.col("text").is_null())
            .then(pl.lit(EMPTY))
            .when(pl.any_horizontal(pl.col("id", "text").str.contains(UNDECODED, literal=True)))
            .then(pl.lit(UNDECODABLE))
        )
        id = pl.col("id").str.replace_all(UNDECODED, "\ufffd", literal=True)
        return notes.select(id, "place", "text", reason.alias("reason"), *further)
