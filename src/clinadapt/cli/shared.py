"""What several commands do: read the notes, shut the network, open a study."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinadapt.core.errors import InputError

if TYPE_CHECKING:
    from clinadapt.data.notes import Notes
    from clinadapt.study.runner import Study


def read(
    notes: Path | None,
    text: str,
    label: list[str],
    separator: str | None,
    id: str | None,
    group: str | None,
    split: str | None,
    positive: str | None,
    encoding: str,
    leave_out_bad: bool,
    describe: tuple[str, ...] = (),
) -> "Notes":
    """The notes of a table, or the built-in ones."""
    from clinadapt.data.columns import Columns
    from clinadapt.data.notes import read_notes

    if notes is None:
        from clinadapt.data.notes import built_in_notes

        if describe:
            named = ", ".join(describe)
            raise InputError(f"the built-in notes have no column to describe them by ({named})")
        say("No notes given: using the built-in [bold]synthetic[/] notes.")
        return built_in_notes()
    columns = Columns(text, tuple(label), separator, id, group, split, positive, describe)
    return read_notes(notes, columns, encoding=encoding, leave_out_bad=leave_out_bad)


def given(**values: Any) -> dict[str, Any]:
    """What was given on the command line."""
    return {name: value for name, value in values.items() if value not in (None, [])}


def open_study(
    table: "Notes",
    design: str,
    out: Path,
    encoders: list[str] | None,
    overrides: dict[str, Any],
    cache: Path | None,
    memory: str | None,
    hours: float | None,
    sites: str | None = None,
    energy: str | None = None,
) -> "Study":
    """A study as the command line asks for it."""
    from clinadapt.core.formatting import parse_bytes
    from clinadapt.study.runner import Study

    limit = None if memory is None else parse_bytes(memory)
    return Study(table, design, out, encoders or (), overrides, cache, limit, hours, sites, energy)


def go_offline(stack: ExitStack, offline: bool, but: Iterable[str] = ()) -> None:
    """Shut the network, but for some hosts, until the stack is left, if that is asked for."""
    from clinadapt.features.encoders.catalog import is_offline

    if offline or is_offline():
        from clinadapt.core.network_guard import no_network

        stack.enter_context(no_network(but))


def say(text: str) -> None:
    """Print a line."""
    from rich.console import Console

    Console().print(text)
