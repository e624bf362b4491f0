"""Dates in the forms in which tables have them."""

import datetime

import numpy as np
import polars as pl
import pytest

from clinadapt.core.errors import InputError
from clinadapt.data.columns import Columns
from clinadapt.data.dates import read_dates
from clinadapt.data.notes import read_notes


def days(*values):
    return read_dates(pl.Series("day", values, dtype=pl.String), np.arange(1, len(values) + 1))


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("2024-01-31", "2024-01-31"),
        ("2024-01-31 23:59:10.5", "2024-01-31"),
        ("2024-01-31T10:00:00Z", "2024-01-31"),
        ("20240131", "2024-01-31"),
        ("2024-02", "2024-02-01"),
        ("2024", "2024-01-01"),
        ("31/01/2024", "2024-01-31"),
        ("1.2.2024", "2024-02-01"),
        ("02/03/2024", "2024-03-02"),  # the day first
    ],
)
def test_forms(written, day):
    dates, problems = days(written)
    assert (str(dates[0]), problems) == (day, [])


def test_the_month_is_first_where_only_that_reads_all():
    dates, problems = days("02/03/2024", "01/31/2024")
    assert (dates.astype(str).tolist(), problems) == (["2024-02-03", "2024-01-31"], [])


def test_what_is_no_date_is_told_by_row_without_its_text():
    dates, (problem,) = days("2024-01-31", "hier", None, "31/31/2024")
    assert np.isnat(dates).tolist() == [False, True, True, True]
    assert "2 row(s): 2, 4" in problem
    assert "hier" not in problem


def test_a_column_of_a_table():
    table = pl.DataFrame(
        {
            "text": ["a", "b", "c", "d"],
            "label": ["x", "y", "x", "y"],
            "day": [datetime.datetime(2020, 1, day, 12) for day in (1, 2, 3)] + [None],
        }
    )
    columns = Columns(date="day")
    notes = read_notes(table, columns, minimum_per_class=1)
    assert notes.dates.astype(str).tolist() == ["2020-01-01", "2020-01-02", "2020-01-03", "NaT"]
    assert notes.take(np.array([2, 0])).dates.astype(str).tolist() == ["2020-01-03", "2020-01-01"]
    with pytest.raises(InputError, match="no date in 4 row"):
        read_notes(table, Columns(date="text"), minimum_per_class=1)
