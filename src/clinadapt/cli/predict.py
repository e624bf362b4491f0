"""Commands that use a bundle: ``predict`` and ``explain``."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.markup import escape

from clinadapt.cli.abstaining import AbstainOptions, promise_of
from clinadapt.cli.console import Column, print_json, print_next, print_table, say
from clinadapt.cli.options import (
    OUTPUT,
    TABLE,
    IdOption,
    JsonOption,
    ReadingOptions,
    ScaleOption,
    StudyTextOption,
    ThresholdOption,
    as_arguments,
)
from clinadapt.cli.shared import columns_for, go_offline, reading, refuse_early, tell
from clinadapt.core.errors import NothingDoneError
from clinadapt.core.messages import Message, translate

if TYPE_CHECKING:
    from clinadapt.data.levels import Unit
    from clinadapt.deployment.scoring.interfaces import State
    from clinadapt.deployment.scoring.job import Prediction
    from clinadapt.evaluation.calibration_maps import Scale
    from clinadapt.explain.faithfulness import Faithfulness

DATABASE, MEDS = "Database", "MEDS"
LEAST_FOR_DRIFT = 30  # notes
SHOWN_CLASSES = 10
SCALES = {"raw": Message("raw"), "calibrated": Message("calibrated")}


def predict(
    *,
    bundles_and_notes: Annotated[
        list[str],
        typer.Argument(
            metavar="BUNDLE... [NOTES]...",
            help="Bundles, such as OUT/best or NAME=FOLDER; then files, folders or patterns of "
            "notes: CSV, TSV, JSON, Parquet or Excel, or NDJSON and JSON with --fhir.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(help="Parquet or CSV file of the predictions.", rich_help_panel=OUTPUT)
    ] = Path("predictions.parquet"),
    text: Annotated[
        str | None,
        typer.Option(
            help="Column of the text; default: text, in a database OMOP's note_text.",
            rich_help_panel=TABLE,
        ),
    ] = None,
    id: Annotated[
        str | None,
        typer.Option(
            "--id",
            help="Column of the identifier; default in a database: note_id.",
            rich_help_panel=TABLE,
        ),
    ] = None,
    table_format: ReadingOptions,
    fhir: Annotated[
        bool,
        typer.Option(
            "--fhir",
            help="Read files of FHIR DocumentReference and DiagnosticReport resources.",
            rich_help_panel=TABLE,
        ),
    ] = False,
    convert: Annotated[
        bool,
        typer.Option(
            "--convert",
            help="With --fhir: turn HTML and RTF into text.",
            rich_help_panel=TABLE,
        ),
    ] = False,
    database: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            envvar="CLINADAPT_DATABASE",
            help="SQLite or PostgreSQL database to read notes from. A password is safer in the "
            "environment variable or in --database-file.",
            rich_help_panel=DATABASE,
        ),
    ] = None,
    database_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File that contains the database URL.",
            rich_help_panel=DATABASE,
        ),
    ] = None,
    table: Annotated[
        str,
        typer.Option(help="Table of the database with the notes.", rich_help_panel=DATABASE),
    ] = "note",
    into: Annotated[
        str | None,
        typer.Option(
            metavar="TABLE",
            help="Table of the database to write to: note_nlp, or one to be created.",
            rich_help_panel=DATABASE,
        ),
    ] = None,
    meds: Annotated[
        bool, typer.Option("--meds", help="Write MEDS predictions.", rich_help_panel=MEDS)
    ] = False,
    subject: Annotated[
        str | None, typer.Option(help="Column of the subject, for MEDS.", rich_help_panel=MEDS)
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Column of the time, for MEDS.", rich_help_panel=MEDS)
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            help="Column of the patient, for a bundle that classifies patients.",
            rich_help_panel=TABLE,
        ),
    ] = None,
    aside: Annotated[
        Path | None,
        typer.Option(
            help="CSV file of the notes that could not be scored, with reasons.",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    probabilities: ScaleOption = None,
    threshold: ThresholdOption = None,
    anew: Annotated[
        bool,
        typer.Option(
            "--anew",
            help="Start again, discarding an unfinished run with other settings.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    abstaining: AbstainOptions,
    json: JsonOption = False,
) -> None:
    """Score stored notes with bundles, each once; if interrupted, run it again to resume.

    Several bundles read each note in one pass of the frozen layers that they share. No network is
    used except for the given database.
    """
    with ExitStack() as stack:
        from clinadapt.cli.progress import progress_bar
        from clinadapt.data.levels import NOTES, PATIENTS
        from clinadapt.deployment.scoring.job import Prediction, bundles_first
        from clinadapt.models.bundle.integrity import REFERENCE

        bundle, notes = bundles_first(bundles_and_notes)
        prediction = Prediction(
            bundle=bundle,
            notes=notes,
            out=out,
            text=text,
            id=id,
            encoding=table_format.encoding,
            delimiter=table_format.delimiter,
            missing=table_format.missing,
            fhir=fhir,
            convert=convert,
            database=database,
            database_file=database_file,
            table=table,
            into=into,
            meds=meds,
            subject=subject,
            time=time,
            group=group,
            aside=aside,
            anew=anew,
            scale=cast("Scale | None", probabilities),
            threshold=threshold or (),
            promise=promise_of(abstaining),
        )
        go_offline(stack, True, prediction.hosts)
        with progress_bar(translate("loading the model…")) as progress:
            state = prediction.run(progress, tell)
    if json:
        print_json(_summary(prediction, state))
        return _refuse_nothing(prediction, state)
    unit = PATIENTS if prediction.of_patients else NOTES
    if unit is PATIENTS:
        say(
            Message(
                "{scored:,} patients classified; {aside:,} notes or patients set aside",
                scored=state.scored,
                aside=state.aside,
            )
        )
    else:
        say(
            Message(
                "{read:,} notes read: {scored:,} notes classified, {aside:,} set aside",
                read=state.read,
                scored=state.scored,
                aside=state.aside,
            )
        )
    if prediction.promise is not None:
        _print_left(state, unit)
    if into is None:
        say(Message("scores: {path}", path=escape(str(out))))
    else:
        say(Message("scores: table {name}", name=escape(into)))
    _print_predicted(prediction, state, unit)
    if state.aside:
        path = escape(str(prediction.aside_path))
        say(Message("[yellow]notes set aside[/], with reasons: {path}", path=path))
    _refuse_nothing(prediction, state)
    measured = [
        str(folder) for folder in prediction.bundles.values() if (folder / REFERENCE).is_file()
    ]
    if measured and len(notes) == 1 and Path(notes[0]).is_file() and not fhir:
        read_so = [*(["--text", text] if text else []), *(["--group", group] if group else [])]
        read_so += as_arguments(table_format)
        if state.read >= LEAST_FOR_DRIFT:
            print_next(
                *(
                    (
                        Message("have the notes changed since training?"),
                        ["drift", bundle, *notes, *read_so],
                    )
                    for bundle in measured
                )
            )


def _print_left(state: "State", unit: "Unit") -> None:
    """Print how much of what is classified is left to a person."""
    say(
        Message(
            "{left:,} of the classified {units} are left to a person (column decision)",
            left=state.left,
            units=unit.many,
        )
    )
    if state.left == state.scored:
        say(
            Message(
                "No answer keeps the promise: a larger --risk may, or a bundle from more patients."
            )
        )


def _summary(prediction: "Prediction", state: "State") -> dict[str, object]:
    return {
        "read": state.read,
        "scored": state.scored,
        "set_aside": state.aside,
        "left_to_person": None if prediction.promise is None else state.left,
        "scores": prediction.out if prediction.into is None else None,
        "table": prediction.into,
        "aside": prediction.aside_path if state.aside else None,
        "tasks": {
            task: {
                "probabilities": rule.scale,
                "threshold": rule.threshold,
                "own_threshold": rule.own_threshold,
                "predicted": state.predicted.get(task, {}),
            }
            for task, rule in prediction.rules.items()
        },
    }


def _print_predicted(prediction: "Prediction", state: "State", unit: "Unit") -> None:
    """Print how often each class was predicted, from which probability on."""
    from clinadapt.data.positive_class import shown_name

    for task, rule in prediction.rules.items():
        counts = Counter(state.predicted.get(task, {})).most_common()
        many = len(prediction.rules) > 1
        task = escape(task)
        classes = [
            Message("{name} {n:,}", name=escape(shown_name(name)), n=n)
            for name, n in counts[:SHOWN_CLASSES]
        ]
        predicted = Message("predicted: {classes}", classes=classes)
        if (more := len(counts) - SHOWN_CLASSES) > 0:
            predicted = Message("predicted: {classes} and {more} more", classes=classes, more=more)
        say(Message("{task}: {text}", task=task, text=predicted) if many else predicted)
        if rule.threshold is None:
            continue
        said = {"value": rule.threshold, "own": rule.own_threshold, "scale": SCALES[rule.scale]}
        if rule.threshold == rule.own_threshold:
            threshold = Message(
                "threshold: {value:.3g}, chosen on validation {units} ({scale} probabilities)",
                units=unit.many,
                **said,
            )
        else:
            threshold = Message(
                "threshold: {value:.3g}, as given, instead of {own:.3g} ({scale} probabilities)",
                **said,
            )
        say(Message("{task}: {text}", task=task, text=threshold) if many else threshold)


def _refuse_nothing(prediction: "Prediction", state: "State") -> None:
    """Raise an error if no note was scored."""
    if not state.scored:
        raise NothingDoneError(
            Message("no note was classified: {path} says why", path=str(prediction.aside_path))
            if state.aside
            else Message("no note was classified, because none was found")
        )


def explain(
    *,
    bundle: Annotated[Path, typer.Argument(help="A bundle, such as OUT/best.")],
    notes: Annotated[Path, typer.Argument(help="CSV, TSV, JSON, Parquet or Excel.")],
    text: StudyTextOption = None,
    id: IdOption = None,
    table_format: ReadingOptions,
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
    refuse_early(bundles=[bundle], files=[notes])
    columns = columns_for(notes, bundle, table_format)
    text, id = text or columns.text, id or columns.id
    with ExitStack() as stack:
        go_offline(stack, True)
        from clinadapt.cli.progress import progress_bar
        from clinadapt.explain.explanation_files import explain_table

        with progress_bar() as progress:
            count, left_out, measured = explain_table(
                bundle, notes, out, text, id, limit, target, faithfulness, progress,
                **reading(table_format),
            )  # fmt: skip
    if measured is not None:
        _print_faithfulness(measured)
    path = escape(str(out))
    say(Message("{n} notes explained: {path} ([bold]contains patient text[/])", n=count, path=path))
    if left_out:
        say(
            Message(
                "{n} notes left out: the model finds nothing in them that it can read", n=left_out
            )
        )


def _print_faithfulness(faithfulness: "Faithfulness") -> None:
    """Print the effect of deleting the strongest words, compared with random ones."""
    print_table(
        Message(
            "Drop in the predicted class's probability, mean of {n} notes", n=faithfulness.notes
        ),
        [Column(Message("deleted")), Column(Message("drop [95 %]"), number=True)],
        [
            [
                name,
                Message(
                    "{value:score} [{low:score}, {high:score}]",
                    value=score.value,
                    low=score.low,
                    high=score.high,
                ),
            ]
            for name, score in (
                (Message("the strongest tenth of the words"), faithfulness.strongest),
                (Message("as many random words"), faithfulness.random),
                (Message("difference"), faithfulness.difference),
            )
        ],
    )
