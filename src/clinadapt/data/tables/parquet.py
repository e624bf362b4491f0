"""Parquet: a file, or a folder of parts such as Spark and Hive write."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from clinadapt.core.errors import InputError
from clinadapt.data.tables import table
from clinadapt.data.tables.paths import check_file
from clinadapt.data.tables.table import Table

SUFFIX = ".parquet"
BYTES_AT_ONCE = 2**20
LAKES = {"_delta_log": "Delta Lake", ".hoodie": "Hudi", "metadata": "Iceberg"}
NO_VALUE = "__HIVE_DEFAULT_PARTITION__"


def parts_of(folder: Path) -> list[Path]:
    """Return the Parquet files of a folder in order; what is hidden or begins with "_" is none."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() == SUFFIX
        and path.is_file()
        and not any(part.startswith(("_", ".")) for part in path.relative_to(folder).parts)
    )


def is_parquet_folder(path: Path) -> bool:
    """Return whether a folder is one table: by its name, or because all it holds is Parquet."""
    if path.suffix.lower() == SUFFIX:
        return True
    shown = (file for file in path.rglob("*") if file.is_file() and file.name[0] not in "._")
    return bool(parts_of(path)) and all(file.suffix.lower() == SUFFIX for file in shown)


def open_parquet(path: Path) -> Table:
    """Open a file or a folder; names of folders such as ``year=2024`` are columns.

    Raises
    ------
    InputError
        Something is no Parquet, the parts have different columns, or the folder is one of a format
        that also stores rows which are no longer valid.
    """
    parts = parts_of(path) if path.is_dir() else [path]
    if path.is_dir():
        for name, lake in LAKES.items():
            if (path / name).is_dir():
                raise InputError(
                    f"{path} is a {lake} table, in which some rows may have been replaced: export "
                    f"the current ones as a Parquet file"
                )
        if not parts:
            raise InputError(f"{path} is a folder without Parquet files: expected a file")
    schemas, rows = [], 0
    for part in parts:
        check_file(part)
        with _opened(part) as file:
            schemas.append(file.schema_arrow)
            rows += file.metadata.num_rows
    names = schemas[0].names
    if other := [
        str(part)
        for part, schema in zip(parts, schemas, strict=True)
        if sorted(schema.names) != sorted(names)
    ]:
        raise InputError(
            f"{len(other)} of {len(parts)} parts of {path} have other columns than the first, "
            f"such as {other[0]}"
        )
    repeated = frozenset(name for name, count in Counter(names).items() if count > 1)
    folders_of_first = _folders(path, parts[0])
    repeated |= folders_of_first.keys() & set(names)  # which may say another value
    once = [name for name in names if name not in repeated]
    folders_of_first = {
        name: value for name, value in folders_of_first.items() if name not in repeated
    }
    schema = _frame(schemas[0].empty_table().select(once), folders_of_first).schema
    if any(
        _frame(one.empty_table().select(once), {}).schema.items() - schema.items()
        for one in schemas
    ):
        raise InputError(f"the parts of {path} have columns of different types: make them the same")

    def read(wanted: list[str]) -> Iterator[pl.DataFrame]:
        for part in parts:
            folders = _folders(path, part)
            stored = [name for name in wanted if name not in folders]
            with _opened(part) as file:
                batches = file.iter_batches(table.ROWS_AT_ONCE, columns=stored, use_threads=False)
                for batch in batches:
                    yield _frame(batch, folders).select(wanted)

    return Table(
        schema=pl.Schema([*schema.items(), *((name, pl.Null()) for name in repeated)]),
        read=read,
        count=lambda: rows,
        repeated=repeated,
    )


def _frame(batch: pa.Table | pa.RecordBatch, folders: dict[str, str | None]) -> pl.DataFrame:
    columns = [pl.lit(value, pl.String).alias(name) for name, value in folders.items()]
    return pl.DataFrame(batch).with_columns(columns)


def _folders(root: Path, part: Path) -> dict[str, str | None]:
    """Return the values of a part that are written in the names of its folders."""
    if root == part:
        return {}
    pairs = (name.partition("=") for name in part.relative_to(root).parts[:-1])
    return {
        name: None if value == NO_VALUE else unquote(value) for name, mark, value in pairs if mark
    }


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Open a file so that row groups are never completely in memory.

    Errors of the library, which may quote notes, are replaced.
    """
    try:
        with pq.ParquetFile(path, buffer_size=BYTES_AT_ONCE, pre_buffer=False) as file:
            yield file
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # an error of the file system, which quotes no content
        raise InputError(
            f"{path} could not be read as Parquet ({type(error).__name__}): it may be cut off, "
            f"damaged or of another format"
        ) from None
