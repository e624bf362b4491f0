"""The command line. Heavy imports stand inside the commands, so that ``--help`` is instant."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from clinadapt.errors import ClinadaptError

if TYPE_CHECKING:
    from clinadapt.notes import Notes
    from clinadapt.study import Study
    from clinadapt.tracking import Tracker

app = typer.Typer(
    name="clinadapt",
    help="Which classifier for these clinical notes, within this memory and time, and how sure "
    "are we? Runs offline: notes never leave the machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

NotesArgument = Annotated[
    Path | None, typer.Argument(help="CSV, TSV, JSONL or Parquet; default: built-in notes.")
]
TextOption = Annotated[str, typer.Option(help="Column of the text.")]
LabelOption = Annotated[
    list[str], typer.Option(help="Column of the label; give several 0/1 columns for multi-label.")
]
SeparatorOption = Annotated[
    str | None, typer.Option(help="Splits a multi-label column, such as '|'.")
]
IdOption = Annotated[str | None, typer.Option("--id", help="Column of the identifier.")]
GroupOption = Annotated[
    str | None, typer.Option(help="Column of the patient: no patient in two parts.")
]
SplitOption = Annotated[
    str | None, typer.Option(help="Column of the official part: train, dev, test.")
]
PositiveOption = Annotated[str | None, typer.Option(help="Positive class of a binary task.")]
EncodingOption = Annotated[str, typer.Option(help="Text encoding of CSV, TSV and JSONL.")]
LeaveOutOption = Annotated[
    bool,
    typer.Option("--leave-out-bad", help="Leave out rows without text or label, and list them."),
]
StudyOption = Annotated[str, typer.Option(help="quick, paper, or a TOML file.")]
EncoderOption = Annotated[
    list[str] | None, typer.Option(help="Name, hub id or folder; instead of the study's own.")
]
OutOption = Annotated[Path, typer.Option(help="Folder of the study.")]
MaxTokensOption = Annotated[int | None, typer.Option(help="Tokens read of each note.")]
CutOption = Annotated[
    str | None, typer.Option(help="head, tail, head+tail or windows, for longer notes.")
]
SeedOption = Annotated[list[int] | None, typer.Option(help="Instead of the study's own.")]
MetricOption = Annotated[str | None, typer.Option(help="What to rank by.")]
MarginOption = Annotated[
    float | None,
    typer.Option(help="Difference of the metric that does not matter (default 0.01)."),
]
CacheOption = Annotated[
    Path | None, typer.Option(help="Folder of frozen states (patient data); default OUT/cache.")
]
MemoryOption = Annotated[
    str | None, typer.Option(help="That a cell may hold, such as 2GB; what it costs is said.")
]
HoursOption = Annotated[
    float | None, typer.Option(min=0, help="For the whole run; what will not fit is skipped.")
]
EnergyOption = Annotated[
    str | None,
    typer.Option(
        metavar="COUNTRY",
        help="Measure or estimate energy and CO2e: whose electricity, such as FRA, DEU, USA.",
    ),
]
STORES = "local (OUT/mlflow.db), sqlite:///FILE or a server's http address."
MlflowOption = Annotated[
    str | None, typer.Option(metavar="STORE", help=f"Log every cell to MLflow: {STORES}")
]
OfflineOption = Annotated[
    bool,
    typer.Option(
        "--offline", envvar="CLINADAPT_OFFLINE", help="Make any network attempt an error."
    ),
]


def _read(
    notes: Path | None,
    text: str,
    label: list[str],
    separator: str | None,
    id: str | None,
    group: str | None,
    split: str | None,
    positive: str | None,
    encoding: str,
    leave_out_bad: bool,
) -> "Notes":
    from clinadapt.notes import Columns, read_notes

    if notes is None:
        from clinadapt.notes import built_in_notes

        _say("No notes given: using the built-in [bold]synthetic[/] notes.")
        return built_in_notes()
    columns = Columns(text, tuple(label), separator, id, group, split, positive)
    return read_notes(notes, columns, encoding=encoding, leave_out_bad=leave_out_bad)


@app.command()
def study(
    notes: NotesArgument = None,
    text: TextOption = "text",
    label: LabelOption = ["label"],  # noqa: B006 (typer copies it)
    separator: SeparatorOption = None,
    id: IdOption = None,
    group: GroupOption = None,
    split: SplitOption = None,
    positive: PositiveOption = None,
    encoding: EncodingOption = "utf-8",
    leave_out_bad: LeaveOutOption = False,
    study: StudyOption = "quick",
    encoder: EncoderOption = None,
    out: OutOption = Path("study"),
    max_tokens: MaxTokensOption = None,
    cut: CutOption = None,
    seed: SeedOption = None,
    metric: MetricOption = None,
    margin: MarginOption = None,
    cache: CacheOption = None,
    memory: MemoryOption = None,
    hours: HoursOption = None,
    energy: EnergyOption = None,
    mlflow: MlflowOption = None,
    retry: Annotated[bool, typer.Option("--retry", help="Run failed cells again.")] = False,
    offline: OfflineOption = False,
) -> None:
    """Compare every row of a study on a table of notes; go on if it was interrupted."""
    with ExitStack() as stack:
        _go_offline(stack, offline)
        from clinadapt.tracking import store_uri

        store = None if mlflow is None else store_uri(mlflow, out)
        table = _read(
            notes, text, label, separator, id, group, split, positive, encoding, leave_out_bad
        )
        from clinadapt.terminal import StudyDisplay, print_leaderboard, print_meter, print_notes

        overrides = _overrides(
            max_tokens=max_tokens, cut=cut, seeds=seed, metric=metric, margin=margin
        )
        run = _open_study(table, study, out, encoder, overrides, cache, memory, hours, energy)
        tracker = None if store is None else _open_tracker(store, run)
        print_notes(table, run.split)
        if run.meter is not None:
            print_meter(run.meter)
        with StudyDisplay(len(run.cells)) as display:

            def finished(result: dict[str, Any]) -> None:
                display.finished(result)
                if tracker is not None:
                    tracker(result)

            board = run.run(display.progress, finished, retry)
        print_leaderboard(board, run)
        if tracker is not None and tracker.problem is not None:
            _say(f"[yellow]MLflow[/] has not got every cell: {escape(tracker.problem)}")
            _say(f"clinadapt track {escape(str(out))} --store STORE logs what is missing")


def _overrides(**values: Any) -> dict[str, Any]:
    """What was given on the command line."""
    return {name: value for name, value in values.items() if value not in (None, [])}


def _open_study(
    table: "Notes",
    design: str,
    out: Path,
    encoders: list[str] | None,
    overrides: dict[str, Any],
    cache: Path | None,
    memory: str | None,
    hours: float | None,
    energy: str | None = None,
) -> "Study":
    from clinadapt.memory import parse_bytes
    from clinadapt.study import Study

    limit = None if memory is None else parse_bytes(memory)
    return Study(table, design, out, encoders or (), overrides, cache, limit, hours, energy)


def _open_tracker(uri: str, study: "Study") -> "Tracker":
    from clinadapt.tracking import Tracker

    return Tracker(uri, study.design.name, study.material.fingerprint)


@app.command()
def plan(
    notes: NotesArgument = None,
    text: TextOption = "text",
    label: LabelOption = ["label"],  # noqa: B006 (typer copies it)
    separator: SeparatorOption = None,
    id: IdOption = None,
    group: GroupOption = None,
    split: SplitOption = None,
    positive: PositiveOption = None,
    encoding: EncodingOption = "utf-8",
    leave_out_bad: LeaveOutOption = False,
    study: StudyOption = "quick",
    encoder: EncoderOption = None,
    out: OutOption = Path("study"),
    max_tokens: MaxTokensOption = None,
    cut: CutOption = None,
    seed: SeedOption = None,
    metric: MetricOption = None,
    cache: CacheOption = None,
    memory: MemoryOption = None,
    hours: HoursOption = None,
    machine: Annotated[
        list[str] | None,
        typer.Option(help="Estimate for paper-card, laptop or a100-80gb too; repeatable."),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write every cell of the plan.")] = None,
    offline: OfflineOption = False,
) -> None:
    """Say what each cell of a study will cost, and what will not fit, before it is run."""
    from clinadapt.machines import find_machine

    elsewhere = [find_machine(name) for name in machine or ()]
    table = _read(
        notes, text, label, separator, id, group, split, positive, encoding, leave_out_bad
    )
    with ExitStack() as stack:
        _go_offline(stack, offline)
        from clinadapt.plan import make_plan, read_plan, write_schedules
        from clinadapt.terminal import StudyDisplay, print_notes, print_plan

        overrides = _overrides(max_tokens=max_tokens, cut=cut, seeds=seed, metric=metric)
        asked = _open_study(table, study, out, encoder, overrides, cache, memory, hours)
        print_notes(table, asked.split)
        found = read_plan(asked)
        if found is None:
            with StudyDisplay(len(asked.folders.rows)) as display:
                found = make_plan(asked, display.progress)
            found.save(asked.out)
        plans = [found, *(found.on(place, asked.memory) for place in elsewhere)]
        for shown in plans:
            print_plan(shown, asked)
        if json is not None:
            write_schedules(asked, plans, json)


@app.command()
def predict(
    bundle: Annotated[Path, typer.Argument(help="A bundle, such as OUT/best.")],
    notes: Annotated[Path, typer.Argument(help="CSV, TSV, JSONL or Parquet.")],
    out: Annotated[Path, typer.Option(help="Parquet or CSV file.")] = Path("predictions.parquet"),
    text: TextOption = "text",
    id: IdOption = None,
    encoding: EncodingOption = "utf-8",
) -> None:
    """Classify notes with a bundle, offline."""
    with ExitStack() as stack:
        _go_offline(stack, True)
        from clinadapt.predict import predict_table

        rows = predict_table(bundle, notes, out, text, id, encoding)
    _say(f"{rows} notes classified: {escape(str(out))}")


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A study's folder.")]) -> None:
    """Write a study's report again."""
    from clinadapt.errors import InputError
    from clinadapt.report import render

    if not (folder / "leaderboard.csv").is_file():
        raise InputError(f"{folder} holds no finished study (no leaderboard.csv)")
    _say(escape(str(render(folder))))


