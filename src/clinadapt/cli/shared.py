"""Steps shared by several commands: read notes, open a study, go offline, refuse early."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clinadapt.cli.console import say
from clinadapt.cli.options import ReadingOptions, ResourceOptions, StudyOptions, TableOptions
from clinadapt.core.errors import InputError
from clinadapt.core.messages import Message, shown

if TYPE_CHECKING:
    from clinadapt.data.columns import Columns
    from clinadapt.data.notes import Notes
    from clinadapt.data.tables.table import ReadOptions
    from clinadapt.study.runner import StudyRunner

STUDY = "study.json"
# Options of a table that a study remembers for later commands.
REMEMBERED = ("text", "label", "separator", "id", "group", "split", "date", "positive")


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

        say(
            Message("No notes given, so the built-in [bold]synthetic[/] notes are used."),
            stderr=True,
        )
        return built_in_notes()
    columns = Columns(
        text=table.text or "text",
        label=tuple(label or table.label or ["label"]),
        separator=table.separator,
        id=table.id,
        group=table.group,
        split=table.split,
        date=table.date,
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


def require_finished(folder: Path) -> None:
    """Raise an error if a folder is not that of a study with results."""
    if not (folder / "leaderboard.csv").is_file():
        raise InputError(
            Message(
                "{folder} is not a finished study: it has no leaderboard.csv", folder=str(folder)
            )
        )


def remembered(folder: Path) -> "Columns | None":
    """Return the columns of the notes that a study read, from its folder or one of its bundles.

    Returns None if the folder belongs to no study, or to one of notes without a table.
    """
    from clinadapt.core.atomic_files import read_json
    from clinadapt.data.columns import Columns

    for place in (folder, folder.resolve().parent):
        columns = ((read_json(place / STUDY) or {}).get("data") or {}).get("columns")
        if columns is not None:
            return Columns(**{**columns, "label": tuple(columns["label"])})
    return None


def columns_for(notes: Path, bundle: Path, options: ReadingOptions) -> "Columns":
    """Return the columns of a study's bundle for another table, which need not have them all.

    Patient and identifier are left out if the table has no such column.
    """
    from clinadapt.data.columns import Columns
    from clinadapt.data.tables.opening import open_table

    columns = remembered(bundle) or Columns()
    if columns.id is None and columns.group is None:
        return columns  # the table need not be looked through twice
    there = open_table(
        notes, encoding=options.encoding, delimiter=options.delimiter, missing=options.missing
    ).schema
    return replace(
        columns,
        id=columns.id if columns.id in there else None,
        group=columns.group if columns.group in there else None,
    )


def with_remembered(table: TableOptions, folder: Path) -> TableOptions:
    """Return options in which a study's own columns stand where none were given."""
    columns = remembered(folder)
    if columns is None:
        return table
    known = {**vars(columns), "label": list(columns.label)}
    absent = [name for name in REMEMBERED if getattr(table, name) is None]
    return replace(table, **{name: known[name] for name in absent})


def without_remembered(table: TableOptions) -> TableOptions:
    """Return the options that a later command on the same study still needs."""
    forgotten: dict[str, Any] = dict.fromkeys(REMEMBERED)
    return replace(table, **forgotten)


def open_study(
    notes: "Notes",
    asked: StudyOptions,
    resources: ResourceOptions,
    margin: float | None = None,
    sites: str | None = None,
    energy: str | None = None,
) -> "StudyRunner":
    """Open a study with the options of the command line."""
    from clinadapt.core.formatting import parse_bytes
    from clinadapt.study.design import load_design
    from clinadapt.study.runner import StudyRunner

    overrides = {
        "max_tokens": asked.max_tokens,
        "truncation": asked.truncation,
        "seeds": asked.seed,
        "metric": asked.metric,
        "folds": int(asked.folds) if asked.folds and asked.folds.isdecimal() else asked.folds,
        "nested": asked.nested,
        "margin": margin,
        "level": asked.level,
        "group_label": asked.group_label,
        "aggregation": asked.aggregation,
        "ignore": asked.ignore and [*load_design(asked.study).ignore, *asked.ignore],
    }
    return StudyRunner(
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


def refuse_early(
    asked: StudyOptions | None = None,
    resources: ResourceOptions | None = None,
    bundles: Iterable[Path] = (),
    files: Iterable[Path] = (),
) -> None:
    """Raise for what is wrong with arguments, before anything that takes seconds to import.

    Parameters
    ----------
    asked : StudyOptions, optional
        Its study file must be valid, its metric and encoders known.
    resources : ResourceOptions, optional
        Its sizes must be sizes.
    bundles : iterable of Path
        Folders whose records must be valid.
    files : iterable of Path
        Files that must exist.

    Raises
    ------
    InputError
    """
    if resources is not None and resources.memory is not None:
        from clinadapt.core.formatting import parse_bytes

        parse_bytes(resources.memory)
    if asked is not None:
        _refuse_design(asked)
    if absent := [str(file) for file in files if not file.exists()]:
        raise InputError([Message("no such file: {file}", file=file) for file in absent])
    for bundle in bundles:
        from clinadapt.models.bundle.record import read_record

        read_record(bundle)


def _refuse_design(asked: StudyOptions) -> None:
    """Raise for an unknown study, metric or encoder."""
    from clinadapt.evaluation.metrics import PRIMARY, metric_names
    from clinadapt.features.encoders.catalog import find_local, require_plausible
    from clinadapt.study.checks.registry import require_known
    from clinadapt.study.design import load_design

    load_design(asked.study)
    require_known(asked.ignore or ())
    known = dict.fromkeys(name for task in PRIMARY for name in metric_names(task))
    if asked.metric is not None and asked.metric not in known:
        raise InputError(
            Message(
                "unknown metric {name!r}: expected one of {known}",
                name=asked.metric,
                known=list(known),
            )
        )
    for name in asked.encoder or ():
        if find_local(name) is None:
            require_plausible(name)


def go_offline(stack: ExitStack, offline: bool, but: Iterable[str] = ()) -> None:
    """Block the network, except for some hosts, until the stack is closed, if offline."""
    from clinadapt.features.encoders.catalog import is_offline

    if offline or is_offline():
        from clinadapt.core.network_guard import no_network

        stack.enter_context(no_network(but))


def tell(sentence: str) -> None:
    """Print a sentence that may quote names, as one line, on standard error."""
    from rich.markup import escape

    say(escape(shown(sentence)), stderr=True)
