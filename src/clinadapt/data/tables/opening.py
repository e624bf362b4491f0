"""Open a table of notes, whatever it is: the one reader of every command."""

from codecs import BOM_UTF8
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

import polars as pl

from clinadapt.core.errors import InputError
from clinadapt.data.tables.delimited import open_delimited
from clinadapt.data.tables.excel import open_excel
from clinadapt.data.tables.frames import of_dataset, of_frame, of_lazy, of_pandas
from clinadapt.data.tables.json_records import open_json
from clinadapt.data.tables.parquet import SUFFIX as PARQUET
from clinadapt.data.tables.parquet import is_parquet_folder, open_parquet
from clinadapt.data.tables.paths import check_file, why_no_file
from clinadapt.data.tables.table import ReadOptions, Table
from clinadapt.data.tables.text_file import open_bytes

READABLE = (
    "CSV (.csv), TSV (.tsv), other delimited text (.txt), JSON (.jsonl, .ndjson, .json), each also "
    "as .gz; Parquet (.parquet) or Excel (.xlsx)"
)
DELIMITED = (".csv", ".tsv", ".tab", ".psv")
JSON = (".jsonl", ".ndjson", ".json")
PLAIN = (".txt", ".dat", ".text", "")  # read as delimited text, but only if named as a file
EXCEL = (".xlsx", ".xlsm")
PACKED = ".gz"
SUFFIXES = (  # of the files of a folder that are tables
    *DELIMITED, *JSON, *(f"{suffix}{PACKED}" for suffix in (*DELIMITED, *JSON)), PARQUET, *EXCEL
)  # fmt: skip
OTHERS = {
    ".xls": "an old Excel workbook: save it as .xlsx or as CSV",
    ".xlsb": "a binary Excel workbook: save it as .xlsx or as CSV",
    ".ods": "an OpenDocument spreadsheet: save it as .xlsx or as CSV",
    ".zip": "an archive: unpack it",
    ".bz2": "a packed file: unpack it",
    ".xz": "a packed file: unpack it",
    ".zst": "a packed file: unpack it",
}
BEGINNINGS = {  # of files whose name may say otherwise
    b"PK\x03\x04": "a ZIP archive or an Office document such as .xlsx",
    b"\xd0\xcf\x11\xe0": "an old Office document such as .xls",
    b"PAR1": "a Parquet file",
    b"\x1f\x8b": "a gzip file",
    b"%PDF": "a PDF file",
    b"SQLite format 3": "an SQLite database: give its URL with --database",
    b"{\\rtf": "an RTF document",
}


def open_table(source: Any, mark: bool = False, **options: Unpack[ReadOptions]) -> Table:
    """Open a table; files and datasets are read in batches and never fully loaded.

    Only of a workbook is a sheet loaded as a whole.

    Parameters
    ----------
    source : path, pandas.DataFrame, polars.DataFrame, polars.LazyFrame or datasets.Dataset
        Table to open. A path is taken literally, whatever its characters. In delimited text every
        value is read as text: "01" stays "01".
    mark : bool
        Whether to replace bytes that the encoding cannot decode by
        `clinadapt.data.tables.text_file.UNDECODED`. If they occur in most of the non-ASCII lines,
        the file has another encoding and an error is raised.
    **options
        See `clinadapt.data.tables.table.ReadOptions`.

    Returns
    -------
    Table

    Raises
    ------
    InputError
        The table is of an unknown type, the file is missing or cannot be read; all its problems are
        listed, with the numbers of its lines.
    MissingExtraError
        A workbook is to be read without the extra ``excel``.
    """
    table = _open(source, mark, options)
    if (words := options.get("missing")) is not None:
        table = replace(table, words=(words,) if isinstance(words, str) else tuple(words))
    if table.read_as and (tell := options.get("tell")):
        tell(f"{Path(source).name} is read as {table.read_as}")
    return table


def _open(source: Any, mark: bool, options: ReadOptions) -> Table:
    if isinstance(source, pl.DataFrame):
        return of_frame(source)
    if isinstance(source, pl.LazyFrame):
        return of_lazy(source)
    if isinstance(source, str | Path):
        return _open_path(Path(source), mark, options)
    module = type(source).__module__.partition(".")[0]
    if module == "pandas" and hasattr(source, "columns"):
        return of_pandas(source)
    if module == "datasets" and hasattr(source, "to_polars"):
        return of_dataset(source)
    raise InputError(
        f"expected a path, a pandas or polars frame, or one split of a Hugging Face dataset, "
        f"got {type(source).__name__}"
    )


def _open_path(path: Path, mark: bool, options: ReadOptions) -> Table:
    if path.is_dir():
        if not is_parquet_folder(path):
            raise InputError(f"{why_no_file(path)}, or a folder with nothing but Parquet files")
        return open_parquet(path)
    check_file(path)
    suffix = suffix_of(path)
    if suffix in OTHERS:
        raise InputError(f"{path.name} is {OTHERS[suffix]}")
    if suffix == PARQUET:
        return open_parquet(path)
    if suffix in EXCEL:
        return open_excel(path)
    if suffix not in (*DELIMITED, *JSON, *PLAIN):
        raise InputError(f"expected {READABLE}, got {path.name!r}")
    with open_bytes(path) as file:
        beginning = file.read(16)
    for first, what in BEGINNINGS.items():
        if beginning.startswith(first):
            raise InputError(f"{path.name} is not {suffix or 'text'} but {what}")
    if not beginning:
        raise InputError(f"{path} is empty")
    if suffix not in JSON and beginning.removeprefix(BOM_UTF8).startswith((b'{"', b'[{"')):
        raise InputError(f"{path.name} seems to be JSON: name it .jsonl or .json")
    encoding = options.get("encoding", "utf-8")
    if suffix in JSON:
        return open_json(path, suffix, encoding, mark)
    return open_delimited(path, suffix, encoding, options.get("delimiter"), mark)


def suffix_of(path: Path) -> str:
    """Return the suffix that names the format: lower case, and that before ``.gz`` if packed."""
    *_, before, last = ["", "", *path.suffixes]
    return (before if last.lower() == PACKED else last).lower()
