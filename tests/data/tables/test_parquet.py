"""Parquet: folders of parts, columns in the names of folders, and what is refused."""

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from clinadapt.core.errors import InputError
from clinadapt.data.columns import Columns
from clinadapt.data.notes import read_notes
from clinadapt.data.tables.opening import open_table


def frame(*texts):
    return pl.DataFrame({"text": texts})


def test_names_of_folders_are_columns(tmp_path):
    for name, text in (("site=Nice %2F Sud", "a"), ("site=__HIVE_DEFAULT_PARTITION__", "b")):
        (tmp_path / name).mkdir()
        frame(text).write_parquet(tmp_path / name / "0.parquet")
    rows = [row for batch in open_table(tmp_path).batches() for row in batch.rows()]
    assert sorted(rows) == [("a", "Nice / Sud"), ("b", None)]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (pl.DataFrame({"body": ["secret"]}), "1 of 2 parts of .* have other columns"),
        (pl.DataFrame({"text": [1]}), "columns of different types"),
    ],
)
def test_parts_must_be_alike(tmp_path, other, message):
    frame("secret").write_parquet(tmp_path / "0.parquet")
    other.write_parquet(tmp_path / "1.parquet")
    with pytest.raises(InputError, match=message) as caught:
        open_table(tmp_path)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("mark", ["_delta_log", ".hoodie", "metadata"])
def test_tables_with_rows_that_are_no_longer_valid_are_refused(tmp_path, mark):
    folder = tmp_path / "notes.parquet"
    (folder / mark).mkdir(parents=True)
    frame("a").write_parquet(folder / "0.parquet")
    with pytest.raises(InputError, match="some rows may have been replaced"):
        open_table(folder)


def test_a_folder_of_other_files_is_no_table(tmp_path):
    frame("a").write_parquet(tmp_path / "0.parquet")
    (tmp_path / "notes.csv").write_text("text\na\n")
    with pytest.raises(InputError, match="is a folder: expected a file"):
        open_table(tmp_path)
    (tmp_path / "n.parquet").mkdir()
    with pytest.raises(InputError, match="a folder without Parquet files"):
        open_table(tmp_path / "n.parquet")


def test_two_columns_of_one_name_are_told(tmp_path):
    table = pa.table(
        [pa.array(["a"]), pa.array(["x"]), pa.array(["y"])], ["text", "label", "label"]
    )
    pq.write_table(table, tmp_path / "n.parquet")
    assert open_table(tmp_path / "n.parquet").repeated == {"label"}
    with pytest.raises(InputError, match="several columns named 'label'"):
        read_notes(tmp_path / "n.parquet", Columns())
