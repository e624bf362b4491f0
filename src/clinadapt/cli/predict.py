"""Commands on a bundle: ``predict`` and ``explain``."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from clinadapt.cli.options import EncodingOption, IdOption, TextOption
from clinadapt.cli.shared import go_offline, say


def predict(
    bundles_and_notes: Annotated[
        list[str],
        typer.Argument(
            metavar="BUNDLE... [NOTES]...",
            help="Bundles, such as OUT/best or NAME=FOLDER; then files, folders or patterns: CSV, "
            "TSV, JSONL, Parquet, or --fhir.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Parquet or CSV file.")] = Path("predictions.parquet"),
    text: Annotated[
        str | None, typer.Option(help="Column of the text; default text, or OMOP's note_text.")
    ] = None,
    id: Annotated[
        str | None,
        typer.Option("--id", help="Column of the identifier; in a database note_id."),
    ] = None,
    encoding: EncodingOption = "utf-8",
    fhir: Annotated[
        bool, typer.Option("--fhir", help="The files are NDJSON of DocumentReference resources.")
    ] = False,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="CLINADAPT_DATABASE",
            help="SQLite or PostgreSQL. A password is safer in the variable or in a file.",
        ),
    ] = None,
    database_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file that holds the URL.")
    ] = None,
    table: Annotated[str, typer.Option(help="Of the database, holding notes.")] = "note",
    into: Annotated[
        str | None,
        typer.Option(metavar="TABLE", help="Of the database: note_nlp, or one that is made."),
    ] = None,
    meds: Annotated[bool, typer.Option("--meds", help="Write MEDS predictions.")] = False,
    subject: Annotated[str | None, typer.Option(help="Column of the subject, for MEDS.")] = None,
    time: Annotated[str | None, typer.Option(help="Column of the time, for MEDS.")] = None,
    aside: Annotated[
        Path | None, typer.Option(help="CSV of the notes that could not be scored, and why.")
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Give up an unfinished run that differs.")
    ] = False,
) -> None:
    """Score stored notes with bundles, each once; killed, the same command goes on.

    Several bundles read each note in one pass of the frozen layers that they share. Offline, but
    for a database that is named.
    """
    with ExitStack() as stack:
        from clinadapt.cli.display import progress_bar
        from clinadapt.deployment.scoring.job import Prediction, bundles_first

        bundle, notes = bundles_first(bundles_and_notes)
        asked = Prediction(
            bundle=bundle,
            notes=notes,
            out=out,
            text=text,
            id=id,
            encoding=encoding,
            fhir=fhir,
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
        go_offline(stack, True, asked.hosts)
        with progress_bar() as progress:
            state = asked.run(progress)
    where = escape(str(out) if into is None else f"table {into}")
    say(f"{state.read:,} notes read: {state.scored:,} notes classified, {state.aside:,} set aside")
    say(f"scores: {where}")
    if state.aside:
        say(f"[yellow]set aside[/], and why: {escape(str(asked.aside_path))}")


def explain(
    bundle: Annotated[Path, typer.Argument(help="A bundle, such as OUT/best.")],
    notes: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL or Parquet.")],
    text: TextOption = "text",
    id: IdOption = None,
    encoding: EncodingOption = "utf-8",
    limit: Annotated[
        int, typer.Option("--limit", "--rows", min=1, help="Notes explained, from the first on.")
    ] = 20,
    target: Annotated[
        str | None, typer.Option("--class", help="Explained class; default: what is predicted.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="HTML, JSONL or Parquet file. It will contain patient text.")
    ] = Path("explanations.html"),
    faithfulness: Annotated[
        bool, typer.Option("--faithfulness", help="Delete the strongest words and see.")
    ] = False,
) -> None:
    """Say which words of notes moved a bundle's model. Writes patient text."""
    with ExitStack() as stack:
        go_offline(stack, True)
        from clinadapt.cli.display import print_faithfulness, progress_bar
        from clinadapt.explain.explanation_files import explain_table

        with progress_bar() as progress:
            count, found = explain_table(
                bundle, notes, out, text, id, encoding, limit, target, faithfulness, progress
            )
    if found is not None:
        print_faithfulness(found)
    say(f"{count} notes explained: {escape(str(out))} ([bold]contains patient text[/])")
