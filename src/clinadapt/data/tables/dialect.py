"""Dialects of delimited text: what is between cells, and what quotes and backslashes mean."""

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from clinadapt.core.errors import InputError

DELIMITERS = {",": "','", ";": "';'", "\t": "tabs", "|": "'|'"}
NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "pipe": "|", "bar": "|"}
USUAL = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".psv": "|"}
SEP = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # first line, for Excel: names the delimiter
BLANK = {" ", "\t", "\u00a0"}

csv.field_size_limit(2**31 - 1)  # a cell may be a long note; the module's own limit is 128 KiB


class BrokenRowError(Exception):
    """The row that begins in line `line` cannot be cut into cells; perhaps a quote is `open`."""

    def __init__(self, line: int, is_open: bool) -> None:
        super().__init__(line)
        self.line, self.is_open = line, is_open


class Quotes(Enum):
    """What a quote means."""

    DOUBLED = "it encloses cells, and is doubled within them"
    ESCAPED = "it encloses cells; a backslash before it makes it content"
    NONE = "it is content"


@dataclass(frozen=True)
class Dialect:
    """How lines are cut into cells.

    Attributes
    ----------
    delimiter : str
        Character between cells.
    quotes : Quotes
    skipped : int
        Number of lines before the header that belong to no row.
    """

    delimiter: str
    quotes: Quotes = Quotes.DOUBLED
    skipped: int = 0

    def rows(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield the first line number and the cells of each row, the header's included.

        A line without anything is no row, unless rows have one cell only.

        Raises
        ------
        BrokenRowError
            Quotes do not enclose cells, or one is not closed.
        """
        lines = iter(lines)
        for _ in range(self.skipped):
            next(lines, None)
        if self.quotes is Quotes.NONE:
            settings: dict[str, Any] = {"quoting": csv.QUOTE_NONE}
        elif self.quotes is Quotes.ESCAPED:
            lines, settings = map(self._with_escaped_backslashes, lines), {"escapechar": "\\"}
        else:
            settings = {}
        width = 0

        def ended() -> Iterator[str]:
            yield from lines
            # Of a cell that ends with an escaped line end, this ends the row; else it is no row.
            if self.quotes is Quotes.ESCAPED and width != 1:
                yield "\n"

        reader = csv.reader(ended(), delimiter=self.delimiter, strict=True, **settings)
        while True:
            number = self.skipped + reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                raise BrokenRowError(number, "end of data" in str(error)) from None
            if not row or (len(row) == 1 and row[0] and set(row[0]) <= BLANK - {self.delimiter}):
                if width != 1:
                    continue
                row = row or [""]
            width = width or len(row)
            yield number, row

    def _with_escaped_backslashes(self, line: str) -> str:
        r"""Return a line in which every backslash that escapes nothing is escaped itself.

        The csv module would drop it: "C:\temp" would become "C:temp".
        """
        if "\\" not in line:
            return line
        escapes = rf'(\\["\\\r\n{re.escape(self.delimiter)}])|\\'
        return re.sub(escapes, lambda found: found[1] or "\\\\", line)


def delimiter_of(given: str) -> str:
    """Return the delimiter that is given by itself or by its name.

    Raises
    ------
    InputError
        It is neither one character nor one of the names, or cannot delimit cells.
    """
    delimiter = NAMES.get(given.lower(), given)
    if len(delimiter) != 1 or delimiter in '"\\\r\n':
        raise InputError(
            f"--delimiter takes one character, or one of {', '.join(NAMES)}; "
            f"got {len(given)} character(s)"
            + (" that cannot delimit cells" if delimiter == given and len(given) == 1 else "")
        )
    return delimiter


def named_in_first_line(line: str) -> str | None:
    """Return the delimiter that a first line such as "sep=;" names."""
    found = SEP.fullmatch(line)
    return found[1] if found else None
