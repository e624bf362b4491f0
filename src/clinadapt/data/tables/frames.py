"""Tables in memory, and datasets of Hugging Face."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import polars as pl

from clinadapt.core.errors import InputError
from clinadapt.data.tables import table
from clinadapt.data.tables.table import Table


def of_frame(frame: pl.DataFrame) -> Table:
    """Return a frame as a table."""
    return Table(
        frame.schema,
        lambda names: frame.select(names).iter_slices(table.ROWS_AT_ONCE),
        lambda: len(frame),
    )


def of_pandas(frame: Any) -> Table:
    """Return a pandas frame as a table.

    Raises
    ------
    InputError
        Columns have the same name or values of several types.
    """
    try:
        return of_frame(pl.from_pandas(frame))
    except Exception as error:  # messages of the libraries may quote notes
        raise InputError(
            f"the pandas frame could not be read ({type(error).__name__}): column names must "
            "be unique, and all values of a column must have the same type (for example with "
            "frame.astype({'column': str}))"
        ) from None


def of_lazy(frame: pl.LazyFrame) -> Table:
    """Return a lazy frame as a table; it is collected in batches."""
    with _safe_errors():
        schema = frame.collect_schema()

    def read(names: list[str]) -> Iterator[pl.DataFrame]:
        with _safe_errors():
            yield from frame.select(names).collect_batches(
                chunk_size=table.ROWS_AT_ONCE, maintain_order=True
            )

    def count() -> int:
        with _safe_errors():
            return int(frame.select(pl.len()).collect().item())

    return Table(schema, read, count)


def of_dataset(source: Any) -> Table:
    """Return one split of a dataset as a table."""
    schema = pl.DataFrame(source.features.arrow_schema.empty_table()).schema

    def read(names: list[str]) -> Iterator[pl.DataFrame]:
        part = source.select_columns(names)
        yield from part.to_polars(batch_size=table.ROWS_AT_ONCE, batched=True)

    return Table(schema, read, lambda: len(source))


@contextmanager
def _safe_errors() -> Iterator[None]:
    """Replace errors of polars, which may quote notes."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"the lazy frame could not be read ({type(error).__name__}): call collect() to see why"
        ) from None
