"""Open tables of notes: files, data frames and Hugging Face datasets."""

import codecs
import tempfile
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from clinadapt.core.errors import InputError

READABLE = "CSV (.csv), TSV (.tsv), JSON lines (.jsonl, .ndjson) or Parquet (.parquet)"
ROWS_AT_ONCE = 4096
BYTES_AT_ONCE = 2**20
UNDECODED = "\ufdd0"  # a Unicode noncharacter, which does not occur in exchanged texts


def _mark(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return UNDECODED, error.end


codecs.register_error("clinadapt.mark", _mark)


@dataclass(frozen=True)
class Table:
    """Table that can be read repeatedly, in batches of rows.

    Attributes
    ----------
    schema : polars.Schema
        Names and types of all columns.
    read : callable
        Function from column names to an iterator of frames with these columns.
    count : callable
        Function that returns the number of rows. It parses all of a CSV, TSV or JSON-lines file, so
        that parsing errors are reported.
    """

    schema: pl.Schema
    read: Callable[[list[str]], Iterator[pl.DataFrame]]
    count: Callable[[], int]

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
        """Yield the rows of some columns (default: all) in order, as non-empty frames."""
        wanted = list(dict.fromkeys(self.schema.names() if columns is None else columns))
        return (batch for batch in self.read(wanted) if len(batch))


def open_table(source: Any, encoding: str = "utf-8", mark: bool = False) -> Table:
    """Open a table; files and datasets are read in batches and never fully loaded.

    Parameters
    ----------
    source : path, pandas.DataFrame, polars.DataFrame, polars.LazyFrame or datasets.Dataset
        Table to open. In CSV and TSV every value is read as text: "01" stays "01".
    encoding : str
        Text encoding of CSV, TSV and JSON lines.
    mark : bool
        Whether to replace bytes that the encoding cannot decode by `UNDECODED`. If they occur in
        most of the non-ASCII lines, the file has another encoding and an error is raised.

    Returns
    -------
    Table

    Raises
    ------
    InputError
        The table is of an unknown type, the file is missing, or the encoding cannot decode it.
        Parsing errors are raised here or while the batches are read.
    """
    if isinstance(source, pl.DataFrame):
        return _of_frame(source)
    if isinstance(source, pl.LazyFrame):
        return _of_lazy(source)
    if isinstance(source, str | Path):
        return _open_file(Path(source), encoding, mark)
    module = type(source).__module__.partition(".")[0]
    if module == "pandas":
        try:
            return _of_frame(pl.from_pandas(source))
        except Exception as error:  # messages of the libraries may quote notes
            raise InputError(
                f"the pandas frame could not be read ({type(error).__name__}): column names must "
                "be unique, and all values of a column must have the same type (for example with "
                "frame.astype({'column': str}))"
            ) from None
    if module == "datasets" and hasattr(source, "to_polars"):
        return _of_dataset(source)
    raise InputError(
        f"expected a path, a pandas or polars frame, or one split of a Hugging Face dataset, "
        f"got {type(source).__name__}"
    )


def _of_frame(frame: pl.DataFrame) -> Table:
    return Table(
        frame.schema,
        lambda names: frame.select(names).iter_slices(ROWS_AT_ONCE),
        lambda: len(frame),
    )


def _of_lazy(frame: pl.LazyFrame) -> Table:
    schema = frame.collect_schema()

    def read(names: list[str]) -> Iterator[pl.DataFrame]:
        return frame.select(names).collect_batches(chunk_size=ROWS_AT_ONCE, maintain_order=True)

    return Table(schema, read, lambda: sum(map(len, read(schema.names()))))


def _of_dataset(source: Any) -> Table:
    schema = pl.DataFrame(source.features.arrow_schema.empty_table()).schema
    named = {column: names for column in schema if (names := _class_names(source.features[column]))}
    is_list = {column: schema[column].is_nested() for column in named}
    for column in named:
        schema[column] = pl.List(pl.String()) if is_list[column] else pl.String()

    def read(names: list[str]) -> Iterator[pl.DataFrame]:
        part = source.select_columns(names)
        spelled = [
            pl.col(column).list.eval(_spelled(pl.element(), named[column]))
            if is_list[column]
            else _spelled(pl.col(column), named[column])
            for column in names
            if column in named
        ]
        for batch in part.to_polars(batch_size=ROWS_AT_ONCE, batched=True):
            yield batch.with_columns(spelled)

    return Table(schema, read, lambda: len(source))


def _class_names(feature: Any) -> list[str] | None:
    """Return the names of a `datasets.ClassLabel` column, or of a list of them."""
    names: list[str] | None = getattr(getattr(feature, "feature", feature), "names", None)
    return names


def _spelled(codes: pl.Expr, names: Sequence[str]) -> pl.Expr:
    """Return the names of class codes; -1, which is what datasets have for unknown, is missing."""
    return codes.replace_strict(range(len(names)), names, default=None, return_dtype=pl.String)


def _open_file(path: Path, encoding: str, mark: bool) -> Table:
    if not path.is_file():
        raise InputError(f"no such file: {path}")
    suffix = path.suffix.lower()
    with ExitStack() as files, _safe_errors(path):
        if suffix == ".parquet":
            table = _of_parquet(path)
        elif suffix in {".csv", ".tsv"}:
            content = _as_utf8(path, encoding, files, mark)
            separator = "\t" if suffix == ".tsv" else ","
            table = _of_lazy(pl.scan_csv(content, separator=separator, infer_schema=False))
        elif suffix in {".jsonl", ".ndjson"}:
            content = _as_utf8(path, encoding, files, mark)
            table = _of_lazy(pl.scan_ndjson(content, infer_schema_length=None))
        else:
            raise InputError(f"expected {READABLE}, got {path.name!r}")
        weakref.finalize(table, files.pop_all().close)

    def read(names: list[str]) -> Iterator[pl.DataFrame]:
        with _safe_errors(path):
            yield from table.read(names)

    def count() -> int:
        with _safe_errors(path):
            return table.count()

    return Table(table.schema, read, count)


@contextmanager
def _safe_errors(path: Path) -> Iterator[None]:
    """Replace errors of libraries, which may quote notes, by an `InputError` that does not."""
    try:
        yield
    except (pl.exceptions.PolarsError, pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # an error of the file system, which quotes no content
        raise InputError(
            f"{path} could not be read as {path.suffix[1:].upper()} ({type(error).__name__}): "
            f"check that every line has the same columns and that quotes are closed"
        ) from None


def _of_parquet(path: Path) -> Table:
    # With a buffer and no read-ahead, row groups are never completely in memory.
    def file() -> pq.ParquetFile:
        return pq.ParquetFile(path, buffer_size=BYTES_AT_ONCE, pre_buffer=False)

    def read(names: list[str]) -> Iterator[pl.DataFrame]:
        with file() as opened:
            for batch in opened.iter_batches(ROWS_AT_ONCE, columns=names, use_threads=False):
                yield pl.DataFrame(batch)

    with file() as opened:
        schema = pl.DataFrame(opened.schema_arrow.empty_table()).schema
        rows = opened.metadata.num_rows
    return Table(schema, read, lambda: rows)


def _as_utf8(path: Path, encoding: str, files: ExitStack, mark: bool) -> Path | IO[bytes]:
    """Return the path if the file is plain UTF-8, else an unnamed temporary copy that is.

    Parameters
    ----------
    path : Path
    encoding : str
    files : ExitStack
        Stack that closes the copy.
    mark : bool
        See `open_table`.

    Raises
    ------
    InputError
        The encoding is unknown or cannot decode the file; the first bad lines are listed.
    """
    try:
        return _decoded(path, encoding, files)
    except LookupError:
        raise InputError(f"unknown text encoding {encoding!r}; try utf-8 or cp1252") from None
    except UnicodeDecodeError:
        bad, good = _undecodable(path, encoding)
    if mark and len(bad) <= good:
        return _decoded(path, encoding, files, mark)
    shown = ", ".join(map(str, bad[:10])) + (f" and {len(bad) - 10} more" * (len(bad) > 10))
    where = f"{len(bad)} line(s) are not {encoding} (file lines {shown})"
    raise InputError(
        f"{path.name}: {where if bad else f'it is not {encoding}'}. "
        f"Try --encoding cp1252 or latin-1, which are common in French exports"
    )


def _decoded(path: Path, encoding: str, files: ExitStack, mark: bool = False) -> Path | IO[bytes]:
    """Return the path if the file is plain UTF-8, else a copy, with undecodable bytes marked."""
    copy: IO[bytes] | None = None
    errors = "clinadapt.mark" if mark else "strict"
    with path.open(encoding=encoding, errors=errors, newline="") as file:
        content = file.read(BYTES_AT_ONCE)
        if mark or codecs.lookup(encoding).name != "utf-8" or content.startswith("\ufeff"):
            temporary = tempfile.TemporaryFile(prefix="clinadapt-")  # noqa: SIM115 (entered)
            copy = files.enter_context(temporary)
            content = content.removeprefix("\ufeff")
        while content:
            if copy is not None:
                copy.write(content.encode())
            content = file.read(BYTES_AT_ONCE)
    if copy is None:
        return path
    copy.seek(0)
    return copy


def _undecodable(path: Path, encoding: str) -> tuple[list[int], int]:
    """Return the numbers of undecodable lines, and the count of decodable non-ASCII lines."""
    bad, good = [], 0
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.removesuffix(b"\n").decode(encoding)
            except UnicodeDecodeError:
                bad.append(number)
            else:
                good += not line.isascii()
    return bad, good
