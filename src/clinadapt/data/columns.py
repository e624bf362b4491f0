"""Roles of a table's columns; conversion of values to text and of labels to class codes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clinadapt.core.errors import InputError
from clinadapt.core.messages import Message
from clinadapt.data.checks import RowNumbers, shown_columns
from clinadapt.data.label_spelling import folded, tidy
from clinadapt.data.tables.table import Table

SPACE = r"[\s\x1c-\x1f]"  # the same white space as Python's str.split()
TRUE, FALSE = ["1", "1.0", "true"], ["0", "0.0", "false"]

THE_TABLE = Message("the table")


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns by role.

    Attributes
    ----------
    text : str
        Column of the note's text.
    label : tuple of str, or str
        One label column, or several 0/1 columns with one class each (multi-label).
    separator : str, optional
        Separator of the labels in a multi-label column such as ``"cardiology|oncology"``.
    id, group, split : str, optional
        Columns of the identifier, of the patient (or other unit that must be in one part only) and
        of the official split.
    positive : str, optional
        Positive class of a binary task.
    describe : tuple of str, or str
        Columns by which scores are broken down and which no model reads: sex, age, site, type of
        note.
    date : str, optional
        Column of the note's date, which no model reads and checks look at.

    Examples
    --------
    >>> from clinadapt import Columns
    >>> Columns(label="diagnosis", group="patient").label
    ('diagnosis',)
    """

    text: str = "text"
    label: tuple[str, ...] = ("label",)
    separator: str | None = None
    id: str | None = None
    group: str | None = None
    split: str | None = None
    positive: str | None = None
    describe: tuple[str, ...] = ()
    date: str | None = None

    def __post_init__(self) -> None:
        for name in ("label", "describe"):
            given: str | Sequence[str] = getattr(self, name)
            names = (given,) if isinstance(given, str) else tuple(given)
            if len(set(names)) < len(names):
                raise InputError(f"{name}: a column is named twice")
            object.__setattr__(self, name, names)

    def wanted(self) -> list[str]:
        """Return the names of all columns that the table must have."""
        optional = (self.id, self.group, self.split, self.date)
        named = (name for name in optional if name is not None)
        return list(dict.fromkeys([self.text, *self.label, *named, *self.describe]))


def column_problems(table: Table, columns: Columns, name: str = THE_TABLE) -> list[str]:
    """Return why a table does not have the columns, each with a role of its own.

    Parameters
    ----------
    table : Table
    columns : Columns
    name : str
        What the table is called in messages.
    """
    problems: list[str] = []
    if columns.separator == "":
        problems.append(
            Message("--separator '' separates nothing: give the character between labels")
        )
    roles = ("text", "label", "id", "group", "describe")
    alone = {role: getattr(columns, role) for role in roles}
    for first, other in (
        ("text", "label"),
        ("text", "id"),
        ("text", "group"),
        ("label", "id"),
        ("label", "group"),
        ("text", "describe"),
    ):
        names = (alone[role] for role in (first, other))
        one, many = ({each} if isinstance(each, str) else set(each or ()) for each in names)
        if one & many:
            problems.append(
                Message(
                    "--{first} and --{other} name the same column: give one for each",
                    first=first,
                    other=other,
                )
            )
    absent = [repr(column) for column in columns.wanted() if column not in table.schema]
    if absent:
        known = shown_columns(table.schema.names(), table.names_are_data)
        problems.append(
            Message(
                "no column {absent} in {name}; it has: {known}",
                absent=absent,
                name=name,
                known=known,
            )
        )
    problems += _nearly(table, columns)
    for column in columns.wanted():
        if column not in table.schema:
            continue
        if column in table.repeated:
            problems.append(
                Message(
                    "{name} has several columns named {column!r}: rename or remove all but one",
                    name=name,
                    column=column,
                )
            )
            continue
        dtype, is_label = table.schema[column], columns.label == (column,)
        if not _is_plain(dtype, may_list=is_label):
            wanted = "one class per cell, or a list of classes" if is_label else "one text per cell"
            problems.append(
                f"column {column!r} in {name} holds {_kind(dtype)}, which cannot be read as text: "
                f"expected {wanted}"
            )
    return problems


