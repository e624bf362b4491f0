"""Commands that need a study's design: ``study``, ``demo`` and ``plan``."""

import sys
from contextlib import ExitStack
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from clinadapt.cli.browser import open_page
from clinadapt.cli.console import print_json, print_next, print_verbatim, say
from clinadapt.cli.language import asked_language
from clinadapt.cli.options import (
    DESIGN,
    LIMITS,
    OUTPUT,
    TABLE,
    JsonOption,
    OfflineOption,
    ResourceOptions,
    StudyOptions,
    TableOptions,
    as_arguments,
)
from clinadapt.cli.shared import (
    go_offline,
    open_study,
    read,
    refuse_early,
    without_remembered,
)
from clinadapt.core.errors import InputError, NothingDoneError
from clinadapt.core.messages import Message, joined, shown, translate

if TYPE_CHECKING:
    from clinadapt.study.runner import StudyRunner


def _print_design(name: str | None) -> None:
    """Print the study file of a built-in study, and exit."""
    if name is None:
        return
    from clinadapt.study.study_file import built_in_file

    print_verbatim(built_in_file(name).read_text(encoding="utf-8").rstrip())
    raise typer.Exit


def study(
    *,
    table: TableOptions,
    describe: Annotated[
        list[str] | None,
        typer.Option(
            help="Column by which scores are broken down, which no model reads; repeatable.",
            rich_help_panel=TABLE,
        ),
    ] = None,
    sites: Annotated[
        str | None,
        typer.Option(
            help="Column of the site, department or year; each of its values is held out in turn.",
            rich_help_panel=TABLE,
        ),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option(
            help="Label column of a separate task, instead of --label; repeatable.",
            rich_help_panel=TABLE,
        ),
    ] = None,
    asked: StudyOptions,
    show: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Print the study file of a built-in study, to copy and change, and exit.",
            callback=_print_design,
            is_eager=True,
            rich_help_panel=DESIGN,
        ),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(
            help="Largest negligible difference of the metric; default: 0.01.",
            rich_help_panel=DESIGN,
        ),
    ] = None,
    resources: ResourceOptions,
    energy: Annotated[
        str | None,
        typer.Option(
            metavar="COUNTRY",
            help="Measure or estimate energy and CO2e with this country's electricity: FRA, DEU …",
            rich_help_panel=OUTPUT,
        ),
    ] = None,
    retry: Annotated[
        bool, typer.Option("--retry", help="Run failed runs again.", rich_help_panel=LIMITS)
    ] = False,
    offline: OfflineOption = False,
) -> None:
    """Compare every configuration of a study on a table of notes, or resume the comparison."""
    from clinadapt.study.multi_task import folders_of

    if table.notes is None:
        raise InputError(
            Message(
                "no notes given: expected a table of labelled notes, such as `clinadapt study "
                "notes.csv --text text --label label --group patient`. To try clinadapt on "
                "built-in notes, run `clinadapt demo`"
            )
        )
    refuse_early(asked, resources)
    described = tuple(dict.fromkeys([*(describe or ()), *([sites] if sites else ())]))
    targets = {name: [name] for name in task} if task else {"": None}
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
            run = open_study(notes, one, resources, margin, sites, energy)
            fitted.append(run_study(run, retry))
        if task:
            _put_together(asked.out, folders)
    if not all(fitted):
        raise NothingDoneError(
            Message(
                "nothing was fitted: every configuration failed or was skipped, for the reasons "
                "above"
            )
        )
    places = [asked.out / folder for folder in folders.values()] or [asked.out]
    _print_next(table, places, run.material.patients is not None)


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


def demo(
    design: Annotated[
        str,
        typer.Option(
            "--study",
            help="demo (on 1,500 notes), or, on all 5,444: quick, paper, crossover or a TOML file.",
            rich_help_panel=DESIGN,
        ),
    ] = "demo",
    out: Annotated[Path, typer.Option(help="Folder of the study.", rich_help_panel=OUTPUT)] = Path(
        "demo"
    ),
    show: Annotated[
        bool,
        typer.Option(
            "--open/--no-open",
            help="Open the report in a browser, if this is a terminal with a display.",
            rich_help_panel=OUTPUT,
        ),
    ] = True,
) -> None:
    """Run a small study on built-in synthetic notes, offline, and open its report."""
    asked = StudyOptions(study=design, out=out)
    refuse_early(asked)
    _check_folders(out, {})
    from clinadapt.data.synthetic.built_in import DEMO_SIZES, built_in_notes

    notes = built_in_notes(**DEMO_SIZES) if design == "demo" else built_in_notes()
    with ExitStack() as stack:
        go_offline(stack, True)
        say(Message("The built-in [bold]synthetic[/] notes are compared; nothing is downloaded."))
        run_study(open_study(notes, asked, ResourceOptions()))
    page = (out / "report.html").resolve()
    if show and sys.stdout.isatty() and open_page(page.as_uri()):
        say(Message("The report was opened in a browser."))
    say(
        Message(
            "\nWith notes of your own, in a table with a column for the text, the label and, if "
            "there is one, the patient,\n"
            "  clinadapt check YOUR_NOTES --text TEXT --label LABEL --group PATIENT\n"
            "says whether they can be used, and what to run next."
        )
    )


