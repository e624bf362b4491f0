"""``clinadapt study`` and ``clinadapt plan``."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from clinadapt.cli.options import (
    CacheOption,
    CutOption,
    DescribeOption,
    EncoderOption,
    EncodingOption,
    EnergyOption,
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
from clinadapt.cli.shared import given, go_offline, open_study, read, say
from clinadapt.core.errors import InputError

if TYPE_CHECKING:
    from clinadapt.study.runner import Study


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
    energy: EnergyOption = None,
    retry: Annotated[bool, typer.Option("--retry", help="Run failed cells again.")] = False,
    offline: OfflineOption = False,
) -> None:
    """Compare every row of a study on a table of notes; go on if it was interrupted."""
    from clinadapt.study.multi_task import folders_of

    if task and notes is None:
        raise InputError("--task names label columns of a table of notes: name the table, too")
    described = tuple(dict.fromkeys([*(describe or ()), *([sites] if sites else ())]))
    targets = {name: [name] for name in task} if task else {"": label}
    folders = folders_of(task or ())
    with ExitStack() as stack:
        go_offline(stack, offline)
        tables = {
            name: read(
                notes, text, target, separator, id, group, split, positive, encoding,
                leave_out_bad, described,
            )
            for name, target in targets.items()
        }  # fmt: skip
        overrides = given(max_tokens=max_tokens, cut=cut, seeds=seed, metric=metric, margin=margin)
        shared = cache or (out / "cache" if task else None)
        for name, table in tables.items():
            place = out / folders[name] if task else out
            run = open_study(
                table, study, place, encoder, overrides, shared, memory, hours, sites, energy
            )
            _show(run, retry)
        if task:
            _put_together(out, folders)


def _show(run: "Study", retry: bool) -> None:
    """Run a study before the user's eyes."""
    from clinadapt.cli.display import StudyDisplay, print_leaderboard, print_meter, print_notes
    from clinadapt.report.write import write_report

    print_notes(run.notes, run.split)
    if run.meter is not None:
        print_meter(run.meter)
    with StudyDisplay(len(run.cells)) as display:
        board = run.run(display.progress, display.finished, retry)
        write_report(run.out)
    print_leaderboard(board, run)


def _put_together(out: Path, folders: dict[str, str]) -> None:
    """Write and print what several tasks amount to."""
    from clinadapt.core.atomic_files import write_json
    from clinadapt.report.overview import write_overview
    from clinadapt.study.multi_task import TASKS, read_tasks

    content = read_tasks(out, folders).to_json()
    write_json(out / TASKS, content)
    page = write_overview(content, out)
    say(escape(" ".join(content["sentences"])))
    say(f"all tasks: [bold]{escape(str(page))}[/]")


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
    json: Annotated[Path | None, typer.Option(help="Write every cell of the plan.")] = None,
    offline: OfflineOption = False,
) -> None:
    """Say what each cell of a study will cost, and what will not fit, before it is run."""
    table = read(notes, text, label, separator, id, group, split, positive, encoding, leave_out_bad)
    with ExitStack() as stack:
        go_offline(stack, offline)
        from clinadapt.cli.display import StudyDisplay, print_notes, print_plan
        from clinadapt.study.planning.plan import make_plan, read_plan, write_schedule

        overrides = given(max_tokens=max_tokens, cut=cut, seeds=seed, metric=metric)
        asked = open_study(table, study, out, encoder, overrides, cache, memory, hours)
        print_notes(table, asked.split)
        found = read_plan(asked)
        if found is None:
            with StudyDisplay(len(asked.folders.rows)) as display:
                found = make_plan(asked, display.progress)
            found.save(asked.out)
        print_plan(found, asked)
        if json is not None:
            write_schedule(asked, found, json)
