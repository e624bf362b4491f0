"""Steps shared by several commands: read notes, open a study, go offline, print."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from clinadapt.cli.options import ReadingOptions, ResourceOptions, StudyOptions, TableOptions
from clinadapt.core.errors import InputError

if TYPE_CHECKING:
    from clinadapt.data.notes import Notes
    from clinadapt.data.tables.table import ReadOptions
    from clinadapt.study.runner import Study


def read(
    table: TableOptions, label: Sequence[str] | None = None, describe: tuple[str, ...] = ()
) -> "Notes":
    """Read the notes of a table, or the built-in ones if none is given.

    Parameters
    ----------
    table : TableOptions
    label : sequence of str, optional
        Columns of the label, instead of those in `table`.
    describe : tuple of str
        Columns by which scores are broken down.
    """
    from clinadapt.data.columns import Columns
    from clinadapt.data.notes import read_notes

    if table.notes is None:
        from clinadapt.data.synthetic.built_in import built_in_notes

        if describe:
            named = ", ".join(describe)
            raise InputError(f"the built-in notes have no such column to describe them: {named}")
        say("No notes given, so the built-in [bold]synthetic[/] notes are used.")
        return built_in_notes()
    columns = Columns(
        text=table.text,
        label=tuple(table.label if label is None else label),
        separator=table.separator,
        id=table.id,
        group=table.group,
        split=table.split,
        positive=table.positive,
        describe=describe,
    )
    return read_notes(table.notes, columns, leave_out_bad=table.leave_out_bad, **reading(table))


def reading(options: TableOptions | ReadingOptions) -> "ReadOptions":
    """Return how tables are to be read; it is printed where it is not the usual way."""
    return {
        "encoding": options.encoding,
        "delimiter": options.delimiter,
        "missing": options.missing,
        "tell": tell,
    }


def open_study(
    notes: "Notes",
    asked: StudyOptions,
    resources: ResourceOptions,
    margin: float | None = None,
    sites: str | None = None,
    energy: str | None = None,
) -> "Study":
    """Open a study with the options of the command line."""
    from clinadapt.core.formatting import parse_bytes
    from clinadapt.study.runner import Study

    overrides = {
        "max_tokens": asked.max_tokens,
        "truncation": asked.truncation,
        "seeds": asked.seed,
        "metric": asked.metric,
        "margin": margin,
    }
    return Study(
        notes,
        asked.study,
        asked.out,
        asked.encoder or (),
        {name: value for name, value in overrides.items() if value not in (None, [])},
        resources.cache,
        None if resources.memory is None else parse_bytes(resources.memory),
        resources.hours,
        sites,
        energy,
    )


def go_offline(stack: ExitStack, offline: bool, but: Iterable[str] = ()) -> None:
    """Block the network, except for some hosts, until the stack is closed, if offline."""
    from clinadapt.features.encoders.catalog import is_offline

    if offline or is_offline():
        from clinadapt.core.network_guard import no_network

        stack.enter_context(no_network(but))


def say(text: str) -> None:
    """Print a line."""
    from rich.console import Console

    Console().print(text)


def tell(sentence: str) -> None:
    """Print a sentence that may quote names, as one line."""
    from rich.console import Console

    Console().print(sentence, markup=False, soft_wrap=True)