def _nearly(table: Table, columns: Columns) -> Iterator[str]:
    """Yield a sentence for each absent column with another that has nearly the same name."""
    for wanted in columns.wanted():
        alike = [
            str(number)
            for number, name in enumerate(table.schema, 1)
            if wanted not in table.schema and folded(name) == folded(wanted)
        ]
        if alike:
            yield Message(
                "column {alike} has the name {wanted!r} but for case, accents, spaces or "
                "characters that nobody sees: write it in the same way",
                alike=alike,
                wanted=wanted,
            )


def _is_plain(dtype: pl.DataType, may_list: bool) -> bool:
    """Return whether values of a type are single values, or lists of them where these may be."""
    if may_list and isinstance(dtype, pl.List | pl.Array):
        return not dtype.inner.is_nested()
    return not (dtype.is_nested() or dtype.is_object())


def _kind(dtype: pl.DataType) -> str:
    """Return a type's name, without those of the fields of a struct, which may be content."""
    if isinstance(dtype, pl.List | pl.Array):
        return f"lists of {_kind(dtype.inner)}"  # type: ignore[arg-type]
    return f"values of the type {dtype.base_type().__name__}"


def whole_floats(table: Table, names: Sequence[str]) -> set[str]:
    """Return the float columns with integer values only, which are written without ".0".

    Raises
    ------
    InputError
        Such values are too large for a float to be exact: different ids may have become the same.
    """
    floats = [name for name in names if table.schema[name].is_float()]
    whole, inexact = set(floats), set()
    for batch in table.batches(floats) if floats else ():
        for name in floats:
            known = batch[name].fill_nan(None).drop_nulls()
            if not (known.is_finite().all() and (known == known.round()).all()):
                whole.discard(name)
            if (known.abs() >= (2**24 if known.dtype == pl.Float32 else 2**53)).any():
                inexact.add(name)
    if inexact & whole:
        raise InputError(
            [
                f"column {name!r} holds whole numbers as floats ({table.schema[name]}), so large "
                f"that their last digits are lost: store them as integers or as text"
                for name in sorted(inexact & whole)
            ]
        )
    return whole


def as_text(column: pl.Series, whole: bool = False) -> pl.Series:
    """Return the values of a column as text; null, NaN and blank values become null.

    Parameters
    ----------
    column : polars.Series
    whole : bool
        Whether to write floats without decimals: 1.0 as "1".

    Raises
    ------
    InputError
        Values of the column's type cannot be converted to text.
    """
    try:
        if column.dtype.is_float():
            column = column.fill_nan(None)
        values = (column.cast(pl.Int64) if whole else column).cast(pl.String)
    except pl.exceptions.PolarsError:
        raise InputError(
            f"column {column.name!r} holds {_kind(column.dtype)}, which cannot be read as text"
        ) from None
    blank = ~values.str.contains(rf"[^{SPACE[1:]}")
    return values.set(blank.fill_null(False), None) if blank.any() else values


def row_ids(
    batch: pl.DataFrame, name: str | None, rows: NDArray[np.int64], whole: set[str]
) -> pl.Series:
    """Return the ids of a batch, "" where missing, or row numbers if there is no id column."""
    if name is None:
        return pl.Series(rows).cast(pl.String)
    return as_text(batch[name], name in whole).fill_null("")


def text_hashes(texts: pl.Series) -> NDArray[np.uint64]:
    """Return a 64-bit hash of each text, ignoring case and differences of white space."""
    words = texts.str.replace_all(f"{SPACE}+", " ").str.strip_chars(" ").str.to_lowercase()
    return words.hash().to_numpy()


@dataclass(frozen=True)
class LabelBatch:
    """Labels of a batch of rows.

    Attributes
    ----------
    missing : ndarray of bool, shape [row]
        True where a row has no label.
    rows, codes : ndarray of int64, shape [pair]
        Pairs of a row and the code of a class that it has, each pair once, in order of rows.
    """

    missing: NDArray[np.bool_]
    rows: NDArray[np.int64]
    codes: NDArray[np.int64]


