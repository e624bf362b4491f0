"""Commands on a study's folder: ``report``, ``errors`` and ``track``."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from clinadapt.cli.console import Column, print_table, say
from clinadapt.cli.language import asked_language
from clinadapt.cli.options import OUTPUT, OfflineOption, TableOptions
from clinadapt.cli.shared import STUDY, go_offline, read, require_finished, with_remembered
from clinadapt.core import formatting
from clinadapt.core.errors import InputError, NothingDoneError
from clinadapt.core.messages import Message, translate

if TYPE_CHECKING:
    from clinadapt.data.notes import Notes
    from clinadapt.explain.error_analysis import Mistakes, Share


def report(folder: Annotated[Path, typer.Argument(help="A study's folder.")]) -> None:
    """Write the report of a finished study again."""
    require_finished(folder)
    from clinadapt.core.folder_lock import folder_lock
    from clinadapt.report.write import write_report

    with folder_lock(folder):
        say(escape(str(write_report(folder, asked_language()))))


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
    n, path = len(mistakes.shown), escape(str(out))
    say(Message("{n} errors shown: {path} ([bold]contains patient text[/])", n=n, path=path))
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
            Message(
                "no labels were written: no configuration of this study is better than the same "
                "answer to every note, so none can doubt a label"
            )
        )
    write_csv(with_texts(found.table, notes), out)
    say(
        Message(
            "{n} labels to look at again: {path} ([bold]contains patient text[/])",
            n=len(found.table),
            path=escape(str(out)),
        )
    )


def _print_kinds(mistakes: "Mistakes") -> None:
    """Print the frequency of each kind among misclassified and correctly classified notes."""
    units = mistakes.study.unit.many
    print_table(
        Message(
            "{wrong} of {n} test {units} misclassified",
            wrong=mistakes.wrong,
            n=mistakes.wrong + mistakes.right,
            units=units,
        ),
        [
            Column(Message("kind"), folds=True),
            Column(Message("among wrong {units} [95 %]", units=units), number=True),
            Column(Message("among right {units} [95 %]", units=units), number=True),
        ],
        [[kind, *map(_share, shares)] for kind, shares in mistakes.shares.items()],
    )


def _share(share: "Share | None") -> str:
    if share is None:
        return formatting.MISSING
    return translate(
        "{n} of {all}, {share:.0%} [{low:.0%}, {high:.0%}]",
        n=share.count,
        all=share.of,
        share=share.count / share.of,
        low=share.low,
        high=share.high,
    )


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
        raise InputError(
            Message("{folder} holds no study (no {file})", folder=str(folder), file=STUDY)
        )
    with ExitStack() as stack:
        go_offline(stack, offline)
        from clinadapt.study.mlflow_tracking import track as log_runs

        say(Message("{n} runs are in MLflow", n=log_runs(folder, store)))
