"""Look through delimited text in a dialect: rows, and all that speaks against reading it so."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from clinadapt.data.tables.dialect import DELIMITERS, BrokenRowError, Dialect, Quotes
from clinadapt.data.tables.row_shapes import LONGEST, RowShapes
from clinadapt.data.tables.text_file import TextFile

SHOWN = 5
MARK = "\ufeff"  # of byte order, which is left where files are joined
LINE_END = re.compile(r"\r\n|\r|\n")
# Where one row ends and the next begins, all in quotes; or a quote after a backslash.
DOUBTED = re.compile(r'"(?:\r\n|\r|\n)"|\\"')

Lines = tuple[int, int]


@dataclass
class Survey:
    """What a file holds if it is read in a dialect.

    Attributes
    ----------
    text : TextFile
    dialect : Dialect
    header : list of str
        Cells of the first row.
    rows : int
        Number of rows below the header.
    problems : list of str
        Why the file cannot be read so, with line numbers.
    doubtful : list of (int, int)
        First and last lines of cells in quotes each line of which might be a row by itself.
    swallowed : list of (int, int)
        Those of them whose lines look like the other rows, so that a stray quote is to blame.
    backslashes : int
        First line with a backslash; 0 if there is none.
    escaped_quote, last_escaped_quote : int
        First and last line with a backslash before a quote, as far as the file was read; or 0.
    escaped_end : int
        First line of a row that ends with a backslash; or 0.
    escaped_delimiter : bool
        Whether there is a backslash before a delimiter.
    backslashes_explain : bool
        Whether there are backslashes wherever the file cannot be read.
    opened, closed : bool
        Where quotes are content: whether cells begin, or end, as if quotes enclosed them after all.
    header_is_data : bool
        Whether the first row looks like the others.
    """

    text: TextFile
    dialect: Dialect
    header: list[str] = field(default_factory=list)
    rows: int = 0
    problems: list[str] = field(default_factory=list)
    doubtful: list[Lines] = field(default_factory=list)
    swallowed: list[Lines] = field(default_factory=list)
    backslashes: int = 0
    escaped_quote: int = 0
    last_escaped_quote: int = 0
    escaped_end: int = 0
    escaped_delimiter: bool = False
    backslashes_explain: bool = True
    opened: bool = False
    closed: bool = False
    header_is_data: bool = False

    @property
    def clean(self) -> bool:
        """Whether the file can be read in this dialect."""
        return not self.problems


def survey(text: TextFile, dialect: Dialect) -> Survey:
    """Read a whole file in a dialect, and keep what is found, but for the rows."""
    found = Survey(text, dialect)
    ragged, repeats = _Ragged(), []
    suspects: list[tuple[Lines, list[list[str]]]] = []
    with text.open() as file:
        rows = dialect.rows(_watched(file, found))
        try:
            begun, found.header = next(rows, (1, []))
            width = len(found.header)
            header = _bare(found.header)
            shapes = RowShapes(width)
            _note_quotes(found, found.header)
            for begun, row in rows:
                found.rows += 1
                if len(row) != width:
                    ragged.add(begun, len(row))
                    found.backslashes_explain &= any("\\" in cell for cell in row)
                    continue
                if width > 1 and row[0].lstrip(MARK) in header and _bare(row) == header:
                    repeats.append(begun)
                several = [
                    (at, cell) for at, cell in enumerate(row) if "\n" in cell or "\r" in cell
                ]
                for at, cell in several:
                    cut = _as_rows(row, at, dialect.delimiter)
                    if cut or DOUBTED.search(cell) or _is_half_quoted(row[:at] + row[at + 1 :]):
                        first = begun + sum(len(LINE_END.findall(one)) for one in row[:at])
                        suspects.append(((first, first + len(LINE_END.findall(cell))), cut))
                if dialect.quotes is Quotes.NONE:
                    _note_quotes(found, row)
                if not found.escaped_end and row[-1].endswith("\\"):
                    found.escaped_end = begun
                shapes.add(row)
        except BrokenRowError as broken:
            found.problems.append(_of_quotes(broken))
            found.backslashes_explain &= found.last_escaped_quote >= broken.line
    if found.header:
        found.header_is_data = shapes.continues(found.header)
    if ragged.count:
        found.problems.append(ragged.sentence(len(found.header), found.rows, dialect.delimiter))
    if repeats:
        found.problems.append(
            f"{_lines(repeats)} the same cells as the first row: several tables in one file, or "
            f"a header that is missing"
        )
    for lines, cut in suspects:
        fits = [shapes.fits(one) for one in cut]
        if fits and all(fits):
            found.swallowed.append(lines)
        elif False not in fits:
            found.doubtful.append(lines)
    return found


def _watched(lines: Iterable[str], found: Survey) -> Iterator[str]:
    """Pass lines on, and note where there are backslashes."""
    for number, line in enumerate(lines, 1):
        if "\\" in line:
            found.backslashes = found.backslashes or number
            if '\\"' in line:
                found.escaped_quote = found.escaped_quote or number
                found.last_escaped_quote = number
            if f"\\{found.dialect.delimiter}" in line:
                found.escaped_delimiter = True
        yield line


def _bare(row: list[str]) -> list[str]:
    """Return the cells of a row in alphabetical order, without a byte order mark."""
    return sorted(cell.lstrip(MARK) for cell in row)


def _as_rows(row: list[str], at: int, delimiter: str) -> list[list[str]]:
    """Return the rows that the lines of a cell would be, with the cells beside it; [] if none.

    Only if its lines have as many cells as the table can it be that a quote has swallowed rows.
    Some may be ragged, and the last one may only have the quote that happens to close the cell.
    """
    first, *inner, last = LINE_END.split(row[at])
    before, after, width = row[:at], row[at + 1 :], len(row)
    if first.count(delimiter) != len(after):
        return []
    rows = [line.split(delimiter) for line in inner if line.count(delimiter) == width - 1]
    if last.count(delimiter) == at:
        rows.append(last.split(delimiter) + after)
    # In a table of one column, most lines of any text could be rows.
    least = len(inner) if width == 1 else len(inner) / 2
    if not rows or len(rows) < least:
        return []
    cut = [before + first.split(delimiter), *rows]
    return [[cell[: LONGEST + 1] for cell in one] for one in cut]


def _is_half_quoted(cells: list[str]) -> bool:
    """Return whether a cell has a quote without its match: it may have enclosed another one."""
    return any(cell.count('"') % 2 for cell in cells)


def _note_quotes(found: Survey, row: list[str]) -> None:
    """Note cells that begin and end with a quote, or do one of both and have no other to match."""
    for cell in row:
        if '"' in cell:
            begins, ends, odd = cell.startswith('"'), cell.endswith('"'), cell.count('"') % 2
            found.opened |= begins and bool(ends or odd)
            found.closed |= ends and bool(begins or odd)


def _of_quotes(broken: BrokenRowError) -> str:
    if broken.is_open:
        return (
            f"line {broken.line}: a quote that opens a cell in the row that begins here is never "
            f"closed"
        )
    return (
        f"line {broken.line}: in the row that begins here, a cell in quotes goes on after its "
        f"closing quote; or a quote that opens a cell is not closed. Quotes within cells must be "
        f"doubled"
    )


class _Ragged:
    """Rows with another number of cells than the header."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Lines] = []
        self.widths: set[int] = set()

    def add(self, line: int, cells: int) -> None:
        self.count += 1
        self.widths.add(cells)
        if self.count <= SHOWN:
            self.first.append((line, cells))

    def sentence(self, width: int, rows: int, delimiter: str) -> str:
        named = ", ".join(f"line {line} has {cells}" for line, cells in self.first)
        more = f", and {self.count - SHOWN} more" if self.count > SHOWN else ""
        mark = DELIMITERS.get(delimiter, repr(delimiter))
        hint = f"cells with {mark} or line ends in them need quotes"
        if self.count == rows > 1 and width == 1:
            hint += (
                ", or the first row is a title above the header, or another character is between "
                "cells: give it with --delimiter"
            )
        elif self.count == rows > 1 and self.widths == {width + 1}:
            hint = f"every row has one more: the header lacks the name of a column, or {hint}"
        return f"the first row has {width} cell(s), but {named}{more}: {hint}"


def _lines(numbers: list[int]) -> str:
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    verb = "has" if len(numbers) == 1 else "have"
    return f"line(s) {', '.join(map(str, numbers[:SHOWN]))}{more} {verb}"