@dataclass
class LabelReader:
    """Reader of labels in batches; classes are numbered in order of appearance.

    Names are read as `label_spelling.tidy` writes them, and blank ones dropped. A note without any
    of several labels has an empty list, a cell with nothing but the separator, or 0 in all columns;
    an empty cell is a missing label.

    Attributes
    ----------
    columns : tuple of str
        One label column, or several 0/1 columns with one class each.
    separator : str, optional
        Separator of several labels in one column.
    whole : set of str
        Float columns with integer values only.
    codes : dict of str to int
        Code of each class. Each of several 0/1 columns is a class, even if no note has it.
    bad : dict of str to RowNumbers
        Rows of each 0/1 column with another value.
    words : sequence of str
        Words for a missing value, which make the list that holds one a missing label.
    none : str
        How a note with no label is written; "" if every note has one class.
    """

    columns: tuple[str, ...]
    separator: str | None
    whole: set[str]
    words: Sequence[str] = ()
    codes: dict[str, int] = field(default_factory=dict)
    bad: dict[str, RowNumbers] = field(default_factory=dict)
    none: str = ""

    def __post_init__(self) -> None:
        if self.separator is not None:
            self.none = Message(
                "nothing but the separator, {separator!r}", separator=self.separator
            )
        if len(self.columns) > 1:
            self.none = Message("0 in every label column")
            self.codes = {name: number for number, name in enumerate(self.columns)}
            self.bad = {name: RowNumbers() for name in self.columns}

    def read(self, batch: pl.DataFrame, before: int) -> LabelBatch:
        """Return the labels of a batch that follows `before` rows."""
        if len(self.columns) > 1:
            return self._indicators(batch, before)
        column = batch[self.columns[0]]
        if isinstance(column.dtype, pl.List | pl.Array):
            self.none = Message("an empty list")
            lists = column.cast(pl.List(pl.String))
            missing = (lists.is_null() | lists.list.contains(None, nulls_equal=True)).to_numpy()
            return self._sets(lists, missing | self._unknown(lists))
        values = as_text(column, column.name in self.whole)
        if self.separator is not None:
            seen = values.str.replace_all(r"[\p{Cf}\s]", "")
            missing = (values.is_null() | (seen == "").fill_null(True)).to_numpy()
            lists = values.str.split(self.separator)
            return self._sets(lists, missing | self._unknown(lists))
        codes = self._numbered(values)
        missing = codes < 0
        return LabelBatch(missing, np.flatnonzero(~missing), codes[~missing])

    def _unknown(self, lists: pl.Series) -> NDArray[np.bool_]:
        """Return which lists hold a word for a missing value."""
        words = pl.element().str.strip_chars().is_in(list(self.words))
        return lists.list.eval(words).list.any().fill_null(False).to_numpy()

    def _numbered(self, names: pl.Series) -> NDArray[np.int64]:
        """Return the code of each name, -1 for nulls and blanks."""
        spelled = names.unique(maintain_order=True).drop_nulls().to_list()
        classes = [tidy(name) for name in spelled]
        numbers = [self.codes.setdefault(name, len(self.codes)) if name else -1 for name in classes]
        coded = names.replace_strict(spelled, numbers, default=-1, return_dtype=pl.Int64)
        return coded.cast(pl.Int64).to_numpy()  # replacing in an empty series loses its type

    def _sets(self, lists: pl.Series, missing: NDArray[np.bool_]) -> LabelBatch:
        rows = np.flatnonzero(~missing)
        pairs = pl.DataFrame({"row": rows, "name": lists.filter(~missing)}).explode("name")
        coded = pairs.select("row", code=pl.Series(self._numbered(pairs["name"])))
        coded = coded.filter(pl.col("code") >= 0).unique(maintain_order=True)
        return LabelBatch(missing, coded["row"].to_numpy(), coded["code"].to_numpy())

    def _indicators(self, batch: pl.DataFrame, before: int) -> LabelBatch:
        missing = np.zeros(len(batch), dtype=np.bool_)
        carried = np.zeros((len(batch), len(self.columns)), dtype=np.bool_)
        for number, name in enumerate(self.columns):
            values = as_text(batch[name], name in self.whole).str.to_lowercase()
            unknown = (~values.is_in(TRUE + FALSE)).fill_null(False)
            self.bad[name].add(before + 1 + np.flatnonzero(unknown.to_numpy()))
            missing |= values.is_null().to_numpy()
            carried[:, number] = values.is_in(TRUE).fill_null(False).to_numpy()
        rows, codes = np.nonzero(carried & ~missing[:, None])
        return LabelBatch(missing, rows, codes)

    def problems(self) -> list[str]:
        """Return the problems of the 0/1 columns."""
        return [
            f"label column {name!r} must contain 0/1 or true/false, as one of several label "
            f"columns; other values in {rows}"
            for name, rows in self.bad.items()
            if rows
        ]
