"""Tables of strangers: read as they are meant, or refused with what to do."""

import polars as pl
import pytest

from clinadapt.core.errors import InputError
from clinadapt.data.columns import Columns, column_problems
from clinadapt.data.tables.opening import open_table

NOTES = pl.DataFrame({"id": ["n1", "n2"], "text": ["toux, secret", "fièvre"]})


def refusal(path, **options):
    with pytest.raises(InputError) as caught:
        open_table(path, **options)
    assert "secret" not in str(caught.value)
    return str(caught.value)


def test_utf_16_without_its_mark_is_named_whatever_the_alphabet(tmp_path):
    notes = tmp_path / "notes.csv"
    notes.write_bytes(("text,label\n" + "患者发热三天,a\n" * 99).encode("utf-16-le"))
    assert "--encoding utf-16-le" in refusal(notes)
    assert "no byte order mark" in refusal(notes, encoding="utf-16")
    assert open_table(notes, encoding="utf-16-le").count() == 99


@pytest.mark.parametrize("second", ["\ufeffid,text", "id,text", "text,id"])
def test_files_joined_to_one_are_refused(second, tmp_path):
    notes = tmp_path / "notes.csv"
    notes.write_text(f"\ufeffid,text\n1,secret\n{second}\n2,b\n", "utf-8")
    assert "3 has the same cells as the first row" in refusal(notes)


@pytest.mark.parametrize("content", ["Export secret\nid,text\n1,a\n", "id^text\n1^a,b\n2^c,d\n"])
def test_a_title_or_another_delimiter_may_be_why_the_first_row_has_one_cell(content, tmp_path):
    notes = tmp_path / "notes.csv"
    notes.write_text(content)
    message = refusal(notes)
    assert "a title above the header" in message
    assert "--delimiter" in message


def test_an_escaped_line_end_in_the_header_does_not_hide_the_delimiter(tmp_path):
    notes = tmp_path / "notes.csv"
    notes.write_text("g\\\nh;id")
    refusal(notes)


@pytest.mark.parametrize("name", [" Text ", "te\u200bxt", "TEXT"])
def test_a_name_that_is_nearly_right_is_pointed_at(name):
    table = open_table(NOTES.rename({"text": name}))
    (_, hint) = column_problems(table, Columns(label=()))
    assert hint.startswith("column 2 has the name 'text' but for case")


def test_text_cannot_describe_notes():
    (problem,) = column_problems(open_table(NOTES), Columns(label=(), describe="text"))
    assert "--text and --describe name the same column" in problem


def test_json_by_another_name_is_called_json(tmp_path):
    notes = tmp_path / "notes.csv"
    notes.write_text('{"text": "secret"}\n' * 3)
    assert "seems to be JSON: name it .jsonl" in refusal(notes)


def test_a_line_is_named_once(tmp_path):
    notes = tmp_path / "notes.json"
    notes.write_text('[["secret"], ["secret"], ["secret"]]')
    assert "line(s) 1: this is no JSON object" in refusal(notes)


def test_parts_are_read_by_the_names_of_their_columns(tmp_path):
    folder = tmp_path / "notes"
    folder.mkdir()
    NOTES.write_parquet(folder / "a.PARQUET")
    NOTES.select("text", "id").write_parquet(folder / "b.parquet")
    assert pl.concat(open_table(folder).batches()).equals(pl.concat([NOTES, NOTES]))


def test_a_column_may_not_be_stored_and_named_by_a_folder(tmp_path):
    folder = tmp_path / "notes" / "id=n1"
    folder.mkdir(parents=True)
    NOTES.write_parquet(folder / "a.parquet")
    table = open_table(folder.parent)
    (problem,) = column_problems(table, Columns(label=(), id="id"))
    assert "several columns named 'id'" in problem
    assert pl.concat(table.batches(["text"]))["text"].equals(NOTES["text"])


def test_a_pandas_series_is_no_frame():
    with pytest.raises(InputError, match=r"expected a path.*got Series"):
        open_table(NOTES["text"].to_pandas())
