"""Delimited text (CSV, TSV and the like): find its dialect, and read it in batches.

Every file is looked through before its first row is used. A file that could be read in two ways, or
in none, is refused with line numbers: no row is lost, cut or merged with another in silence.
"""

import codecs
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

import polars as pl

from clinadapt.core.errors import InputError
from clinadapt.data.tables import table
from clinadapt.data.tables.dialect import (
    DELIMITERS,
    USUAL,
    BrokenRowError,
    Dialect,
    Quotes,
    delimiter_of,
    named_in_first_line,
)
from clinadapt.data.tables.survey import SHOWN, Lines, Survey, survey
from clinadapt.data.tables.table import MISSING_WORDS, Table
from clinadapt.data.tables.text_file import TextFile, decoded


def open_delimited(
    path: Path,
    suffix: str,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    mark: bool = False,
) -> Table:
    """Open delimited text; every cell is read as text: "01" stays "01".

    Parameters
    ----------
    path : Path
    suffix : str
        Suffix that names the format: ".csv", ".tsv", ".txt", …
    encoding, delimiter
        See `clinadapt.data.tables.table.ReadOptions`.
    mark : bool
        See `clinadapt.data.tables.text_file.decoded`.

    Raises
    ------
    InputError
        The file cannot be read, or could be read in two ways; with the numbers of its lines.
    """
    usual = USUAL.get(suffix, ",")
    forced = None if delimiter is None else delimiter_of(delimiter)

    def look(text: TextFile) -> Survey:
        return _best(text, usual, forced)

    try:
        found = decoded(path, encoding, mark, look)
    except _UnreadableError as error:
        raise InputError([f"{path.name}: {problem}" for problem in error.problems]) from None
    if not found.header:
        raise InputError(f"{path} is empty: it has no header and no rows")
    names = Counter(name for name in found.header if name)

    def read(wanted: list[str]) -> Iterator[pl.DataFrame]:
        at = [found.header.index(name) for name in wanted]
        with found.text.open() as file:
            rows = (row for _, row in found.dialect.rows(file))
            next(rows)
            while some := list(islice(rows, table.ROWS_AT_ONCE)):
                if {len(row) for row in some} != {len(found.header)}:
                    raise InputError(f"{path.name} was changed while it was read")
                yield pl.DataFrame(
                    {
                        name: pl.Series([row[column] or None for row in some], dtype=pl.String)
                        for name, column in zip(wanted, at, strict=True)
                    }
                )

    return Table(
        schema=pl.Schema(dict.fromkeys(names, pl.String)),
        read=read,
        count=lambda: found.rows,
        read_as=_in_words(found.dialect, suffix, usual, found.text.encoding, encoding),
        warnings=tuple(_warnings(path, found)),
        repeated=frozenset(name for name, count in names.items() if count > 1),
        names_are_data=found.header_is_data,
        words=MISSING_WORDS,
    )


