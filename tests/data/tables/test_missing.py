"""Words for a missing value: missing in text, warned of elsewhere, and as the reader asks."""

import json

import polars as pl
import pytest
from workbooks import write_workbook

from clinadapt.core.errors import InputError
from clinadapt.data.columns import Columns
from clinadapt.data.notes import read_notes
from clinadapt.data.tables.opening import open_table
from clinadapt.data.tables.table import MISSING_WORDS

WORDS = [*MISSING_WORDS, "", "  ", " NA "]
KEPT = ["na", "none", "Na", "NAN", "N.A.", "nil", "0", "-", "Null and void"]


def column(path, **options):
    return [value for batch in open_table(path, **options).batches() for value in batch["text"]]


def _csv(path, cells):
    path.write_text("text,n\n" + "".join(f"{cell},1\n" for cell in cells))


def _tsv(path, cells):
    path.write_text("text\tn\n" + "".join(f"{cell}\t1\n" for cell in cells))


def _json(path, cells):
    path.write_text(json.dumps([{"text": cell, "n": 1} for cell in cells]))


def _excel(path, cells):
    write_workbook(path, {"A": [["text", "n"], *([f" {cell}", 1] for cell in cells)]})


@pytest.mark.parametrize(
    ("name", "write"), [("n.csv", _csv), ("n.tsv", _tsv), ("n.json", _json), ("n.xlsx", _excel)]
)
def test_words_are_missing_in_every_format_of_text(tmp_path, name, write):
    write(tmp_path / name, [*WORDS, *KEPT])
    found = [(value and value.strip()) or None for value in column(tmp_path / name)]
    assert found == [None] * len(WORDS) + KEPT
    given = [value and value.strip() for value in column(tmp_path / name, missing=["nil", "-"])]
    assert given[0] == "NA"
    assert given[-4:] == [None, "0", None, "Null and void"]


def test_a_class_may_have_such_a_name(tmp_path):
    labels = ["NA", "K", "None"] * 3
    rows = "".join(f"note {number},{label}\n" for number, label in enumerate(labels))
    (tmp_path / "n.csv").write_text(f"text,label\n{rows}")
    with pytest.raises(InputError, match=r"missing label in 6 row\(s\): 1, 3, 4"):
        read_notes(tmp_path / "n.csv")
    notes = read_notes(tmp_path / "n.csv", missing=())
    assert notes.labels.decode().tolist() == labels
    assert notes.warnings == []


@pytest.mark.parametrize("kind", ["polars", "pandas", "parquet"])
def test_elsewhere_they_are_values_and_warned_of(tmp_path, kind):
    frame = pl.DataFrame({"text": list("abcdef"), "label": ["x", "None", "x", "None"] + ["y"] * 2})
    frame.write_parquet(tmp_path / "n.parquet")
    table = {"polars": frame, "pandas": frame.to_pandas(), "parquet": tmp_path / "n.parquet"}[kind]
    notes = read_notes(table, minimum_per_class=2)
    assert notes.labels.classes.tolist() == ["None", "x", "y"]
    assert (
        "column 'label' holds a word such as NA, null or None in 2 row(s): 2, 4"
        in (notes.warnings[0])
    )
    known = read_notes(table, missing=["None"], leave_out_bad=True, minimum_per_class=2)
    assert known.labels.classes.tolist() == ["x", "y"]
    assert len(known.left_out) == 2


def test_ids_and_groups_may_be_missing_too(tmp_path):
    (tmp_path / "n.csv").write_text("id,text,label,who\n1,a,x,NA\nnull,b,y,2\n3,c,x,3\n")
    with pytest.raises(InputError) as caught:
        read_notes(tmp_path / "n.csv", Columns(id="id", group="who"), minimum_per_class=1)
    assert "missing group (column 'who') in 1 row(s): 1" in str(caught.value)
    assert "missing id (column 'id') in 1 row(s): 2" in str(caught.value)
