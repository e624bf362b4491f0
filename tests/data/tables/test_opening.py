"""Every kind of table gives the same notes; what is none is called what it is."""

import gzip
import json
import os
import socket
from pathlib import Path

import datasets
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from workbooks import write_workbook

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


def _packed(path: Path) -> None:
    path.write_bytes(gzip.compress(TABLE.write_csv().encode()))


def _indented(path: Path) -> None:
    path.write_text("\n".join(json.dumps(row, indent=2) for row in ROWS), encoding="utf-8")


def _spark(folder: Path) -> Path:
    parts = folder / "notes.parquet"
    parts.mkdir()
    TABLE[:4].write_parquet(parts / "part-00000.snappy.parquet")
    TABLE[4:].write_parquet(parts / "part-00001.snappy.parquet")
    (parts / "_SUCCESS").touch()
    (parts / ".part-00000.snappy.parquet.crc").touch()
    return parts


def _hive(folder: Path) -> Path:
    for patient in TABLE["patient"].unique(maintain_order=True):
        part = folder / "notes" / f"patient={patient}"
        part.mkdir(parents=True)
        rows = TABLE.filter(pl.col("patient") == patient).drop("patient")
        rows.write_parquet(part / "0.parquet")
    return folder / "notes"


def _arrow_types(path: Path) -> None:
    types = {
        "id": pa.large_string(),
        "patient": pa.string(),
        "text": pa.string_view(),
        "label": pa.dictionary(pa.int32(), pa.string()),
    }
    pq.write_table(pa.Table.from_pylist(ROWS).cast(pa.schema(types)), path)


def _excel(path: Path) -> None:
    write_workbook(path, {"Notes": [TABLE.columns, *TABLE.rows()], "Other": [["text"], ["x"]]})


SOURCES = {
    "csv, packed": _file(_packed, "notes.csv.gz"),
    "txt with tabs": _file(lambda path: TABLE.write_csv(path, separator="\t"), "notes.txt"),
    "json array": _file(lambda path: path.write_text(json.dumps(ROWS)), "notes.json"),
    "json over several lines": _file(_indented, "notes.jsonl"),
    "spark": _spark,
    "hive": _hive,
    "parquet of other string types": _file(_arrow_types, "types.parquet"),
    "excel": _file(_excel, "notes.xlsx"),
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
        ("notes.docx", r"expected CSV .* Excel .*got 'notes.docx'"),
        ("notes.xls", "notes.xls is an old Excel workbook: save it as .xlsx or as CSV"),
        ("notes.ods", "OpenDocument spreadsheet: save it"),
        ("notes.csv.zip", "an archive: unpack it"),
    ],
)
def test_other_formats_are_called_by_their_name(name, message, tmp_path):
    (tmp_path / name).write_text("x")
    with pytest.raises(InputError, match=message):
        open_table(tmp_path / name)


@pytest.mark.parametrize(
    ("beginning", "what"),
    [(b"PK\x03\x04", "an Office document"), (b"PAR1", "a Parquet file"), (b"\x1f\x8b", "gzip")],
)
def test_a_file_that_is_not_what_its_name_says(beginning, what, tmp_path):
    (tmp_path / "notes.csv").write_bytes(beginning + b"text,label\nsecret,1\n")
    with pytest.raises(InputError, match=f"notes.csv is not .csv but .*{what}") as caught:
        open_table(tmp_path / "notes.csv")
    assert "secret" not in str(caught.value)


def test_what_is_no_file_is_called_what_it_is(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere.csv")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket.csv"))
    for name, what in [
        ("folder.csv", "is a folder"),
        ("pipe.csv", "is a pipe, which can be read only once"),
        ("link.csv", "is a link that leads nowhere"),
        ("socket.csv", "is a socket"),
        ("absent.csv", "no such file"),
    ]:
        with pytest.raises(InputError, match=what):
            open_table(tmp_path / name)
    with pytest.raises(InputError, match="standard input"):
        open_table("-")


@pytest.mark.parametrize("name", ["notes[1].csv", "a*b?.csv", "{x}.parquet", "notes"])
def test_a_path_is_taken_literally(name, tmp_path):
    write = TABLE.write_parquet if name.endswith("parquet") else TABLE.write_csv
    with (tmp_path / name).open("wb") as file:
        write(file)
    assert read(tmp_path / name).rows() == TABLE.rows()


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
        ("notes.csv", "\n \n", "is empty: it has no header"),
        ("notes.jsonl", '{"text": "secret", "label"\n', r"line\(s\) 1: .* not valid JSON"),
        ("notes.jsonl", " \n", "is empty: it has no objects"),
        ("notes.parquet", "secret is not Parquet", "could not be read as Parquet"),
        ("notes.csv.gz", "secret is not packed", "no gzip file"),
    ],
)
def test_a_broken_file_is_an_error_without_note_text(name, content, message, tmp_path):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
