"""Columns of a table: which is what; cells as text, labels as numbered classes."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clinadapt.core.errors import InputError
from clinadapt.data.checks import RowNumbers
from clinadapt.data.table_readers import Table

SPACE = r"[\s\x1c-\x1f]"  # what Python's str.split() takes for white space
TRUE, FALSE = ["1", "true"], ["0", "false"]


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
    describe : tuple of str
        Columns that no model reads and scores are told by: sex, age, site, kind of note.
    """

    text: str = "text"
    label: tuple[str, ...] = ("label",)
    separator: str | None = None
    id: str | None = None
    group: str | None = None
    split: str | None = None
    positive: str | None = None
    describe: tuple[str, ...] = ()

    def wanted(self) -> list[str]:
        """Every column that the table must have."""
        optional = (self.id, self.group, self.split)
        named = (name for name in optional if name is not None)
        return list(dict.fromkeys([self.text, *self.label, *named, *self.describe]))


def whole_floats(table: Table, names: Sequence[str]) -> set[str]:
    """Float columns of a table that hold whole numbers only, which are written without ".0"."""
    floats = [name for name in names if table.schema[name].is_float()]
    whole = set(floats)
    for batch in table.batches(floats) if floats else ():
        for name in floats:
            known = batch[name].fill_nan(None).drop_nulls()
            if not (known.is_finite().all() and (known == known.round()).all()):
                whole.discard(name)
    return whole


def as_text(column: pl.Series, whole: bool = False) -> pl.Series:
    """Cells as text: null for null, NaN and blank.

    Parameters
    ----------
    column : polars.Series
    whole : bool
        Write floats without decimals: 1.0 as "1".

    Raises
    ------
    InputError
        The column's type has no text form.
    """
    try:
        if column.dtype.is_float():
            column = column.fill_nan(None)
        cells = (column.cast(pl.Int64) if whole else column).cast(pl.String)
    except pl.exceptions.PolarsError:
        raise InputError(
            f"column {column.name!r} has the type {column.dtype}, which cannot be read as text"
        ) from None
    blank = ~cells.str.contains(rf"[^{SPACE[1:]}")
    return cells.set(blank.fill_null(False), None) if blank.any() else cells


def text_hashes(texts: pl.Series) -> NDArray[np.uint64]:
    """64-bit hash of each text; equal for texts that differ in case and white space alone."""
    words = texts.str.replace_all(f"{SPACE}+", " ").str.strip_chars(" ").str.to_lowercase()
    return words.hash().to_numpy()


@dataclass(frozen=True)
class LabelBatch:
    """Labels of a batch of rows.

    Attributes
    ----------
    missing : ndarray of bool, shape [row]
    rows, codes : ndarray of int64, shape [pair]
        Each class that a row carries, once; rows ascend.
    """

    missing: NDArray[np.bool_]
    rows: NDArray[np.int64]
    codes: NDArray[np.int64]


@dataclass
class LabelReader:
    """Reads labels batch after batch, numbering the classes as they come.

    Attributes
    ----------
    columns : tuple of str
        One column; or several 0/1 columns, one a class.
    separator : str, optional
        Splits one column's cells.
    codes : dict of str to int
        Number of each class. Several columns name their classes, even those that no note carries.
    bad : dict of str to RowNumbers
        Rows of a 0/1 column with another value.
    """

    columns: tuple[str, ...]
    separator: str | None
    whole: set[str]
    codes: dict[str, int] = field(default_factory=dict)
    bad: dict[str, RowNumbers] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.columns) > 1:
            self.codes = {name: number for number, name in enumerate(self.columns)}
            self.bad = {name: RowNumbers() for name in self.columns}

    def read(self, batch: pl.DataFrame, before: int) -> LabelBatch:
        """Labels of a batch that has `before` rows before it."""
        if len(self.columns) > 1:
            return self._indicators(batch, before)
        column = batch[self.columns[0]]
        if isinstance(column.dtype, pl.List | pl.Array):
            lists = column.cast(pl.List(pl.String))
            missing = (lists.is_null() | lists.list.contains(None, nulls_equal=True)).to_numpy()
            return self._sets(lists, missing, strip=False)
        cells = as_text(column, column.name in self.whole)
        missing = cells.is_null().to_numpy()
        if self.separator is not None:
            return self._sets(cells.str.split(self.separator), missing, strip=True)
        found = cells.drop_nulls().str.strip_chars()
        return LabelBatch(missing, np.flatnonzero(~missing), self._numbered(found))

    def _numbered(self, names: pl.Series) -> NDArray[np.int64]:
        found = names.unique(maintain_order=True).to_list()
        numbers = [self.codes.setdefault(name, len(self.codes)) for name in found]
        coded = names.replace_strict(found, numbers, return_dtype=pl.Int64)
        return coded.cast(pl.Int64).to_numpy()  # of no names, the type is lost

    def _sets(self, lists: pl.Series, missing: NDArray[np.bool_], strip: bool) -> LabelBatch:
        rows = np.flatnonzero(~missing)
        pairs = pl.DataFrame({"row": rows, "name": lists.filter(~missing)}).explode("name")
        pairs = pairs.drop_nulls()  # an empty list
        if strip:
            pairs = pairs.with_columns(pl.col("name").str.strip_chars())
            pairs = pairs.filter(pl.col("name") != "")
        pairs = pairs.unique(maintain_order=True)
        return LabelBatch(missing, pairs["row"].to_numpy(), self._numbered(pairs["name"]))

    def _indicators(self, batch: pl.DataFrame, before: int) -> LabelBatch:
        missing = np.zeros(len(batch), dtype=np.bool_)
        carried = np.zeros((len(batch), len(self.columns)), dtype=np.bool_)
        for number, name in enumerate(self.columns):
            cells = as_text(batch[name], name in self.whole).str.to_lowercase()
            unknown = (~cells.is_in(TRUE + FALSE)).fill_null(False)
            self.bad[name].add(before + 1 + np.flatnonzero(unknown.to_numpy()))
            missing |= cells.is_null().to_numpy()
            carried[:, number] = cells.is_in(TRUE).fill_null(False).to_numpy()
        rows, codes = np.nonzero(carried & ~missing[:, None])
        return LabelBatch(missing, rows, codes)

    def problems(self) -> list[str]:
        """What is wrong with 0/1 columns."""
        return [
            f"label column {name!r} must hold 0/1 or true/false where several label columns "
            f"are given; other values in {rows}"
            for name, rows in self.bad.items()
            if rows
        ]