def run_study(run: "StudyRunner", retry: bool = False) -> bool:
    """Run a study, showing its progress, and print its leaderboard; return if anything is done."""
    from clinadapt.cli.display import (
        print_checks,
        print_leaderboard,
        print_notes,
        print_patients,
    )
    from clinadapt.cli.progress import StudyProgress
    from clinadapt.core.atomic_files import read_json
    from clinadapt.data.levels import UNITS
    from clinadapt.report import abstaining
    from clinadapt.report.write import write_report
    from clinadapt.study.energy import in_words
    from clinadapt.study.result_files import ABSTENTION, CHECKS, EVIDENCE

    print_notes(run.notes, run.split)
    if run.material.patients is not None:
        print_patients(run.material.units.parts)
    if run.meter is not None:
        sources = escape(in_words(run.meter.parts))
        say(Message("energy of the whole machine: {sources}", sources=sources))
        for warning in run.meter.warnings:
            say(Message("[yellow]warning[/] codecarbon: {text}", text=escape(warning)))
    with run.claimed(_tell_waiting), StudyProgress(len(run.runs)) as display:
        board = run.complete(display.progress, display.finished, retry)
        display.progress("report", 0, 1)
        write_report(run.out, asked_language())
    display.summary()
    evidence = read_json(run.out / EVIDENCE)
    sentences = []
    if evidence is not None:
        sentences = [evidence["sentence"], *evidence["doubts"]["sentences"]]
    if (abstention := read_json(run.out / ABSTENTION)) is not None:
        sentences.append(abstaining.sentence(abstention, UNITS[run.design.level]))
    print_leaderboard(board, run.metric, run.out, sentences, run.notes.synthetic, display.reasons)
    if checked := read_json(run.out / CHECKS):
        print_checks(checked)
    return "done" in board["status"].to_list()


def _tell_waiting(holder: str) -> None:
    say(
        Message(
            "{holder}: waiting until it has ended. Stop with Ctrl+C; nothing is lost.",
            holder=escape(shown(holder)),
        )
    )


def _print_next(table: TableOptions, folders: list[Path], of_patients: bool) -> None:
    """Print commands that use what studies left in their folders, and that run on this machine."""
    chosen = [
        next((place for name in ("recommended", "best") if (place := folder / name).is_dir()), None)
        for folder in folders
    ]
    bundles = [str(bundle) for bundle in chosen if bundle is not None]
    if not bundles:
        return
    passed_on = ["notes", "text", "id", "encoding", "delimiter", "missing"]
    if of_patients:
        passed_on.append("group")
    read_so = replace(TableOptions(), **{name: getattr(table, name) for name in passed_on})
    scoring = ["predict", *bundles, *as_arguments(read_so)]
    steps = [(Message("score notes, here those of the study"), scoring)]
    if find_spec("captum"):
        rest = as_arguments(without_remembered(table))
        steps += [
            (
                Message("its most confident errors, with patient text"),
                ["errors", str(folder), *rest],
            )
            for folder in folders
        ]
    if find_spec("fastapi"):
        steps.append((Message("answers over HTTP, with a page to try it"), ["serve", *bundles]))
    print_next(*steps)


def _put_together(out: Path, folders: dict[str, str]) -> None:
    """Write and print the overview of several tasks."""
    from clinadapt.core.atomic_files import write_json
    from clinadapt.report.overview import write_overview
    from clinadapt.study.multi_task import TASKS, read_tasks

    content = read_tasks(out, folders).to_json()
    write_json(out / TASKS, content)
    page = write_overview(content, out)
    say(escape(joined(content["sentences"], " ")))
    say(Message("all tasks: [bold]{path}[/]", path=escape(str(page))))


def plan(
    table: TableOptions,
    asked: StudyOptions,
    resources: ResourceOptions,
    json: JsonOption = False,
    offline: OfflineOption = False,
) -> None:
    """Estimate the cost of each run of a study, and report what will not fit."""
    from clinadapt.study.study_folder import check_study_folder

    refuse_early(asked, resources)
    check_study_folder(asked.out)
    notes = read(table)
    with ExitStack() as stack:
        go_offline(stack, offline)
        from clinadapt.cli.display import print_notes, print_patients, print_plan
        from clinadapt.cli.progress import progress_bar
        from clinadapt.study.planning.plan import (
            disk_bytes,
            make_plan,
            read_plan,
            schedule,
            schedule_as_json,
        )

        study = open_study(notes, asked, resources)
        if not json:
            print_notes(notes, study.split)
            if study.material.patients is not None:
                print_patients(study.material.units.parts)
        made = read_plan(study)
        if made is None:
            with progress_bar(translate("plan")) as progress:
                made = make_plan(study, progress)
            made.save(study.out)
        if json:
            return print_json(schedule_as_json(study, made))
        lines = schedule(study, made)
        print_plan(lines, disk_bytes(made, lines), int(study.design.folds))
    if table.notes is not None:
        print_next((Message("the study itself"), ["study", *as_arguments(table, asked, resources)]))