@app.command()
def track(
    folder: Annotated[Path, typer.Argument(help="A study's folder.")],
    store: Annotated[str, typer.Option(help=STORES)] = "local",
    offline: OfflineOption = False,
) -> None:
    """Log the cells of a study to MLflow, those that it has not got yet."""
    with ExitStack() as stack:
        _go_offline(stack, offline)
        from clinadapt.tracking import track as log_cells

        _say(f"{log_cells(folder, store)} cells are in MLflow")


@app.command()
def check(
    notes: NotesArgument = None,
    text: TextOption = "text",
    label: LabelOption = ["label"],  # noqa: B006 (typer copies it)
    separator: SeparatorOption = None,
    id: IdOption = None,
    group: GroupOption = None,
    split: SplitOption = None,
    positive: PositiveOption = None,
    encoding: EncodingOption = "utf-8",
    leave_out_bad: LeaveOutOption = False,
) -> None:
    """Say what is wrong with a table of notes, before hours are spent."""
    table = _read(
        notes, text, label, separator, id, group, split, positive, encoding, leave_out_bad
    )
    from clinadapt.duplicates import across_parts
    from clinadapt.split import make_split
    from clinadapt.terminal import print_check, print_notes

    parts = make_split(table)
    print_notes(table, parts)
    print_check(table, across_parts(table, parts))


