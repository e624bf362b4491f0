"""``clinadapt suggest``."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from clinadapt.cli.console import print_json, print_next, say
from clinadapt.cli.options import (
    LIMITS,
    OUTPUT,
    TABLE,
    GroupOption,
    IdOption,
    JsonOption,
    ReadingOptions,
    StudyTextOption,
)
from clinadapt.cli.shared import columns_for, go_offline, reading, refuse_early
from clinadapt.core.messages import Message, translate

if TYPE_CHECKING:
    from clinadapt.deployment.suggest.suggest import Suggestions


def suggest(
    *,
    folder: Annotated[Path, typer.Argument(metavar="OUT", help="A study's folder, or a bundle.")],
    unlabelled: Annotated[
        Path, typer.Argument(help="Notes without labels: CSV, TSV, JSON, Parquet or Excel.")
    ],
    n: Annotated[int, typer.Option("--n", min=1, help="Notes to suggest.")] = 100,
    labelled: Annotated[
        Path | None,
        typer.Option(
            help="Table of the notes that are labelled already, which are left out; default: the "
            "study's.",
            rich_help_panel=TABLE,
        ),
    ] = None,
    text: StudyTextOption = None,
    id: IdOption = None,
    group: GroupOption = None,
    table_format: ReadingOptions,
    per_patient: Annotated[
        int, typer.Option(min=1, help="Most notes of a patient, labelled ones included.")
    ] = 1,
    limit: Annotated[
        int,
        typer.Option(
            min=1,
            help="Most notes to look at, spread evenly over the table.",
            rich_help_panel=LIMITS,
        ),
    ] = 10_000,
    seed: Annotated[int, typer.Option(help="Seed of the draw.")] = 0,
    out: Annotated[
        Path, typer.Option(help="CSV file of the notes to label.", rich_help_panel=OUTPUT)
    ] = Path("to-label.csv"),
    with_text: Annotated[
        bool,
        typer.Option(
            "--with-text",
            help="Add the texts to the file. It will contain patient text.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """List the unlabelled notes whose labels would help a study's model most."""
    from clinadapt.models.bundle.record import find_bundle

    bundle = find_bundle(folder)
    refuse_early(bundles=[bundle], files=[unlabelled, *([labelled] if labelled else [])])
    columns = columns_for(unlabelled, bundle, table_format)
    text, id, group = text or columns.text, id or columns.id, group or columns.group
    with ExitStack() as stack:
        go_offline(stack, True)
        from clinadapt.cli.progress import progress_bar
        from clinadapt.deployment.suggest.suggest import check_suggestions
        from clinadapt.deployment.suggest.suggest import suggest as find

        check_suggestions(out, [unlabelled, bundle, labelled])
        with progress_bar(translate("loading the model…")) as progress:
            found = find(
                folder, unlabelled, n, labelled=labelled, text=text, id=id, group=group,
                per_patient=per_patient, most=limit, with_text=with_text, seed=seed,
                progress=progress, **reading(table_format),
            )  # fmt: skip
        found.write(out)
    if json:
        return print_json({**found.to_json(), "list": str(out)})
    _print(found, n, per_patient)
    path = escape(str(out))
    if with_text:
        say(
            Message(
                "to label, in this order: [bold]{path}[/] ([bold]contains patient text[/])",
                path=path,
            )
        )
    else:
        say(Message("to label, in this order: [bold]{path}[/]", path=path))
    print_next((Message("label them and run the study again: the steps"), ["docs", "label-next"]))


def _print(found: "Suggestions", n: int, per_patient: int) -> None:
    """Print what was read, left out and suggested."""
    left_out, suggested = found.left_out, len(found.table)
    say(Message("notes read: {n:,}", n=found.read))
    for count, sentence in (
        (left_out.labelled, Message("left out, labelled already: {n:,}", n=left_out.labelled)),
        (
            left_out.near_labelled,
            Message(
                "left out, nearly the same as a labelled note: {n:,}", n=left_out.near_labelled
            ),
        ),
        (
            left_out.repeated,
            Message("left out, same text as an earlier row: {n:,}", n=left_out.repeated),
        ),
        (
            left_out.of_labelled_patient,
            Message(
                "left out, patient has labelled notes (--per-patient allows more): {n:,}",
                n=left_out.of_labelled_patient,
            ),
        ),
        (
            left_out.unreadable,
            Message(
                "left out, nothing in them that the model can read: {n:,}", n=left_out.unreadable
            ),
        ),
        (
            left_out.not_looked_at,
            Message("not looked at (--limit looks at more): {n:,}", n=left_out.not_looked_at),
        ),
    ):
        if count:
            say(sentence)
    if not found.labelled_known:
        say(
            Message(
                "[yellow]warning[/] notes that are labelled already could not be left out: name "
                "their table with --labelled"
            )
        )
    if found.patients is None:
        say(
            Message(
                "[yellow]warning[/] no column of the patient is known, so that many notes may be "
                "of one patient: name it with --group"
            )
        )
    say(Message("notes suggested: [bold]{n:,}[/]", n=suggested))
    if suggested < n:
        say(
            Message(
                "[yellow]warning[/] {n:,} were asked for, but there are no more notes with at most "
                "{most} of a patient: --per-patient allows more of each",
                n=n,
                most=per_patient,
            )
            if found.patients is not None
            else Message(
                "[yellow]warning[/] {n:,} were asked for, but there are no more notes", n=n
            )
        )
