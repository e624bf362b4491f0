"""The command line. Heavy imports stand inside the commands, so that ``--help`` is instant."""

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from clinadapt.errors import ClinadaptError, InputError
from clinadapt.options import (
    CacheOption,
    CutOption,
    DescribeOption,
    EncoderOption,
    EncodingOption,
    GroupOption,
    HoursOption,
    IdOption,
    LabelOption,
    LeaveOutOption,
    MarginOption,
    MaxTokensOption,
    MemoryOption,
    MetricOption,
    NotesArgument,
    OfflineOption,
    OutOption,
    PositiveOption,
    SeedOption,
    SeparatorOption,
    SitesOption,
    SplitOption,
    StudyOption,
    TaskOption,
    TextOption,
)

if TYPE_CHECKING:
    from clinadapt.notes import Notes
    from clinadapt.study import Study

app = typer.Typer(
    name="clinadapt",
    help="Which classifier for these clinical notes, within this memory and time, and how sure "
    "are we? Runs offline: notes never leave the machine.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


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
    describe: tuple[str, ...] = (),
) -> "Notes":
    from clinadapt.columns import Columns
    from clinadapt.notes import read_notes

    if notes is None:
        from clinadapt.notes import built_in_notes

        if describe:
            named = ", ".join(describe)
            raise InputError(f"the built-in notes have no column to describe them by ({named})")
        _say("No notes given: using the built-in [bold]synthetic[/] notes.")
        return built_in_notes()
    columns = Columns(text, tuple(label), separator, id, group, split, positive, describe)
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
    describe: DescribeOption = None,
    sites: SitesOption = None,
    task: TaskOption = None,
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
    retry: Annotated[bool, typer.Option("--retry", help="Run failed cells again.")] = False,
    offline: OfflineOption = False,
) -> None:
    """Compare every row of a study on a table of notes; go on if it was interrupted."""
    from clinadapt.tasks import folders_of

    if task and notes is None:
        raise InputError("--task names label columns of a table of notes: name the table, too")
    described = tuple(dict.fromkeys([*(describe or ()), *([sites] if sites else ())]))
    targets = {name: [name] for name in task} if task else {"": label}
    folders = folders_of(task or ())
    tables = {
        name: _read(
            notes, text, target, separator, id, group, split, positive, encoding, leave_out_bad,
            described,
        )
        for name, target in targets.items()
    }  # fmt: skip
    with ExitStack() as stack:
        _go_offline(stack, offline)
        from clinadapt.terminal import StudyDisplay, print_leaderboard, print_notes

        overrides = _overrides(
            max_tokens=max_tokens, cut=cut, seeds=seed, metric=metric, margin=margin
        )
        shared = cache or (out / "cache" if task else None)
        for name, table in tables.items():
            place = out / folders[name] if task else out
            run = _open_study(table, study, place, encoder, overrides, shared, memory, hours, sites)
            print_notes(table, run.split)
            with StudyDisplay(len(run.cells)) as display:
                board = run.run(display.progress, display.finished, retry)
            print_leaderboard(board, run)
        if task:
            _put_together(out, folders)


def _put_together(out: Path, folders: dict[str, str]) -> None:
    """Write and print what several tasks amount to."""
    from clinadapt.report.overview import write_overview
    from clinadapt.results import write_json
    from clinadapt.tasks import TASKS, read_tasks

    content = read_tasks(out, folders).to_json()
    write_json(out / TASKS, content)
    page = write_overview(content, out)
    _say(escape(" ".join(content["sentences"])))
    _say(f"all tasks: [bold]{escape(str(page))}[/]")


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
    sites: str | None = None,
) -> "Study":
    from clinadapt.memory import parse_bytes
    from clinadapt.study import Study

    limit = None if memory is None else parse_bytes(memory)
    return Study(table, design, out, encoders or (), overrides, cache, limit, hours, sites)


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
        _go_offline(stack, True)
        from clinadapt.explain.files import explain_table
        from clinadapt.terminal import print_faithfulness, progress_bar

        with progress_bar() as progress:
            count, found = explain_table(
                bundle, notes, out, text, id, encoding, limit, target, faithfulness, progress
            )
    if found is not None:
        print_faithfulness(found)
    _say(f"{count} notes explained: {escape(str(out))} ([bold]contains patient text[/])")


@app.command()
def errors(
    folder: Annotated[Path, typer.Argument(help="A finished study's folder.")],
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
    limit: Annotated[int, typer.Option(min=1, help="Errors shown, most confident first.")] = 50,
    sample: Annotated[int, typer.Option(min=1, help="Notes in which kinds are counted.")] = 200,
    out: Annotated[Path, typer.Option(help="HTML file. It will contain patient text.")] = Path(
        "errors.html"
    ),
) -> None:
    """Show the most confident errors of a study and what kind they are. Writes patient text."""
    table = _read(
        notes, text, label, separator, id, group, split, positive, encoding, leave_out_bad
    )
    with ExitStack() as stack:
        _go_offline(stack, True)
        from clinadapt.explain.files import write_mistakes
        from clinadapt.terminal import print_kinds, progress_bar

        with progress_bar() as progress:
            found = write_mistakes(folder, table, out, limit, sample, progress)
        print_kinds(found)
    _say(f"{len(found.shown)} errors shown: {escape(str(out))} ([bold]contains patient text[/])")


@app.command()
def report(folder: Annotated[Path, typer.Argument(help="A study's folder.")]) -> None:
    """Write a study's report again."""
    from clinadapt.report import render

    if not (folder / "leaderboard.csv").is_file():
        raise InputError(f"{folder} holds no finished study (no leaderboard.csv)")
    _say(escape(str(render(folder))))


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
