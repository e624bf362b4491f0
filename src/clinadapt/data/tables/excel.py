"""Excel workbooks, read by python-calamine: the maintained binding of Rust's calamine."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.core.errors import InputError, MissingExtraError
from clinadapt.data.tables import table
from clinadapt.data.tables.row_shapes import RowShapes
from clinadapt.data.tables.table import MISSING_WORDS, Table
from clinadapt.data.tables.values import EXACT, Types, as_frame


def open_excel(path: Path) -> Table:
    """Open the first sheet of a workbook; its first row that is not empty has the names.

    Raises
    ------
    InputError
        The file is no workbook, or its first sheet is empty.
    MissingExtraError
        The extra ``excel`` is not installed.
    """
    header, rows, sheets = _rows(path)
    names = Counter(name for name in header if name)
    types, shapes = Types(), RowShapes(len(header))
    for row in rows:
        shapes.add(["" if cell is None else str(cell) for cell in row])
        for name, cell in zip(header, row, strict=True):
            types.add(name, cell)
    for name in header:
        types.add(name, None)  # a table may have no rows
    schema = pl.Schema((name, dtype) for name, dtype in types.schema().items() if name)

    def read(wanted: list[str]) -> Iterator[pl.DataFrame]:
        _, rows, _ = _rows(path)
        for start in range(0, len(rows), table.ROWS_AT_ONCE):
            some = rows[start : start + table.ROWS_AT_ONCE]
            yield as_frame([dict(zip(header, row, strict=True)) for row in some], schema, wanted)

    count = len(rows)
    return Table(
        schema=schema,
        read=read,
        count=lambda: count,
        read_as=f"the first of {sheets} sheets of a workbook" if sheets > 1 else "",
        repeated=frozenset(name for name, number in names.items() if number > 1),
        names_are_data=shapes.continues(header),
        words=MISSING_WORDS,
    )


def _rows(path: Path) -> tuple[list[str], list[list[Any]], int]:
    """Return the first sheet's header and its other rows, without empty ones; and all sheets."""
    try:
        from python_calamine import CalamineError, load_workbook
    except ImportError:
        raise MissingExtraError(
            f"{path.name} is an Excel workbook: reading it requires the extra excel. Install with: "
            f"pip install 'clinadapt[excel]'; or save the sheet as CSV UTF-8"
        ) from None
    try:
        with load_workbook(str(path)) as workbook:
            names = workbook.sheet_names
            cells = workbook.get_sheet_by_index(0).to_python(skip_empty_area=False) if names else []
    except CalamineError as error:
        raise InputError(
            f"{path} could not be read as an Excel workbook ({type(error).__name__}): it may be "
            f"protected by a password, damaged or of another format"
        ) from None
    rows = [[_plain(cell) for cell in row] for row in cells]
    rows = [row for row in rows if any(cell is not None for cell in row)]
    if not rows:
        raise InputError(f"the first sheet of {path} is empty")
    header = ["" if cell is None else str(cell) for cell in rows[0]]
    return header, rows[1:], len(names)


def _plain(cell: Any) -> Any:
    """Return a cell's value: None if empty, and whole numbers without decimals, as Excel shows."""
    if cell == "":
        return None
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < EXACT:
        return int(cell)
    return cell
