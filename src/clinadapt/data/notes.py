"""Read and check a table of notes; all problems are reported at once, nothing is dropped silently.

Tables are read in batches. Memory grows by a few numbers per note only, because long columns of
texts, ids and groups are stored on disk.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clinadapt.core.errors import InputError
from clinadapt.core.messages import Message
from clinadapt.data.checks import (
    RowNumbers,
    bad_rows,
    class_problems,
    label_marks,
    repeated_texts,
)
from clinadapt.data.columns import (
    Columns,
    LabelReader,
    as_text,
    column_problems,
    row_ids,
    text_hashes,
    whole_floats,
)
from clinadapt.data.dates import Dates, read_dates
from clinadapt.data.label_spelling import (
    doubtful_names,
    joined_names,
    look_alikes,
    tidy,
    words_for_nothing,
)
from clinadapt.data.labels import Labels, from_codes
from clinadapt.data.positive_class import choose
from clinadapt.data.tables.missing import MissingWords
from clinadapt.data.tables.opening import open_table
from clinadapt.data.tables.table import ReadOptions
from clinadapt.data.text_store import Texts, TextWriter

MISSING = Message("missing {role} (column {column!r}) in {rows}")


@dataclass(frozen=True)
class LeftOut:
    """Row that is left out, with the reason."""

    row: int
    id: str
    reason: str


@dataclass(frozen=True, eq=False)
class Notes:
    """Checked notes.

    Attributes
    ----------
    ids, texts : Texts, shape [note]
        Identifiers and texts; any sequence of str is accepted by the constructor.
    labels : Labels
    groups, parts : Texts, shape [note], optional
        Patient and official part of each note.
    dates : ndarray of datetime64[D], shape [note], optional
        Day of each note; NaT where unknown.
    characteristics : dict of str to Texts, shape [note]
        Descriptions of the notes that no model reads, by column; "" where unknown.
    source : str
        Origin of the notes, such as a path; never their content.
    synthetic : bool
        True if the notes come from the built-in generator.
    left_out : list of LeftOut
        Rows of the table that are not used.
    warnings : list of str
        Findings that do not prevent a study but that its reader must know.
    columns : Columns, optional
        Roles of the columns of the table that they were read from.

    Examples
    --------
    >>> from clinadapt import Columns, read_notes
    >>> from clinadapt.data.synthetic.generator import generate
    >>> notes = read_notes(generate(60, 20, 24), Columns(id="id", group="patient"))
    >>> len(notes), notes.labels.task, notes.labels.classes.tolist()
    (60, 'binary', ['negative', 'positive'])
    """

    ids: Texts
    texts: Texts
    labels: Labels
    groups: Texts | None = None
    parts: Texts | None = None
    characteristics: Mapping[str, Texts] = field(default_factory=dict)
    source: str = "memory"
    synthetic: bool = False
    left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    columns: Columns | None = None
    dates: Dates | None = None

    def __post_init__(self) -> None:
        for name in ("ids", "texts", "groups", "parts"):
            column = getattr(self, name)
            object.__setattr__(self, name, None if column is None else Texts.of(column))
        known = {name: Texts.of(column) for name, column in self.characteristics.items()}
        object.__setattr__(self, "characteristics", known)

    def __len__(self) -> int:
        return len(self.texts)

    def __repr__(self) -> str:
        """Counts only: a text, an id or a column's value is never shown."""
        return "<" + "; ".join(self._counts()) + ">"

    def _repr_html_(self) -> str:
        return "<br>".join(map(escape, self._counts()))

    def _counts(self) -> list[str]:
        counts = [f"{len(self):,} notes", self.labels.in_words()]
        if self.groups is not None:
            counts.append(f"{len(np.unique(self.clusters)):,} patients")
        if self.left_out:
            counts.append(f"{len(self.left_out):,} rows left out")
        if self.warnings:
            counts.append(f"{len(self.warnings):,} warnings")
        return counts

    @cached_property
    def clusters(self) -> NDArray[np.int64]:
        """Number of the patient of each note [note], or of the note itself if there are none."""
        return np.arange(len(self)) if self.groups is None else _numbered(self.groups)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of the ids, texts, labels and patients."""
        digest = hashlib.sha256()
        for column in (self.ids, self.texts):
            for block in column.blocks():
                digest.update(json.dumps(block).encode())
        classes = [str(name) for name in self.labels.classes]
        digest.update(json.dumps([len(self), self.labels.task, classes]).encode())
        digest.update(np.packbits(self.labels.matrix).tobytes())
        digest.update(self.clusters.tobytes())
        return digest.hexdigest()

    def take(self, rows: NDArray[np.int64]) -> "Notes":
        """Return some of the notes, as a view."""
        return replace(
            self,
            ids=self.ids.take(rows),
            texts=self.texts.take(rows),
            labels=self.labels.take(rows),
            groups=None if self.groups is None else self.groups.take(rows),
            parts=None if self.parts is None else self.parts.take(rows),
            dates=None if self.dates is None else self.dates[rows],
            characteristics={
                name: column.take(rows) for name, column in self.characteristics.items()
            },
        )


def _numbered(units: Texts) -> NDArray[np.int64]:
    """Return the rank of each string among the distinct strings in sorted order."""
    blocks = [pl.Series(block, dtype=pl.String) for block in units.blocks()]
    series = pl.concat([pl.Series(dtype=pl.String), *blocks])
    return series.rank("dense").cast(pl.Int64).to_numpy() - 1


def read_notes(
    source: Any,
    columns: Columns | None = None,
    *,
    leave_out_bad: bool = False,
    minimum_per_class: int = 3,
    **options: Unpack[ReadOptions],
) -> Notes:
    """Read a table of labelled notes and check it.

    Parameters
    ----------
    source
        Anything that `clinadapt.data.tables.opening.open_table` opens.
    columns : Columns, optional
        Roles of the columns; default: text in "text", labels in "label".
    leave_out_bad : bool
        Whether to leave out rows without text or label and list them in `Notes.left_out`. By
        default such rows are an error.
    minimum_per_class : int
        Number of notes (or patients, if grouped) that each class needs for a split in three parts.
    **options
        ``encoding``, ``delimiter`` and ``missing``: how to read the table. See
        `clinadapt.data.tables.table.ReadOptions`.

    Returns
    -------
    clinadapt.data.notes.Notes

    Raises
    ------
    InputError
        The table has problems; all are listed with row numbers (row 1 is the first one below the
        header).

    Examples
    --------
    >>> import polars as pl
    >>> from clinadapt import Columns, read_notes
    >>> words = ["fièvre", "toux", "suivi"]
    >>> table = pl.DataFrame({"text": words * 3, "label": ["a", "b", "c"] * 3})
    >>> notes = read_notes(table, Columns())
    >>> notes.labels.classes.tolist()
    ['a', 'b', 'c']
    """
    columns = columns or Columns()
    table = open_table(source, **options)
    if problems := column_problems(table, columns):
        raise InputError(problems)
    reader = _Reader(
        columns, whole_floats(table, columns.wanted()), leave_out_bad, table.words or ()
    )
    words = MissingWords(table)
    for batch in table.batches(columns.wanted()):
        words.add(batch, reader.seen)
        reader.add(batch)
    if not reader.seen:
        raise InputError("the table has no rows: expected labelled notes")
    notes = reader.finish(
        str(source) if isinstance(source, str | Path) else "memory", minimum_per_class
    )
    warnings = [*table.warnings, *words.warnings(), *notes.warnings]
    if options.get("missing") is None:  # else it was said which words mean nothing
        warnings += words_for_nothing(notes.labels.classes.tolist())
    return replace(notes, warnings=warnings)


class _Reader:
    """Collect notes and their problems batch by batch.

    Arrays cover the kept rows; without `leave_out_bad` these are all rows, usable or not.
    """

    def __init__(
        self, columns: Columns, whole: set[str], leave_out_bad: bool, words: Sequence[str]
    ) -> None:
        self.columns, self.whole, self.leave_out_bad = columns, whole, leave_out_bad
        self.labels = LabelReader(columns.label, columns.separator, whole, words)
        self.seen = self.kept = 0
        self.ids, self.texts = TextWriter(), TextWriter()
        roles = {"group": columns.group, "split": columns.split}
        self.units = {role: name for role, name in roles.items() if name is not None}
        self.writers = {role: TextWriter() for role in self.units}
        self.describing = {name: TextWriter() for name in columns.describe}
        self.without = {role: RowNumbers() for role in self.units}
        self.empty, self.unlabelled, self.nameless = RowNumbers(), RowNumbers(), RowNumbers()
        self.left_out: list[LeftOut] = []
        self.numbers: list[NDArray[np.int64]] = []
        self.usable: list[NDArray[np.bool_]] = []
        self.hashes: list[NDArray[np.uint64]] = []
        self.id_hashes: list[NDArray[np.uint64]] = []
        self.dates: list[pl.Series] = []
        self.pairs: list[tuple[NDArray[np.int64], NDArray[np.int64]]] = []

    def add(self, batch: pl.DataFrame) -> None:
        columns = self.columns
        numbers = np.arange(self.seen + 1, self.seen + 1 + len(batch))
        ids = row_ids(batch, columns.id, numbers, self.whole)
        texts = as_text(batch[columns.text], columns.text in self.whole)
        labels = self.labels.read(batch, self.seen)
        self.seen += len(batch)

        empty = texts.is_null().to_numpy()
        usable = ~(empty | labels.missing)
        self.empty.add(numbers[empty])
        self.unlabelled.add(numbers[labels.missing])
        keep = usable if self.leave_out_bad else np.ones(len(batch), dtype=np.bool_)
        for at in np.flatnonzero(~keep).tolist():
            checks = ("empty text", empty[at]), ("missing label", labels.missing[at])
            reasons = ", ".join(reason for reason, applies in checks if applies)
            self.left_out.append(LeftOut(int(numbers[at]), ids[at], reasons))

        place = self.kept + np.cumsum(keep) - 1  # index among the kept rows
        paired = keep[labels.rows]
        self.pairs.append((place[labels.rows[paired]], labels.codes[paired]))
        numbers, ids, texts = numbers[keep], ids.filter(keep), texts.filter(keep)
        self.kept += len(numbers)
        self.numbers.append(numbers)
        self.usable.append(usable[keep])
        self.nameless.add(numbers[(ids == "").to_numpy()])
        self.hashes.append(text_hashes(texts.fill_null("")))
        self.ids.append(ids.to_list())
        self.texts.append(texts.fill_null("").to_list())
        if columns.id is not None:
            self.id_hashes.append(ids.hash().to_numpy())
        for role, name in self.units.items():
            values = as_text(batch[name], name in self.whole).filter(keep)
            self.without[role].add(numbers[values.is_null().to_numpy()])
            self.writers[role].append(values.fill_null("").str.strip_chars().to_list())
        if columns.date is not None:
            self.dates.append(as_text(batch[columns.date], columns.date in self.whole).filter(keep))
        for name, writer in self.describing.items():
            values = as_text(batch[name], name in self.whole).filter(keep)
            writer.append(values.fill_null("").str.strip_chars().to_list())

    def finish(self, source: str, minimum_per_class: int) -> Notes:
        """Return the notes, or raise an error that lists every problem."""
        numbers, usable = np.concatenate(self.numbers), np.concatenate(self.usable)
        rows, codes = (np.concatenate(side) for side in zip(*self.pairs, strict=True))
        units = {role: writer.finish() for role, writer in self.writers.items()}
        groups = units.get("group")

        problems = self.labels.problems()
        positive = None if self.columns.positive is None else tidy(self.columns.positive)
        if not self.leave_out_bad:
            problems += bad_rows(self.empty, self.unlabelled, self.labels.none)
        problems += [
            Message(MISSING, role=role, column=self.units[role], rows=where.words)
            for role, where in self.without.items()
            if where
        ]
        problems += self._id_problems(numbers)
        dates, undated = read_dates(pl.concat(self.dates), numbers) if self.dates else (None, [])
        problems += undated
        of_usable = usable[rows]
        carriers = self._carriers(rows[of_usable], codes[of_usable], groups)
        kind = "patients (groups)" if groups is not None else "notes"
        several = self.columns.separator is not None or len(self.columns.label) > 1
        problems += class_problems(carriers, kind, minimum_per_class, positive, not several)
        warnings = look_alikes(carriers, kind) + doubtful_names(carriers, int(usable.sum()))
        warnings += joined_names(carriers, self.columns.separator)
        warnings += repeated_texts(
            np.concatenate(self.hashes)[usable],
            numbers[usable],
            label_marks(rows, codes, len(usable))[usable],
        )
        if problems:
            raise InputError(
                problems + [Message("(warning) {text}", text=warning) for warning in warnings]
            )

        single = not several and bool((np.bincount(rows, minlength=len(usable)) == 1).all())
        labels = from_codes(list(self.labels.codes), rows, codes, len(usable), single, positive)
        if labels.task == "binary" and (warning := choose(labels.counts(), positive).warning):
            warnings.append(warning)
        return Notes(
            ids=self.ids.finish(),
            texts=self.texts.finish(),
            labels=labels,
            groups=groups,
            parts=units.get("split"),
            characteristics={name: writer.finish() for name, writer in self.describing.items()},
            source=source,
            left_out=self.left_out,
            warnings=warnings,
            columns=self.columns,
            dates=dates,
        )

    def _id_problems(self, numbers: NDArray[np.int64]) -> list[str]:
        if self.columns.id is None:
            return []
        problems = []
        if self.nameless:
            problems.append(f"missing id (column {self.columns.id!r}) in {self.nameless}")
        hashes = np.concatenate(self.id_hashes)
        _, inverse, counts = np.unique(hashes, return_inverse=True, return_counts=True)
        nameless = hashes == pl.Series([""]).hash().item()
        twice = RowNumbers()
        twice.add(numbers[(counts[inverse] > 1) & ~nameless])
        if twice:
            problems.append(f"duplicate ids (column {self.columns.id!r}) in {twice}")
        return problems

    def _carriers(
        self, rows: NDArray[np.int64], codes: NDArray[np.int64], groups: Texts | None
    ) -> dict[str, int]:
        """Return the number of notes, or of patients if grouped, with each class."""
        if groups is not None:
            patients = _numbered(groups)
            codes = np.unique(codes * len(patients) + patients[rows]) // len(patients)
        counts = np.bincount(codes, minlength=len(self.labels.codes)).tolist()
        named = len(self.columns.label) > 1
        return {
            name: count
            for name, count in zip(self.labels.codes, counts, strict=True)
            if count or named
        }
