"""Print for people and for programs: tables, messages, next steps and JSON.

Results go to standard output, progress and errors to standard error. In a terminal, a table shows
the columns that fit, the most important ones first, and never shortens a value. Elsewhere (a pipe,
a file, ``TERM=dumb``) a table is plain text: a line for each row, every column, nothing wrapped.
"""

import json
import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from clinadapt.core.messages import shown, translate

UNWRAPPED = 2**16  # characters: longer than any line
FOLDED = 26  # fewest characters of a column whose words may wrap
BROKEN_PIPE = 141  # what a shell reports for a program that SIGPIPE ended

Cell = str | Text


class QuietConsole(Console):
    """Console that ends the program quietly if whoever reads its output has stopped."""

    def on_broken_pipe(self) -> NoReturn:
        """Exit without a message: ``clinadapt check … | head`` is no mistake."""
        leave_quietly()


def leave_quietly() -> NoReturn:
    """Exit because standard output is closed."""
    # What is still buffered would raise again when Python flushes it at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(BROKEN_PIPE)


def console(stderr: bool = False) -> Console:
    """Return a console on standard output (or error), which wraps lines in a terminal only."""
    made = QuietConsole(stderr=stderr, highlight=False)
    if not made.is_terminal:
        made.width = UNWRAPPED
    return made


def is_plain(target: Console) -> bool:
    """Return whether a console is no terminal, or one that can only print lines."""
    return not target.is_terminal or target.is_dumb_terminal


def say(text: str, stderr: bool = False) -> None:
    """Print a line with rich's markup; a message, in the language of the program."""
    console(stderr).print(shown(text), soft_wrap=True)


def print_verbatim(text: str) -> None:
    """Print a text as it is, without markup or wrapping, on standard output."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        leave_quietly()


def print_json(content: Any) -> None:
    """Print a value as JSON on standard output."""
    print_verbatim(json.dumps(content, ensure_ascii=False, indent=1, default=str))


def print_next(*steps: tuple[str, Sequence[str]]) -> None:
    """Print commands that make sense now, each below what it does.

    Parameters
    ----------
    *steps : (str, sequence of str)
        What a command does, and its arguments after ``clinadapt``. They run as they stand.
    """
    target = console()
    target.print(translate("\n[bold]Next:[/]"))
    for purpose, arguments in steps:
        target.print(Text(f"  # {shown(purpose)}", style="dim"), soft_wrap=True)
        line = shlex.join(["clinadapt", *arguments])
        target.print(Text(f"  {line}"), soft_wrap=True)


@dataclass(frozen=True)
class Column:
    """Column of a printed table.

    Attributes
    ----------
    heading : str
    number : bool
        True to align it to the right.
    drop : int
        Where the terminal is too narrow, columns with the largest value are left out first; those
        with 0 are never left out.
    folds : bool
        True if its words may wrap onto further lines.
    """

    heading: str
    number: bool = False
    drop: int = 0
    folds: bool = False


def print_table(
    title: str,
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    bold: Sequence[bool] | None = None,
) -> None:
    """Print a table as wide as the terminal allows, or as plain text where there is none.

    Parameters
    ----------
    title : str
    columns : sequence of Column
    rows : sequence of (sequence of str or Text), shape [row, column]
    bold : sequence of bool, shape [row], optional
        Rows to print in bold.
    """
    target, title = console(), shown(title)
    columns = [replace(column, heading=shown(column.heading)) for column in columns]
    cells = [
        [cell if isinstance(cell, Text) else Text(shown(cell)) for cell in row] for row in rows
    ]
    if is_plain(target):
        target.print(Text(title), soft_wrap=True)
        for line in _plain(columns, cells):
            target.print(Text(line), soft_wrap=True)
        return
    kept = _fitting(columns, cells, target.width)
    if kept is None:
        target.print(Text(title, style="bold"))
        for row in cells:
            _print_stacked(target, columns, row)
        return
    table = Table(title=title, title_justify="left", box=box.ROUNDED)
    for at in kept:
        table.add_column(
            Text(columns[at].heading),
            justify="right" if columns[at].number else "left",
            no_wrap=not columns[at].folds,
            overflow="fold",
        )
    for number, row in enumerate(cells):
        style = "bold" if bold is not None and bold[number] else None
        table.add_row(*(row[at] for at in kept), style=style)
    target.print(table)
    if hidden := [column.heading for at, column in enumerate(columns) if at not in kept]:
        more = translate("a wider terminal also shows: {columns}", columns=hidden)
        target.print(Text(more, style="dim"))


def _plain(columns: Sequence[Column], cells: Sequence[Sequence[Text]]) -> list[str]:
    """Return heading and rows as lines, columns two spaces apart."""
    lines = [[Text(column.heading) for column in columns], *cells]
    widths = [max(line[at].cell_len for line in lines) for at in range(len(columns))]
    return [
        "  ".join(
            f"{' ' * (width - cell.cell_len)}{cell.plain}"
            if column.number
            else f"{cell.plain}{' ' * (width - cell.cell_len)}"
            for column, cell, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        for line in lines
    ]


def _fitting(
    columns: Sequence[Column], cells: Sequence[Sequence[Text]], width: int
) -> list[int] | None:
    """Return the columns to show, or None if even those that always stay are too wide."""
    wanted = []
    for at, column in enumerate(columns):
        values = [Text(column.heading), *(row[at] for row in cells)]
        whole = max(value.cell_len for value in values)
        longest_word = max(len(word) for value in values for word in value.plain.split() or [""])
        wanted.append(min(whole, max(FOLDED, longest_word)) if column.folds else whole)
    kept = list(range(len(columns)))
    while sum(wanted[at] + 3 for at in kept) + 1 > width:
        last = max(kept, key=lambda at: (columns[at].drop, at))
        if not columns[last].drop:
            return None
        kept.remove(last)
    return kept


def _print_stacked(target: Console, columns: Sequence[Column], row: Sequence[Text]) -> None:
    """Print a row as lines of "heading value", below its first value."""
    head, *rest = [
        (column.heading, cell) for column, cell in zip(columns, row, strict=True) if cell.plain
    ]
    target.print(Text(f"{head[0]} ").append_text(head[1]), soft_wrap=True)
    for heading, cell in rest:
        target.print(Text(f"  {heading} ", style="dim").append_text(cell), soft_wrap=True)