class _UnreadableError(Exception):
    """Delimited text cannot be read; `problems` say why, without the name of the file."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__()
        self.problems = problems


class _AmbiguousError(_UnreadableError):
    """Delimited text can be read in two ways."""


def _best(text: TextFile, usual: str, forced: str | None) -> Survey:
    """Return the survey of the only dialect in which the file can be read.

    Raises
    ------
    _UnreadableError
        There is none, or more than one.
    """
    with text.open() as file:
        named = named_in_first_line(file.readline())
    skipped = int(named is not None)
    if forced or named:
        delimiters = [forced or named or usual]
    else:
        delimiters = [
            each
            for each in sorted(DELIMITERS, key=lambda each: each != usual)
            if _header_width(text, each) > 1
        ] or [usual]
    found: list[Survey] = []
    problems: list[str] = []
    for delimiter in delimiters:
        try:
            found.append(_in_best_quotes(text, Dialect(delimiter, skipped=skipped)))
        except _AmbiguousError:
            raise
        except _UnreadableError as error:
            problems += error.problems if not problems else []
    if len(found) > 1:
        marks = " or ".join(DELIMITERS[each.dialect.delimiter] for each in found)
        raise _AmbiguousError(
            [f"its columns may be separated by {marks}: say by which with --delimiter"]
        )
    if not found:
        read = f" (read with {DELIMITERS.get(delimiters[0], repr(delimiters[0]))} between cells)"
        raise _UnreadableError([*problems[:-1], problems[-1] + read * (delimiters[0] != usual)])
    return found[0]


def _header_width(text: TextFile, delimiter: str) -> int:
    """Return the largest number of cells of which the first row may be; 0 if it cannot be cut."""
    widths = [0]
    for quotes in (Quotes.DOUBLED, Quotes.ESCAPED):
        with text.open() as file, suppress(BrokenRowError):
            widths += [len(row) for _, row in islice(Dialect(delimiter, quotes).rows(file), 1)]
    return max(widths)


def _in_best_quotes(text: TextFile, dialect: Dialect) -> Survey:
    """Return the survey of the only meaning of quotes with which the file can be read.

    Quotes that enclose cells and are doubled within them are the standard. Another meaning is
    tried where the standard fails, or where the file has what may be its marks.

    Raises
    ------
    _UnreadableError
        There is none, or more than one.
    """
    doubled = survey(text, dialect)
    escaped = doubled.backslashes and survey(text, replace(dialect, quotes=Quotes.ESCAPED))
    if doubled.clean and escaped and escaped.clean:
        alike = (doubled.rows, len(doubled.header)) == (escaped.rows, len(escaped.header))
        doubt = doubled.escaped_quote or doubled.escaped_end
        if at := doubt or (not alike and doubled.backslashes):
            raise _AmbiguousError(
                [
                    f"line {at}: a backslash may be content, or mark what follows it as content. "
                    f"Put cells in quotes and double the quotes within them instead"
                ]
            )
    evidence = doubled.escaped_quote or (doubled.escaped_delimiter and len(doubled.header) > 1)
    evidence = evidence and doubled.backslashes_explain
    if not doubled.clean and evidence and escaped and escaped.clean and not escaped.swallowed:
        return escaped
    # In text separated by tabs, quotes often have no meaning: as its media type has it.
    if dialect.delimiter == "\t" and (doubled.swallowed or doubled.doubtful or not doubled.clean):
        content = survey(text, replace(dialect, quotes=Quotes.NONE))
        if content.clean and (
            doubled.swallowed or not (doubled.clean or (content.opened and content.closed))
        ):
            return content
        if content.clean and doubled.clean:
            raise _AmbiguousError([f"{_cells(doubled.doubtful)}. Which is meant cannot be told"])
    if doubled.clean and doubled.swallowed:
        doubled.problems.append(
            f"{_cells(doubled.swallowed)} like the others: remove the stray quotes, or double them"
        )
    if not doubled.clean:
        raise _UnreadableError(doubled.problems)
    return doubled


def _warnings(path: Path, found: Survey) -> Iterator[str]:
    if found.doubtful:
        yield (
            f"{path.name}: {_cells(found.doubtful)}: make sure that no stray quote has merged rows"
        )


def _cells(lines: list[Lines]) -> str:
    named = ", ".join(f"{first} to {last}" for first, last in lines[:SHOWN])
    more = f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return f"lines {named}{more} are one cell in quotes, but each line could be a row"


def _in_words(dialect: Dialect, suffix: str, usual: str, encoding: str, asked: str) -> str:
    """Return how a file is read, if not in the way that its name suggests."""
    unusual = []
    if dialect.delimiter != usual or suffix not in USUAL:
        unusual.append(DELIMITERS.get(dialect.delimiter, repr(dialect.delimiter)))
    if dialect.quotes is Quotes.ESCAPED:
        unusual.append("backslashes that escape")
    if dialect.quotes is Quotes.NONE:
        unusual.append("quotes as content")
    if codecs.lookup(encoding) != codecs.lookup(asked):
        unusual.append(f"the encoding {encoding} that its byte order mark says")
    return f"delimited text with {', '.join(unusual)}" if unusual else ""
