"""Every kind of table gives the same notes."""

import json
from pathlib import Path

import datasets
import pandas as pd
import polars as pl
import pytest

from clinadapt.core.errors import InputError
from clinadapt.data.columns import Columns
from clinadapt.data.notes import read_notes
from clinadapt.data.tables.opening import open_table


def read(source, encoding="utf-8"):
    """A table's batches in one frame."""
    return pl.concat(open_table(source, encoding=encoding).batches())


ROWS = [
    {"id": "01", "patient": "007", "text": 'Toux, fièvre ; dit "mal"', "label": "pos"},
    {"id": "02", "patient": "007", "text": "Œdème\nsur deux lignes", "label": "neg"},
    {"id": "03", "patient": "010", "text": "Tabulation\tau milieu", "label": "pos"},
    {"id": "04", "patient": "011", "text": "Rien à signaler", "label": "neg"},
    {"id": "05", "patient": "012", "text": "Dyspnée d'effort", "label": "pos"},
    {"id": "06", "patient": "013", "text": "Contrôle annuel", "label": "neg"},
]
TABLE = pl.DataFrame(ROWS)
COLUMNS = Columns(id="id", group="patient")


def _file(write, name):
    def make(folder: Path) -> Path:
        write(folder / name)
        return folder / name

    return make


def _jsonl(path: Path) -> None:
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    path.write_text("\n".join(lines), encoding="utf-8")


SOURCES = {
    "csv": _file(TABLE.write_csv, "notes.csv"),
    "csv, upper-case suffix": _file(TABLE.write_csv, "NOTES.CSV"),
    "csv of pandas": _file(lambda path: pd.DataFrame(ROWS).to_csv(path, index=False), "p.csv"),
    "tsv": _file(lambda path: TABLE.write_csv(path, separator="\t"), "notes.tsv"),
    "jsonl": _file(_jsonl, "notes.jsonl"),
    "ndjson": _file(TABLE.write_ndjson, "notes.ndjson"),
    "parquet": _file(TABLE.write_parquet, "notes.parquet"),
    "path as text": lambda folder: str(_file(TABLE.write_csv, "notes.csv")(folder)),
    "pandas": lambda folder: pd.DataFrame(ROWS),
    "polars": lambda folder: TABLE,
    "polars, lazy": lambda folder: TABLE.lazy(),
    "datasets": lambda folder: datasets.Dataset.from_list(ROWS),
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_kind_of_table_gives_the_same_notes(kind, tmp_path):
    notes = read_notes(SOURCES[kind](tmp_path), COLUMNS, minimum_per_class=2)
    assert notes.ids == [row["id"] for row in ROWS]
    assert notes.texts == [row["text"] for row in ROWS]
    assert notes.groups == [row["patient"] for row in ROWS]
    assert notes.labels.decode().tolist() == [row["label"] for row in ROWS]


def test_a_csv_keeps_leading_zeros(tmp_path):
    (tmp_path / "notes.csv").write_text("id,label\n01,1.50\n1,1e3\n")
    table = read(tmp_path / "notes.csv")
    assert table.rows() == [("01", "1.50"), ("1", "1e3")]


def test_an_empty_csv_cell_is_null(tmp_path):
    (tmp_path / "notes.csv").write_text("text,label\na,\n,1\n")
    assert read(tmp_path / "notes.csv").rows() == [("a", None), (None, "1")]


@pytest.mark.parametrize("name", ["notes.csv", "notes.tsv", "notes.jsonl"])
def test_bad_bytes_are_located_and_the_right_encoding_reads_them(name, tmp_path):
    secret = "Fièvre élevée"
    lines = {
        "notes.csv": ["id,text,label", f"1,{secret},1", "2,rien,0", f"3,{secret},1"],
        "notes.tsv": ["id\ttext\tlabel", f"1\t{secret}\t1", "2\trien\t0", f"3\t{secret}\t1"],
        "notes.jsonl": [
            '{"id": "0", "text": "rien", "label": "0"}',
            f'{{"id": "1", "text": "{secret}", "label": "1"}}',
            '{"id": "2", "text": "rien", "label": "0"}',
            f'{{"id": "3", "text": "{secret}", "label": "1"}}',
        ],
    }[name]
    path = tmp_path / name
    path.write_bytes("\n".join(lines).encode("cp1252"))
    with pytest.raises(InputError) as caught:
        open_table(path)
    message = str(caught.value)
    assert "2 line(s) are not utf-8 (file lines 2, 4)" in message
    assert "--encoding cp1252" in message
    assert "vre" not in message
    assert read(path, encoding="cp1252")["text"].to_list().count(secret) == 2


def test_many_bad_lines_are_counted(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_bytes(b"text\n" + b"\xe9\n" * 25)
    with pytest.raises(InputError, match=r"25 line\(s\).*2, 3, .*, 11 and 15 more"):
        open_table(path)


@pytest.mark.parametrize("name", ["notes.csv", "notes.jsonl"])
def test_a_byte_order_mark_is_no_part_of_the_first_column(name, tmp_path):
    body = {"notes.csv": "text,label\nà,1\n", "notes.jsonl": '{"text": "à", "label": "1"}'}[name]
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + body.encode())
    assert read(tmp_path / name).to_dicts() == [{"text": "à", "label": "1"}]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("notes.xlsx", "notes.xlsx could not be read as an Excel workbook"),
        ("notes.doc", "expected CSV .* Parquet .*got 'notes.doc'"),
        ("absent.csv", r"no such file: .*absent\.csv"),
    ],
)
def test_files_that_cannot_be_tables(name, message, tmp_path):
    if not name.startswith("absent"):
        (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=message):
        open_table(tmp_path / name)


