"""Words that stand for a missing value in text formats, found where they are taken as they are."""

import numpy as np
import polars as pl

from clinadapt.core.messages import Message
from clinadapt.data.checks import RowNumbers
from clinadapt.data.tables.table import MISSING_WORDS, Table, hold


class MissingWords:
    """Rows of a frame or a Parquet file that hold such a word, in which it is not missing."""

    def __init__(self, table: Table) -> None:
        self.sought = table.words is None
        self.rows: dict[str, RowNumbers] = {}

    def add(self, batch: pl.DataFrame, before: int) -> None:
        """Look at a batch that follows `before` rows."""
        for column in batch if self.sought else ():
            rows = before + 1 + np.flatnonzero(hold(column, MISSING_WORDS).to_numpy())
            if len(rows):
                self.rows.setdefault(column.name, RowNumbers()).add(rows)

    def warnings(self) -> list[str]:
        """Return a sentence for each column with such words."""
        return [
            Message(
                "column {name!r} holds a word such as NA, null or None in {rows}, taken as it is "
                "written. If it means that a value is missing, give the words with --missing",
                name=name,
                rows=rows.words,
            )
            for name, rows in self.rows.items()
        ]
