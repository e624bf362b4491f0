"""Commands that use a bundle: ``predict`` and ``explain``."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from clinadapt.cli.options import EncodingOption, IdOption, TextOption
from clinadapt.cli.shared import go_offline, say
from clinadapt.core.errors import NothingDoneError


def predict(
    bundles_and_notes: Annotated[
        list[str],
        typer.Argument(
            metavar="BUNDLE... [NOTES]...",
            help="Bundles, such as OUT/best or NAME=FOLDER; then files, folders or patterns of "
            "notes: CSV, TSV, JSONL or Parquet, or NDJSON and JSON with --fhir.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Parquet or CSV file of the predictions.")] = Path(
        "predictions.parquet"
    ),
    text: Annotated[
        str | None,
        typer.Option(help="Column of the text; default: text, in a database OMOP's note_text."),
    ] = None,
    id: Annotated[
        str | None,
        typer.Option("--id", help="Column of the identifier; default in a database: note_id."),
    ] = None,
    encoding: EncodingOption = "utf-8",
    fhir: Annotated[
        bool,
        typer.Option(
            "--fhir",
            help="Read files of FHIR DocumentReference and DiagnosticReport resources.",
        ),
    ] = False,
    convert: Annotated[
        bool,
        typer.Option("--convert", help="With --fhir: turn HTML and RTF into text."),
    ] = False,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="CLINADAPT_DATABASE",
            help="SQLite or PostgreSQL database to read notes from. A password is safer in the "
            "environment variable or in --database-file.",
        ),
    ] = None,
    database_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File that contains the database URL.")
    ] = None,
    table: Annotated[str, typer.Option(help="Table of the database with the notes.")] = "note",
    into: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help="Table of the database to write to: note_nlp, or one to be created.",
        ),
    ] = None,
    meds: Annotated[bool, typer.Option("--meds", help="Write MEDS predictions.")] = False,
    subject: Annotated[str | None, typer.Option(help="Column of the subject, for MEDS.")] = None,
    time: Annotated[str | None, typer.Option(help="Column of the time, for MEDS.")] = None,
    aside: Annotated[
        Path | None,
        typer.Option(help="CSV file of the notes that could not be scored, with reasons."),
    ] = None,
    anew: Annotated[
        bool,
        typer.Option(
            "--anew", help="Start again, discarding an unfinished run with other settings."
        ),
    ] = False,
) -> None:
    """Score stored notes with bundles, each once; if interrupted, run it again to resume.

    Several bundles read each note in one pass of the frozen layers that they share. No network is
    used except for the given database.
    """
    with ExitStack() as stack:
        from clinadapt.cli.display import progress_bar
        from clinadapt.deployment.scoring.job import Prediction, bundles_first

        bundle, notes = bundles_first(bundles_and_notes)
        prediction = Prediction(
            bundle=bundle,
            notes=notes,
            out=out,
            text=text,
            id=id,
            encoding=encoding,
            fhir=fhir,
            convert=convert,
            database=database,
            database_file=database_file,
            table=table,
            into=into,
            meds=meds,
            subject=subject,
            time=time,
            aside=aside,
            anew=anew,
        )
        go_offline(stack, True, prediction.hosts)
        with progress_bar() as progress:
            state = prediction.run(progress)
    where = escape(str(out) if into is None else f"table {into}")
    say(f"{state.read:,} notes read: {state.scored:,} notes classified, {state.aside:,} set aside")
    say(f"scores: {where}")
    if state.aside:
        say(f"[yellow]notes set aside[/], with reasons: {escape(str(prediction.aside_path))}")
    if not state.scored:
        raise NothingDoneError(
            f"no note was classified: {prediction.aside_path} says why"
            if state.aside
            else "no note was classified, because none was found"
        )


def explain(
    bundle: Annotated[Path, typer.Argument(help="A bundle, such as OUT/best.")],
    notes: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL or Parquet.")],
    text: TextOption = "text",
    id: IdOption = None,
    encoding: EncodingOption = "utf-8",
    limit: Annotated[
        int,
        typer.Option("--limit", "--rows", min=1, help="Most notes to explain, from the first on."),
    ] = 20,
    target: Annotated[
        str | None,
        typer.Option("--class", help="Class to explain; default: each note's predicted class."),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="HTML, JSONL or Parquet file. It will contain patient text.")
    ] = Path("explanations.html"),
    faithfulness: Annotated[
        bool,
        typer.Option(
            "--faithfulness",
            help="Measure the effect of deleting the strongest words, compared with random ones.",
        ),
    ] = False,
) -> None:
    """Show which words influenced a bundle's predictions. Writes patient text."""
    with ExitStack() as stack:
        go_offline(stack, True)
        from clinadapt.cli.display import print_faithfulness, progress_bar
        from clinadapt.explain.explanation_files import explain_table

        with progress_bar() as progress:
            count, measured = explain_table(
                bundle, notes, out, text, id, encoding, limit, target, faithfulness, progress
            )
    if measured is not None:
        print_faithfulness(measured)
    say(f"{count} notes explained: {escape(str(out))} ([bold]contains patient text[/])")