@pytest.mark.parametrize("source", [[{"text": "secret"}], {"text": ["secret"]}, None, 3])
def test_other_objects_are_refused_without_being_quoted(source):
    with pytest.raises(InputError, match="expected a path") as caught:
        open_table(source)
    assert type(source).__name__ in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_unknown_encoding_is_named(tmp_path):
    (tmp_path / "notes.csv").write_text("text\na\n")
    with pytest.raises(InputError, match="unknown text encoding 'utf-99'"):
        open_table(tmp_path / "notes.csv", encoding="utf-99")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.csv", "text,label\nsecret,1,more,cells\n", "line 2 has 4"),
        ("notes.csv", "", "is empty"),
        ("notes.jsonl", '{"text": "secret", "label"\n', "1: this is not valid JSON"),
        ("notes.parquet", "secret is not Parquet", "could not be read as Parquet"),
    ],
)
def test_a_broken_file_is_an_error_without_note_text(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_names_of_a_class_label_are_the_classes_and_minus_one_is_missing():
    names = datasets.ClassLabel(names=["no infection", "infection"])
    source = datasets.Dataset.from_dict(
        {
            "text": [f"note {row}" for row in range(8)],
            "label": [1, 0, -1, 1, 0, 1, 0, 0],
            "several": [[1], [], [0, 1], [0], [1], [0], [-1], [0, 1]],
        },
        features=datasets.Features(
            {"text": datasets.Value("string"), "label": names, "several": datasets.List(names)}
        ),
    )
    with pytest.raises(InputError, match=r"missing label in 1 row\(s\): 3"):
        read_notes(source)
    labels = read_notes(source, leave_out_bad=True).labels
    assert labels.classes.tolist() == ["no infection", "infection"]
    assert labels.target.tolist() == [1, 0, 1, 0, 1, 0, 0]
    with pytest.raises(InputError, match=r"missing label in 1 row\(s\): 7"):
        read_notes(source, Columns(label="several"))
    several = read_notes(source.select(range(6)), Columns(label="several")).labels
    assert several.decode().tolist()[:3] == [("infection",), (), ("infection", "no infection")]
