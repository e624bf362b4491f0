"""Commands that need a study's design: ``study`` and ``plan``."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from clinadapt.cli.options import (
    OfflineOption,
    ResourceOptions,
    StudyOptions,
    TableOptions,
)
from clinadapt.cli.shared import go_offline, open_study, read, say
from clinadapt.core.errors import InputError, NothingDoneError

if TYPE_CHECKING:
    from clinadapt.study.runner import Study


def study(
    *,
    table: TableOptions,
    describe: Annotated[
        list[str] | None,
        typer.Option(
            help="Column by which scores are broken down, which no model reads; repeatable."
        ),
    ] = None,
    sites: Annotated[
        str | None,
        typer.Option(
            help="Column of the site, department or year; each of its values is held out in turn."
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(help="Label column of a separate task, instead of --label; repeatable."),
    ] = None,
    asked: StudyOptions,
    margin: Annotated[
        float | None,
        typer.Option(help="Largest negligible difference of the metric; default: 0.01."),
    ] = None,
    resources: ResourceOptions,
    energy: Annotated[
        str | None,
        typer.Option(
            metavar="COUNTRY",
            help="Measure or estimate energy and CO2e with this country's electricity: FRA, DEU …",
        ),
    ] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Run failed runs again.")] = False,
    offline: OfflineOption = False,
) -> None:
    """Compare every configuration of a study on a table of notes, or resume the comparison."""
    from clinadapt.study.multi_task import folders_of

    if task and table.notes is None:
        raise InputError("--task names label columns of a table of notes: give the table as well")
    described = tuple(dict.fromkeys([*(describe or ()), *([sites] if sites else ())]))
    targets = {name: [name] for name in task} if task else {"": table.label}
    folders = folders_of(task or ())
    with ExitStack() as stack:
        go_offline(stack, offline)
        _check_folders(asked.out, folders if task else {})
        tables = {name: read(table, target, described) for name, target in targets.items()}
        if task:
            resources = replace(resources, cache=resources.cache or asked.out / "cache")
        fitted = []
        for name, notes in tables.items():
            one = replace(asked, out=asked.out / folders[name]) if task else asked
            fitted.append(_show(open_study(notes, one, resources, margin, sites, energy), retry))
        if task:
            _put_together(asked.out, folders)
    if not all(fitted):
        raise NothingDoneError(
            "nothing was fitted: every configuration failed or was skipped, for the reasons above"
        )


def _check_folders(out: Path, folders: dict[str, str]) -> None:
    """Check, before any work, that nothing is overwritten in the folders of all studies."""
    from clinadapt.core.output_guard import Output, check_outputs, is_page, json_with
    from clinadapt.study.multi_task import TASKS
    from clinadapt.study.study_folder import check_study_folder

    if not folders:
        return check_study_folder(out)
    tasks = Output(out / TASKS, "--out", json_with("sentences"))
    check_outputs([tasks, Output(out / "report.html", "--out", is_page)])
    for folder in folders.values():
        check_study_folder(out / folder)


def _show(run: "Study", retry: bool) -> bool:
    """Run a study, showing its progress, and print its leaderboard; return if anything is done."""
    from clinadapt.cli.display import StudyDisplay, print_leaderboard, print_meter, print_notes
    from clinadapt.report.write import write_report

    print_notes(run.notes, run.split)
    if run.meter is not None:
        print_meter(run.meter)
    with run.claimed(_tell_waiting):
        with StudyDisplay(len(run.runs)) as display:
            board = run.run(display.progress, display.finished, retry)
        write_report(run.out)
    print_leaderboard(board, run)
    return "done" in board["status"].to_list()


def _tell_waiting(holder: str) -> None:
    say(escape(f"{holder}: waiting until it has ended. Stop with Ctrl+C; nothing is lost."))


def _put_together(out: Path, folders: dict[str, str]) -> None:
    """Write and print the overview of several tasks."""
    from clinadapt.core.atomic_files import write_json
    from clinadapt.report.overview import write_overview
    from clinadapt.study.multi_task import TASKS, read_tasks

    content = read_tasks(out, folders).to_json()
    write_json(out / TASKS, content)
    page = write_overview(content, out)
    say(escape(" ".join(content["sentences"])))
    say(f"all tasks: [bold]{escape(str(page))}[/]")


def plan(
    table: TableOptions,
    asked: StudyOptions,
    resources: ResourceOptions,
    json: Annotated[
        Path | None, typer.Option(help="JSON file to write every run of the plan to.")
    ] = None,
    offline: OfflineOption = False,
) -> None:
    """Estimate the cost of each run of a study, and report what will not fit."""
    from clinadapt.core.output_guard import Output, check_outputs
    from clinadapt.study.planning.plan import is_schedule, make_plan, read_plan, write_schedule
    from clinadapt.study.study_folder import check_study_folder

    check_study_folder(asked.out)
    if json is not None:
        check_outputs([Output(json, "--json", is_schedule)], [table.notes, asked.study])
    notes = read(table)
    with ExitStack() as stack:
        go_offline(stack, offline)
        from clinadapt.cli.display import StudyDisplay, print_notes, print_plan

        study = open_study(notes, asked, resources)
        print_notes(notes, study.split)
        made = read_plan(study)
        if made is None:
            with StudyDisplay(len(study.folders.configurations)) as display:
                made = make_plan(study, display.progress)
            made.save(study.out)
        print_plan(made, study)
        if json is not None:
            write_schedule(study, made, json)
