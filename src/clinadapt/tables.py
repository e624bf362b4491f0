"""Open a table of any kind that users have: a file, a data frame, a Hugging Face dataset."""

import io
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.errors import InputError

READABLE = "CSV (.csv), TSV (.tsv), JSON lines (.jsonl, .ndjson) or Parquet (.parquet)"


def open_table(source: Any, encoding: str = "utf-8") -> pl.DataFrame:
    """Read a table into memory.

    Parameters
    ----------
    source : path, pandas.DataFrame, polars.DataFrame, polars.LazyFrame or datasets.Dataset
        In CSV and TSV every value is read as text: "01" stays "01".
    encoding : str
        Text encoding of CSV, TSV and JSON lines.

    Returns
    -------
    polars.DataFrame

    Raises
    ------
    InputError
        Unknown kind of table, missing file, or bytes that the encoding cannot decode.
    """
    if isinstance(source, pl.DataFrame):
        return source
    if isinstance(source, pl.LazyFrame):
        return source.collect()
    if isinstance(source, str | Path):
        return _open_file(Path(source), encoding)
    module = type(source).__module__.partition(".")[0]
    if module == "pandas":
        try:
            return pl.from_pandas(source)
        except Exception as error:  # the libraries' messages may quote cells, which hold notes
            raise InputError(
                f"the pandas frame could not be read ({type(error).__name__}): column names must "
                "differ, and a column must hold one type (say frame.astype({'column': str}))"
            ) from None
    if module == "datasets" and hasattr(source, "to_polars"):
        table = source.to_polars()
        assert isinstance(table, pl.DataFrame)
        return table
    raise InputError(
        f"expected a path, a pandas or polars frame or one part of a Hugging Face dataset, "
        f"got {type(source).__name__}"
    )


def _open_file(path: Path, encoding: str) -> pl.DataFrame:
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return pl.read_parquet(path)
        if suffix in {".csv", ".tsv"}:
            separator = "\t" if suffix == ".tsv" else ","
            text = _decode(path, encoding)
            return pl.read_csv(text, separator=separator, infer_schema=False)
        if suffix in {".jsonl", ".ndjson"}:
            return pl.read_ndjson(_decode(path, encoding), infer_schema_length=None)
    except pl.exceptions.PolarsError as error:
        # Only the kind of error: the library's message may quote the file, which holds notes.
        raise InputError(
            f"{path} could not be read as {suffix[1:].upper()} ({type(error).__name__}): "
            f"check that every line has the same columns and that quotes are closed"
        ) from None
    raise InputError(f"expected {READABLE}, got {path.name!r}")


def _decode(path: Path, encoding: str) -> io.BytesIO:
    """Bytes of a text file as UTF-8, or an error that names the first bad lines."""
    raw = path.read_bytes()
    try:
        raw.decode(encoding)
    except LookupError:
        raise InputError(f"unknown text encoding {encoding!r}; try utf-8 or cp1252") from None
    except UnicodeDecodeError as error:
        bad = [
            number
            for number, line in enumerate(raw.split(b"\n"), start=1)
            if not _decodes(line, encoding)
        ] or [raw.count(b"\n", 0, error.start) + 1]
        shown = ", ".join(map(str, bad[:10])) + (f" and {len(bad) - 10} more" * (len(bad) > 10))
        raise InputError(
            f"{path.name}: {len(bad)} line(s) are not {encoding} (file lines {shown}). "
            f"Tried: {encoding}. French exports are often --encoding cp1252 or latin-1"
        ) from None
    return io.BytesIO(raw.decode(encoding).removeprefix("\ufeff").encode())


def _decodes(line: bytes, encoding: str) -> bool:
    try:
        line.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
