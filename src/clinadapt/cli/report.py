"""Commands on a study's folder: ``report``, ``errors`` and ``track``."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from clinadapt.cli.console import Column, print_table, say
from clinadapt.cli.options import OUTPUT, OfflineOption, TableOptions
from clinadapt.cli.shared import STUDY, go_offline, read, require_finished, with_remembered
from clinadapt.core import formatting
from clinadapt.core.errors import InputError, NothingDoneError

if TYPE_CHECKING:
    from clinadapt.data.notes import Notes
    from clinadapt.explain.error_analysis import Mistakes, Share


def report(folder: Annotated[Path, typer.Argument(help="A study's folder.")]) -> None:
    """Write the report of a finished study again."""
    require_finished(folder)
    from clinadapt.core.folder_lock import folder_lock
    from clinadapt.report.write import write_report

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
    out: Annotated[
        Path,
        typer.Option(help="HTML file. It will contain patient text.", rich_help_panel=OUTPUT),
    ] = Path("errors.html"),
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Also write the labels to look at again (check CLA101) to this CSV file, with "
            "patient text.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
) -> None:
    """Show the most confident errors of a study and their kinds. Writes patient text.

    The columns are those of the study, unless given.
    """
    from clinadapt.core.output_guard import Output, check_outputs, csv_with, is_page
    from clinadapt.study.checks.label_noise import COLUMNS

    require_finished(folder)
    outputs = [Output(out, "--out", is_page)]
    if labels is not None:
        outputs.append(Output(labels, "--labels", csv_with(*COLUMNS, "text")))
    check_outputs(outputs, [table.notes])
    notes = read(with_remembered(table, folder))
    with ExitStack() as stack:
        go_offline(stack, True)
        from clinadapt.cli.progress import progress_bar
        from clinadapt.explain.explanation_files import write_mistakes

        with progress_bar() as progress:
            mistakes = write_mistakes(folder, notes, out, limit, sample, progress)
        _print_kinds(mistakes)
    say(f"{len(mistakes.shown)} errors shown: {escape(str(out))} ([bold]contains patient text[/])")
    if labels is not None:
        _write_doubted(folder, notes, labels)


def _write_doubted(folder: Path, notes: "Notes", out: Path) -> None:
    """Write the labels to look at again, with the texts of their notes."""
    from clinadapt.core.atomic_files import write_csv
    from clinadapt.study.checks.label_noise import doubted_labels, with_texts
    from clinadapt.study.read_results import load

    found = doubted_labels(load(folder))
    if found is None:
        raise NothingDoneError(
            "no labels were written: no configuration of this study is better than the same "
            "answer to every note, so none can doubt a label"
        )
    write_csv(with_texts(found.table, notes), out)
    say(
        f"{len(found.table)} labels to look at again: {escape(str(out))} "
        "([bold]contains patient text[/])"
    )


def _print_kinds(mistakes: "Mistakes") -> None:
    """Print the frequency of each kind among misclassified and correctly classified notes."""
    unit = mistakes.study.unit.many
    print_table(
        f"{mistakes.wrong} of {mistakes.wrong + mistakes.right} test {unit} misclassified",
        [
            Column("kind", folds=True),
            Column(f"among wrong {unit} [95 %]", number=True),
            Column(f"among right {unit} [95 %]", number=True),
        ],
        [[kind, *map(_share, shares)] for kind, shares in mistakes.shares.items()],
    )


def _share(share: "Share | None") -> str:
    if share is None:
        return formatting.MISSING
    percent = f"{share.count / share.of:.0%} [{share.low:.0%}, {share.high:.0%}]"
    return f"{share.count} of {share.of}, {percent}"


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
    if not (folder / STUDY).is_file():
        raise InputError(f"{folder} holds no study (no {STUDY})")
    with ExitStack() as stack:
        go_offline(stack, offline)
        from clinadapt.study.mlflow_tracking import track as log_runs

        say(f"{log_runs(folder, store)} runs are in MLflow")
