"""Tables in memory, and datasets of Hugging Face."""

from collections.abc import Iterator, Sequence
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
    """Return one split of a dataset as a table, class codes by their names."""
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
        for batch in part.to_polars(batch_size=table.ROWS_AT_ONCE, batched=True):
            yield batch.with_columns(spelled)

    return Table(schema, read, lambda: len(source))


def _class_names(feature: Any) -> list[str] | None:
    """Return the names of a `datasets.ClassLabel` column, or of a list of them."""
    names: list[str] | None = getattr(getattr(feature, "feature", feature), "names", None)
    return names


def _spelled(codes: pl.Expr, names: Sequence[str]) -> pl.Expr:
    """Return the names of class codes; -1, which is what datasets have for unknown, is missing."""
    return codes.replace_strict(range(len(names)), names, default=None, return_dtype=pl.String)


@contextmanager
def _safe_errors() -> Iterator[None]:
    """Replace errors of polars, which may quote notes."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        raise InputError(
            f"the lazy frame could not be read ({type(error).__name__}): call collect() to see why"
        ) from None
