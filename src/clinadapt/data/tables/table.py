"""What every reader of a table returns, and the options that all readers take."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypedDict

import polars as pl

ROWS_AT_ONCE = 4096

# Of R, pandas, SQL, Python, spreadsheets and MySQL. Their case counts: "Na" is sodium, and "none"
# may well be a class.
MISSING_WORDS = (
    "NA", "N/A", "n/a", "#N/A", "<NA>", "NaN", "nan", "NaT", "NULL", "null", "None", "\\N"
)  # fmt: skip

Tell = Callable[[str], None]


class ReadOptions(TypedDict, total=False):
    """How a table is read, where that is not to be found out from the table itself.

    Attributes
    ----------
    encoding : str
        Text encoding of delimited text and JSON. Default: UTF-8, or what a byte order mark says.
    delimiter : str, optional
        Character between the cells of delimited text, or "tab". Default: the one of comma,
        semicolon, tab and bar that the header has.
    missing : sequence of str, optional
        Words for a missing value, in place of `MISSING_WORDS`. They
        then apply to every kind of table. Empty and blank cells are always missing.
    tell : callable, optional
        Function that is told, in a sentence, how a table is read if that is not the usual way.
    """

    encoding: str
    delimiter: str | None
    missing: Sequence[str] | None
    tell: Tell


class Read(Protocol):
    """Function from names of columns to an iterator of frames with these columns."""

    def __call__(self, names: list[str], /) -> Iterator[pl.DataFrame]:
        """Yield the rows in order."""


@dataclass(frozen=True)
class Table:
    """Table that can be read repeatedly, in batches of rows.

    Attributes
    ----------
    schema : polars.Schema
        Names and types of all columns.
    read : callable
        Function from column names to an iterator of frames with these columns.
    count : callable
        Function that returns the number of rows.
    read_as : str
        How the table is read, such as "CSV with ';'", if that is not the usual way.
    warnings : tuple of str
        What the reader of the table must know.
    repeated : frozenset of str
        Names that several columns have.
    names_are_data : bool
        True if the names of the columns seem to be content: the header may be missing.
    words : tuple of str, optional
        Words such as NA that stand for missing values, as in every kind of text. None if the table
        has another way to say so.
    """

    schema: pl.Schema
    read: Read
    count: Callable[[], int]
    read_as: str = ""
    warnings: tuple[str, ...] = ()
    repeated: frozenset[str] = field(default_factory=frozenset)
    names_are_data: bool = False
    words: tuple[str, ...] | None = None

    def batches(
        self, columns: Sequence[str] | None = None, as_written: Sequence[str | None] = ()
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows of some columns in order, as frames that are not empty.

        Parameters
        ----------
        columns : sequence of str, optional
            Default: all.
        as_written : sequence of str
            Columns in which words for a missing value stay; in the others they become null.
        """
        wanted = list(dict.fromkeys(self.schema.names() if columns is None else columns))
        words = self.words or ()
        for batch in self.read(wanted):
            if len(batch):
                found = {
                    column.name: column.set(hold(column, words), None)
                    for column in (batch if words else ())
                    if column.name not in as_written
                }
                yield batch.with_columns(**found) if found else batch


def hold(column: pl.Series, words: Sequence[str]) -> pl.Series:
    """Return where the cells of a column of text hold one of the words, and nothing else."""
    if isinstance(column.dtype, pl.Categorical | pl.Enum):
        column = column.cast(pl.String)
    if column.dtype != pl.String:
        return pl.repeat(False, len(column), dtype=pl.Boolean, eager=True)
    return column.str.strip_chars().is_in(list(words)).fill_null(False)
