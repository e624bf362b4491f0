"""A table of notes, read and checked: every problem at once, nothing dropped silently."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clinadapt import labels as labelling
from clinadapt.errors import InputError
from clinadapt.labels import Labels
from clinadapt.tables import open_table

SHOWN_ROWS = 10
LONGEST_SHOWN = 60


@dataclass(frozen=True)
class Columns:
    """Which column of the table is what.

    Attributes
    ----------
    text : str
    label : tuple of str
        One column; or several 0/1 columns, one a class (multi-label).
    separator : str, optional
        Splits a multi-label column such as ``"cardiology|oncology"``.
    id, group, split : str, optional
        Identifier; patient (or other unit that must not be in two parts); official part.
    positive : str, optional
        Positive class of a binary task.
    """

    text: str = "text"
    label: tuple[str, ...] = ("label",)
    separator: str | None = None
    id: str | None = None
    group: str | None = None
    split: str | None = None
    positive: str | None = None

    def wanted(self) -> list[str]:
        """Every column that the table must have."""
        optional = (self.id, self.group, self.split)
        return [self.text, *self.label, *(name for name in optional if name is not None)]


@dataclass(frozen=True)
class LeftOut:
    """A row that is not used, and why."""

    row: int
    id: str
    reason: str


@dataclass(frozen=True, eq=False)
class Notes:
    """Checked notes.

    Attributes
    ----------
    ids, texts : list of str, [note]
    labels : Labels
    groups, parts : list of str [note], optional
        Patient of each note; name of the official part of each note.
    source : str
        Where the notes came from; never their content.
    synthetic : bool
        True if the built-in generator made them.
    left_out : list of LeftOut
    warnings : list of str
        Findings that do not stop a study but that its reader must know.
    """

    ids: list[str]
    texts: list[str]
    labels: Labels
    groups: list[str] | None = None
    parts: list[str] | None = None
    source: str = "memory"
    synthetic: bool = False
    left_out: list[LeftOut] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def clusters(self) -> NDArray[np.int64]:
        """Number of the patient of each note [note]; each note its own where there are none."""
        units = self.groups if self.groups is not None else self.ids
        return np.unique(np.array(units), return_inverse=True)[1].astype(np.int64)


def read_texts(
    source: Any, text: str = "text", id: str | None = None, encoding: str = "utf-8"
) -> tuple[list[str], list[str]]:
    """Ids and texts of an unlabelled table, for prediction.

    Raises
    ------
    InputError
        Missing column or empty text, with row numbers.
    """
    table = open_table(source, encoding)
    columns = Columns(text=text, label=(), id=id)
    problems = _missing_columns(table, columns)
    if problems:
        raise InputError(problems)
    texts = _as_text(table[text])
    if rows := [row for row, value in enumerate(texts, start=1) if value is None]:
        problems.append(f"empty text in {_rows(rows)}: fill them or leave them out")
    ids = _ids(table, columns)
    if rows := [row for row, value in enumerate(ids, start=1) if not value]:
        problems.append(f"missing id in {_rows(rows)}")
    if problems:
        raise InputError(problems)
    return ids, [value or "" for value in texts]


def read_notes(
    source: Any,
    columns: Columns | None = None,
    *,
    encoding: str = "utf-8",
    leave_out_bad: bool = False,
    minimum_per_class: int = 3,
) -> Notes:
    """Read a table of labelled notes and check it.

    Parameters
    ----------
    source
        Anything that `clinadapt.tables.open_table` opens.
    columns : Columns, optional
    encoding : str
        Text encoding of CSV, TSV and JSON lines.
    leave_out_bad : bool
        Leave out rows with no text or no label, listing them in `Notes.left_out`, where the
        default is to refuse the table.
    minimum_per_class : int
        Notes (patients, if grouped) that each class needs for a split in three parts.

    Returns
    -------
    clinadapt.notes.Notes

    Raises
    ------
    InputError
        With every problem found, and row numbers (row 1 is the first note, below the header).
    """
    columns = columns or Columns()
    table = open_table(source, encoding)
    problems = _missing_columns(table, columns)
    if problems:
        raise InputError(problems)
    if table.is_empty():
        raise InputError("the table has no rows: expected labelled notes")

    ids = _ids(table, columns)
    texts = _as_text(table[columns.text])
    values, label_problems = _label_values(table, columns)
    problems += label_problems

    reasons: dict[int, list[str]] = {}
    for reason, cells in (("empty text", texts), ("missing label", values)):
        rows = [row for row, cell in enumerate(cells, start=1) if cell is None]
        for row in rows:
            reasons.setdefault(row, []).append(reason)
        if rows and not leave_out_bad:
            problems.append(
                f"{reason} in {_rows(rows)}: correct the table, or leave these rows out with "
                f"--leave-out-bad (they are then listed in the result)"
            )
    left_out = (
        [LeftOut(row, ids[row - 1], ", ".join(found)) for row, found in sorted(reasons.items())]
        if leave_out_bad
        else []
    )
    dropped = {entry.row - 1 for entry in left_out}
    keep = [row for row in range(len(table)) if row not in dropped]

    groups = _unit_column(table, columns.group, "group", keep, problems)
    parts = _unit_column(table, columns.split, "split", keep, problems)
    problems += _id_problems(ids, columns, keep)
    usable = [row for row in keep if texts[row] is not None and values[row] is not None]
    problems += _class_problems(usable, values, groups, keep, columns, minimum_per_class)
    warnings = _conflicts(usable, texts, values)
    if problems:
        raise InputError(problems + [f"(also) {warning}" for warning in warnings])

    return Notes(
        ids=[ids[row] for row in keep],
        texts=[str(texts[row]) for row in keep],
        labels=_encode([values[row] for row in keep], columns),
        groups=groups,
        parts=parts,
        source=str(source) if isinstance(source, str | Path) else "memory",
        left_out=left_out,
        warnings=warnings,
    )


def built_in_notes(**sizes: int) -> Notes:
    """Return the built-in synthetic notes, marked as such.

    Parameters
    ----------
    **sizes : int
        See `clinadapt.synthetic.generate`.
    """
    from clinadapt.synthetic import generate

    read = read_notes(generate(**sizes), Columns(id="id", group="patient"))
    return replace(read, source="built-in", synthetic=True)


def shown_values(values: Sequence[str], spell: Callable[[str], str] = repr) -> str:
    """Some values for a message; only their number if they are long, for they may be notes."""
    if any(len(value) > LONGEST_SHOWN for value in values):
        return f"{len(values)} long values (is it the right column?)"
    more = f" and {len(values) - SHOWN_ROWS} more" if len(values) > SHOWN_ROWS else ""
    return ", ".join(spell(value) for value in values[:SHOWN_ROWS]) + more


def _rows(rows: Sequence[int]) -> str:
    shown = ", ".join(map(str, rows[:SHOWN_ROWS]))
    more = f" and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else ""
    return f"{len(rows)} row(s): {shown}{more}"


def _missing_columns(table: pl.DataFrame, columns: Columns) -> list[str]:
    return [
        f"no column {name!r} in the table; it has: {', '.join(table.columns)}"
        for name in columns.wanted()
        if name not in table.columns
    ]


def _as_text(column: pl.Series) -> list[str | None]:
    """Cells as text: None for null, NaN and blank; 1.0 as "1" where all numbers are whole.

    Raises
    ------
    InputError
        The column's type has no text form.
    """
    try:
        return _cells_as_text(column)
    except pl.exceptions.PolarsError:
        raise InputError(
            f"column {column.name!r} has the type {column.dtype}, which cannot be read as text"
        ) from None


def _cells_as_text(column: pl.Series) -> list[str | None]:
    if column.dtype.is_float():
        column = column.fill_nan(None)
        known = column.drop_nulls()
        if known.is_finite().all() and (known == known.round()).all():
            column = column.cast(pl.Int64)
    cells = column.cast(pl.String).to_list()
    return [cell if cell is not None and cell.strip() else None for cell in cells]


def _ids(table: pl.DataFrame, columns: Columns) -> list[str]:
    if columns.id is None:
        return [str(row) for row in range(1, len(table) + 1)]
    return [cell or "" for cell in _as_text(table[columns.id])]


def _label_values(
    table: pl.DataFrame, columns: Columns
) -> tuple[list[tuple[str, ...] | None], list[str]]:
    """Classes of each row (one, or several if multi-label; None if missing), and problems."""
    if len(columns.label) > 1:
        return _indicator_values(table, columns.label)
    column = table[columns.label[0]]
    if isinstance(column.dtype, pl.List | pl.Array):
        lists = column.cast(pl.List(pl.String)).to_list()
        return [
            None if cell is None or None in cell else tuple(dict.fromkeys(cell)) for cell in lists
        ], []
    cells = _as_text(column)
    if columns.separator is None:
        return [None if cell is None else (cell.strip(),) for cell in cells], []
    split = [
        None
        if cell is None
        else tuple(dict.fromkeys(p.strip() for p in cell.split(columns.separator) if p.strip()))
        for cell in cells
    ]
    return split, []


def _indicator_values(
    table: pl.DataFrame, names: tuple[str, ...]
) -> tuple[list[tuple[str, ...] | None], list[str]]:
    truth = {"1": True, "true": True, "0": False, "false": False}
    problems = []
    carried: list[tuple[str, ...] | None] = [() for _ in range(len(table))]
    for name in names:
        cells = [None if cell is None else cell.lower() for cell in _as_text(table[name])]
        bad = [row for row, cell in enumerate(cells, 1) if cell is not None and cell not in truth]
        if bad:
            problems.append(
                f"label column {name!r} must hold 0/1 or true/false where several label columns "
                f"are given; other values in {_rows(bad)}"
            )
        for row, cell in enumerate(cells):
            so_far = carried[row]
            if cell is None or so_far is None:
                carried[row] = None
            elif truth.get(cell, False):
                carried[row] = (*so_far, name)
    return carried, problems


def _unit_column(
    table: pl.DataFrame, name: str | None, role: str, keep: list[int], problems: list[str]
) -> list[str] | None:
    """Cells of the group or split column of the kept rows; missing ones are a problem."""
    if name is None:
        return None
    cells = _as_text(table[name])
    if rows := [row + 1 for row in keep if cells[row] is None]:
        problems.append(f"missing {role} (column {name!r}) in {_rows(rows)}")
    return [(cells[row] or "").strip() for row in keep]


def _id_problems(ids: list[str], columns: Columns, keep: list[int]) -> list[str]:
    if columns.id is None:
        return []
    problems = []
    if rows := [row + 1 for row in keep if not ids[row]]:
        problems.append(f"missing id (column {columns.id!r}) in {_rows(rows)}")
    counts = Counter(ids[row] for row in keep if ids[row])
    if rows := [row + 1 for row in keep if counts[ids[row]] > 1]:
        problems.append(f"duplicate ids (column {columns.id!r}) in {_rows(rows)}")
    return problems


def _class_problems(
    usable: list[int],
    values: list[tuple[str, ...] | None],
    groups: list[str] | None,
    keep: list[int],
    columns: Columns,
    minimum: int,
) -> list[str]:
    group_of = dict(zip(keep, groups, strict=True)) if groups is not None else {}
    # Several label columns name their classes, even those that no note carries.
    units: dict[str, set[str]] = (
        {name: set() for name in columns.label} if len(columns.label) > 1 else {}
    )
    for row in usable:
        for name in values[row] or ():
            units.setdefault(name, set()).add(group_of.get(row, str(row)))
    if len(units) < 2:
        found = shown_values(list(units)) or "none"
        return [f"one class only (found: {found}): expected at least two to tell apart"]
    problems = []
    rare = sorted(name for name, members in units.items() if len(members) < minimum)
    if rare:
        kind = "patients (groups)" if groups is not None else "notes"
        names = shown_values(rare, lambda name: f"{name!r} ({len(units[name])})")
        problems.append(
            f"{len(rare)} class(es) with fewer than {minimum} {kind}, too few for training, "
            f"validation and test: {names}. Merge them or leave them out"
        )
    single = len(columns.label) == 1 and columns.separator is None
    for mark in "|;,":
        if rare and single and sum(mark in name for name in units) > len(units) // 2:
            problems.append(
                f"many labels contain {mark!r}: if a note can carry several labels, "
                f"say --separator {mark!r}"
            )
            break
    if columns.positive is not None and columns.positive not in units:
        problems.append(
            f"--positive {columns.positive!r} is not a label; labels: {shown_values(sorted(units))}"
        )
    return problems


def _conflicts(
    usable: list[int], texts: list[str | None], values: list[tuple[str, ...] | None]
) -> list[str]:
    """Name rows that repeat a text, with the same labels or, worse, with others."""
    rows_of: dict[str, list[int]] = {}
    for row in usable:
        rows_of.setdefault(" ".join(str(texts[row]).split()).lower(), []).append(row)
    repeated = [rows for rows in rows_of.values() if len(rows) > 1]
    conflicting = [rows for rows in repeated if len({frozenset(values[r] or ()) for r in rows}) > 1]
    findings = []
    if conflicting:
        flat = [row + 1 for rows in conflicting for row in rows]
        findings.append(
            f"the same text with two labels: {len(conflicting)} text(s), in {_rows(flat)}"
        )
    if repeated:
        flat = [row + 1 for rows in repeated for row in rows]
        findings.append(f"the same text more than once: {len(repeated)} text(s), in {_rows(flat)}")
    return findings


def _encode(values: list[tuple[str, ...] | None], columns: Columns) -> Labels:
    known = [value or () for value in values]
    several = columns.separator is not None or len(columns.label) > 1
    if several or any(len(value) != 1 for value in known):
        return labelling.from_sets(known)
    return labelling.from_single([value[0] for value in known], columns.positive)
