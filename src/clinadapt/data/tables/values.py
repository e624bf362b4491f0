"""Columns of Python values, as JSON and workbooks give them: their types, and frames of them."""

import datetime
import re
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from clinadapt.core.errors import InputError

EXACT = 2**53  # whole numbers up to this have a float of their own
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character, which JSON may name


class Types:
    """Types that columns need for the values that have been seen."""

    def __init__(self) -> None:
        self.kinds: dict[str, set[str]] = {}

    def add(self, name: str, value: Any) -> None:
        """Add a value of a column."""
        self.kinds.setdefault(name, set()).add(_kind(value))

    def schema(self) -> pl.Schema:
        """Return the type of each column: text, unless all values are floats, lists or nested.

        Whole numbers are text, exactly as they are; beside floats they are floats if they fit.
        """
        return pl.Schema({name: _type(kinds - {"none"}) for name, kinds in self.kinds.items()})


def _kind(value: Any) -> str:
    match value:
        case None:
            return "none"
        case bool() | str() | datetime.date() | datetime.time() | datetime.timedelta():
            return "text"
        case int():
            return "whole" if abs(value) < EXACT else "text"
        case float():
            return "float"
        case list() if all(_kind(one) in {"none", "text", "whole", "float"} for one in value):
            return "list"
        case _:
            return "nested"


def _type(kinds: set[str]) -> pl.DataType:
    if "nested" in kinds or ("list" in kinds and len(kinds) > 1):
        return pl.Object()
    if kinds == {"list"}:
        return pl.List(pl.String)
    return pl.Float64() if "float" in kinds and kinds <= {"float", "whole"} else pl.String()


def as_frame(
    rows: Sequence[dict[str, Any]], schema: pl.Schema, names: Iterable[str]
) -> pl.DataFrame:
    """Return some columns of rows, in the types that `Types` found."""
    return pl.DataFrame(
        {name: _series([row.get(name) for row in rows], schema[name]) for name in names}
    )


def _series(values: list[Any], dtype: pl.DataType) -> pl.Series:
    try:
        if dtype == pl.String:
            return pl.Series([_text(value) for value in values], dtype=pl.String)
        if isinstance(dtype, pl.List):
            lists = [value and [_text(one) for one in value] for value in values]
            return pl.Series(lists, dtype=dtype)
        return pl.Series(values, dtype=dtype, strict=False)
    except (TypeError, pl.exceptions.PolarsError):
        raise InputError("the table was changed while it was read") from None


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or isinstance(value, str):
        return value and SURROGATE.sub("\ufffd", value)
    return str(value)
