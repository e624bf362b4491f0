"""Read a column of dates, typed or written as text; times of the day are ignored."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clinadapt.data.checks import RowNumbers

# ISO, with or without dashes, month or day; then day and month as they are written by hand.
YEAR_FIRST = r"^\s*(\d{4})(?:-?(\d{1,2})(?:-?(\d{1,2}))?)?(?:[T\s].*)?$"
YEAR_LAST = r"^\s*(\d{1,2})[/.-](\d{1,2})[/.-](\d{4})(?:\s.*)?$"

Dates = NDArray[np.datetime64]


def read_dates(values: pl.Series, numbers: NDArray[np.int64]) -> tuple[Dates, list[str]]:
    """Return the day of each value [note], NaT where it is missing, and problems.

    ``31/01/2024`` is read with the day first, unless only the month first makes dates of all.

    Parameters
    ----------
    values : polars.Series
        Text; null where missing. Its name is that of the column.
    numbers : ndarray of int64, shape [note]
        Row numbers, for messages.
    """
    iso = _days(values, YEAR_FIRST, (1, 2, 3))
    candidates = [
        iso.fill_null(_days(values, YEAR_LAST, order)) for order in ((3, 2, 1), (3, 1, 2))
    ]
    dates = min(candidates, key=lambda read: read.null_count())
    unread = RowNumbers()
    unread.add(numbers[(dates.is_null() & values.is_not_null()).to_numpy()])
    problems = []
    if unread:
        problems.append(
            f"column {values.name!r} holds what is no date in {unread}: write dates like "
            f"2024-01-31 or 31/01/2024, or leave the cell empty"
        )
    return dates.to_numpy().astype("datetime64[D]"), problems


def _days(values: pl.Series, pattern: str, order: tuple[int, int, int]) -> pl.Series:
    """Return the dates of the values that match; a missing month or day is the first."""
    year, month, day = (
        pl.col("value").str.extract(pattern, group).cast(pl.Int32, strict=False) for group in order
    )
    written = pl.format("{}-{}-{}", year, month.fill_null(1), day.fill_null(1))
    return (
        values.rename("value")
        .to_frame()
        .select(written.str.to_date("%Y-%m-%d", strict=False))
        .to_series()
    )
