"""Workbooks: the first sheet, cells as Excel shows them."""

import sys

import pytest
from workbooks import write_workbook

from clinadapt.core.errors import InputError, MissingExtraError
from clinadapt.data.columns import Columns
from clinadapt.data.notes import read_notes
from clinadapt.data.tables.opening import open_table


def test_cells_are_read_as_excel_shows_them(tmp_path):
    rows = [
        [None, None, None],
        ["id", "text", "mixed", "", "flag"],
        [7, "Toux,\nfièvre", 1.0, "aside", True],
        [None] * 5,
        [8.0, " NA ", "01", None, False],
        [9, "#REF!", 2.5, None, None],
    ]
    told = []
    path = write_workbook(tmp_path / "notes.xlsx", {"A": rows, "B": [["x"]]})
    table = open_table(path, tell=told.append)
    assert told == ["notes.xlsx is read as the first of 2 sheets of a workbook"]
    assert [row for batch in table.batches() for row in batch.rows()] == [
        ("7", "Toux,\nfièvre", "1", "true"),
        ("8", None, "01", "false"),
        ("9", None, "2.5", None),
    ]
    assert table.count() == 3


def test_whole_numbers_that_have_lost_digits_are_refused_as_ids(tmp_path):
    rows = [[12345678901234567890 + 4096 * number, "a", "xy"[number % 2]] for number in range(6)]
    path = write_workbook(tmp_path / "n.xlsx", {"A": [["id", "text", "label"], *rows]})
    with pytest.raises(InputError, match="column 'id' holds whole numbers as floats"):
        read_notes(path, Columns(id="id"))


def test_two_columns_of_one_name_are_told(tmp_path):
    rows = [["text", "label", "label"], ["a", "x", "y"]]
    path = write_workbook(tmp_path / "n.xlsx", {"A": rows})
    with pytest.raises(InputError, match="several columns named 'label'"):
        read_notes(path)


@pytest.mark.parametrize("content", [b"secret", b"PK\x03\x04secret"])
def test_what_is_no_workbook(tmp_path, content):
    (tmp_path / "notes.xlsx").write_bytes(content)
    with pytest.raises(InputError, match="could not be read as an Excel workbook") as caught:
        open_table(tmp_path / "notes.xlsx")
    assert "secret" not in str(caught.value)


def test_an_empty_sheet(tmp_path):
    with pytest.raises(InputError, match=r"the first sheet of .*notes\.xlsx is empty"):
        open_table(write_workbook(tmp_path / "notes.xlsx", {"A": [], "B": [["text"]]}))


def test_the_extra_is_named_where_it_is_missing(tmp_path, monkeypatch):
    path = write_workbook(tmp_path / "notes.xlsx", {"A": [["text"]]})
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(MissingExtraError, match=r"clinadapt\[excel\]"):
        open_table(path)
