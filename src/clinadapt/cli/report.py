"""Commands on a study's folder: ``report``, ``errors`` and ``track``."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from clinadapt.cli.options import OfflineOption, TableOptions
from clinadapt.cli.shared import go_offline, read, say
from clinadapt.core.errors import InputError


def report(folder: Annotated[Path, typer.Argument(help="A study's folder.")]) -> None:
    """Write the report of a finished study again."""
    from clinadapt.core.folder_lock import folder_lock
    from clinadapt.report.write import write_report

    if not (folder / "leaderboard.csv").is_file():
        raise InputError(f"{folder} is not a finished study: it has no leaderboard.csv")
    with folder_lock(folder):
        say(escape(str(write_report(folder))))


def errors(
    folder: Annotated[Path, typer.Argument(help="A finished study's folder.")],
    table: TableOptions,
    limit: Annotated[
        int, typer.Option(min=1, help="Most errors to show, most confident first.")
    ] = 50,
    sample: Annotated[
        int, typer.Option(min=1, help="Most notes in which kinds of error are counted.")
    ] = 200,
    out: Annotated[Path, typer.Option(help="HTML file. It will contain patient text.")] = Path(
        "errors.html"
    ),
) -> None:
    """Show the most confident errors of a study and their kinds. Writes patient text."""
    from clinadapt.core.output_guard import Output, check_outputs, is_page

    check_outputs([Output(out, "--out", is_page)], [table.notes])
    notes = read(table)
    with ExitStack() as stack:
        go_offline(stack, True)
        from clinadapt.cli.display import print_kinds, progress_bar
        from clinadapt.explain.explanation_files import write_mistakes

        with progress_bar() as progress:
            mistakes = write_mistakes(folder, notes, out, limit, sample, progress)
        print_kinds(mistakes)
    say(f"{len(mistakes.shown)} errors shown: {escape(str(out))} ([bold]contains patient text[/])")


def track(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    store: Annotated[
        str,
        typer.Option(
            help="MLflow store: local (OUT/mlflow.db), sqlite:///FILE or a server's http address."
        ),
    ] = "local",
    offline: OfflineOption = False,
) -> None:
    """Log the runs of a study to MLflow, except those already there."""
    with ExitStack() as stack:
        go_offline(stack, offline)
        from clinadapt.study.mlflow_tracking import track as log_runs

        say(f"{log_runs(folder, store)} runs are in MLflow")
