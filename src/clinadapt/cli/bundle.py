"""The command ``bundle``: the model of any configuration of a study."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from clinadapt.cli.console import print_next, say
from clinadapt.cli.options import OUTPUT, OfflineOption, TableOptions
from clinadapt.cli.shared import go_offline, read, remembered, require_finished, with_remembered
from clinadapt.core.errors import InputError
from clinadapt.core.messages import Message

if TYPE_CHECKING:
    from clinadapt.data.notes import Notes


def bundle(
    *,
    folder: Annotated[Path, typer.Argument(help="A finished study's folder.")],
    row: Annotated[
        str, typer.Option(help="Rank on the leaderboard, or name or id of a configuration.")
    ],
    table: TableOptions,
    to: Annotated[
        Path | None,
        typer.Option(help="Folder of the bundle; default: OUT/row-RANK.", rich_help_panel=OUTPUT),
    ] = None,
    offline: OfflineOption = False,
) -> None:
    """Hand over the model of any configuration of a study.

    A study keeps those of its best and of its recommended configuration. Any other one is fitted
    again, on the notes and columns of the study unless others are given.
    """
    require_finished(folder)
    with ExitStack() as stack:
        go_offline(stack, offline)
        from clinadapt.cli.progress import progress_bar
        from clinadapt.study import read_results
        from clinadapt.study.kept_bundles import find_row, write_bundle

        study = read_results.load(folder)
        chosen = find_row(study, row)
        target = to or folder / f"row-{chosen.rank}"

        def notes() -> "Notes":
            again = _read_again(folder, study.about["data"], table, row)
            say(
                Message(
                    "{name} is fitted again: its bundle was not kept.",
                    name=escape(chosen.configuration),
                )
            )
            return again

        with progress_bar() as progress:
            write_bundle(folder, study, chosen, target, notes, progress)
    say(
        Message(
            "{name}, rank {rank}: [bold]{path}[/]",
            name=escape(chosen.configuration),
            rank=chosen.rank,
            path=escape(str(target)),
        )
    )
    columns, source = remembered(folder), table.notes or Path(study.about["data"]["source"])
    if columns is not None and source.is_file():
        arguments = ["predict", str(target), str(source), "--text", columns.text]
        print_next((Message("score notes with it, here those of the study"), arguments))


def _read_again(folder: Path, data: dict[str, Any], table: TableOptions, row: str) -> "Notes":
    """Return the notes of a study: of the table given, or of the one that it read."""
    if table.notes is None and data["synthetic"]:
        from clinadapt.data.synthetic.built_in import DEMO_SIZES, built_in_notes

        is_demo = data["notes"] == DEMO_SIZES["n_notes"]
        return built_in_notes(**DEMO_SIZES) if is_demo else built_in_notes()
    source = table.notes or Path(data["source"])
    if not source.is_file():
        raise InputError(
            Message(
                "the notes of the study are not at {source} any more: name the table, `clinadapt "
                "bundle {folder} NOTES --row {row}`, with the options it was read with",
                source=str(source),
                folder=str(folder),
                row=row,
            )
        )
    columns = remembered(folder)
    again = with_remembered(replace(table, notes=source), folder)
    # Rows that the study left out are left out again.
    again = replace(again, leave_out_bad=again.leave_out_bad or bool(data["left_out_rows"]))
    return read(again, describe=() if columns is None else tuple(columns.describe))