@app.command()
def encoders(
    convert: Annotated[
        Path | None, typer.Option(help="Folder whose pickled weights become safetensors.")
    ] = None,
) -> None:
    """List the encoders known by name, and which are on this machine."""
    if convert is not None:
        from clinadapt.encoders.pretrained import convert_to_safetensors

        _say(f"wrote {escape(str(convert_to_safetensors(convert)))}")
        return
    from clinadapt.terminal import print_encoders

    print_encoders()


def _go_offline(stack: ExitStack, offline: bool) -> None:
    from clinadapt.encoders.catalog import is_offline

    if offline or is_offline():
        from clinadapt.offline import no_network

        stack.enter_context(no_network())


def _say(text: str) -> None:
    from rich.console import Console

    Console().print(text)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; a user's mistake ends with exit code 2 and no traceback."""
    try:
        return app(arguments, standalone_mode=True)
    except ClinadaptError as error:
        problems = getattr(error, "problems", [str(error)])
        heading = f"{len(problems)} problems:\n" if len(problems) > 1 else ""
        lines = "\n".join(f"  - {problem}" for problem in problems)
        print(f"error: {heading}{lines if heading else problems[0]}", file=sys.stderr)
        return sys.exit(2)
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on from here.", file=sys.stderr)
        return sys.exit(130)
    except OSError as error:
        if os.environ.get("CLINADAPT_DEBUG"):
            raise
        print(f"error: {error.strerror or type(error).__name__}: {error.filename}", file=sys.stderr)
        return sys.exit(2)
