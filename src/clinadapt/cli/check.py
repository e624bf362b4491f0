"""Commands to run before a study: ``check`` and ``encoders``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.text import Text

from clinadapt.cli.console import Column, print_json, print_next, print_table, say
from clinadapt.cli.options import (
    OUTPUT,
    IgnoreOption,
    JsonOption,
    StudyOptions,
    TableOptions,
    as_arguments,
)
from clinadapt.cli.shared import read
from clinadapt.core.errors import InputError
from clinadapt.core.messages import Message, translate


def check(
    table: TableOptions,
    ignore: IgnoreOption = None,
    show_words: Annotated[
        bool,
        typer.Option(
            "--show-words",
            help="Quote the words that give labels away, which may be text of patients.",
            rich_help_panel=OUTPUT,
        ),
    ] = False,
    json: JsonOption = False,
) -> None:
    """Report every problem of a table of notes before a study is run."""
    from clinadapt.study.checks.registry import require_known, run_checks

    require_known(ignore or ())
    notes = read(table)
    from clinadapt.cli.display import check_as_json, print_check, print_checks, print_notes
    from clinadapt.data.split import make_split
    from clinadapt.study.checks.contract import Subject

    parts = make_split(notes)
    subject = Subject(notes, parts, show_words=show_words)
    checked = run_checks(subject, ignore or ())
    if json:
        return print_json(check_as_json(notes, parts, subject.duplicates, checked))
    print_notes(notes, parts)
    print_check(notes, subject.duplicates)
    print_checks(checked.to_json())
    say(Message("[green]no problem prevents a study of these notes[/]"))
    if table.notes is None:
        return print_next((Message("compare classifiers on these notes"), ["demo"]))
    arguments = [*as_arguments(table), *as_arguments(StudyOptions(ignore=ignore))]
    print_next(
        (Message("time, memory and disk of a study, beforehand"), ["plan", *arguments]),
        (Message("the study"), ["study", *arguments, "--out", "study"]),
    )


def encoders(
    convert: Annotated[
        Path | None,
        typer.Option(help="Instead, convert the pickled weights in a folder to safetensors."),
    ] = None,
    json: JsonOption = False,
) -> None:
    """List the encoders known by name, and those that are on this machine."""
    if convert is not None:
        if not convert.is_dir():
            raise InputError(
                Message("{path} is not a folder: nothing to convert", path=str(convert))
            )
        from clinadapt.features.encoders.conversion import convert_to_safetensors

        return say(Message("wrote {path}", path=escape(str(convert_to_safetensors(convert)))))
    from clinadapt.features.encoders import weight_files
    from clinadapt.features.encoders.catalog import CATALOG, encoder_home, find_local, how_to_get

    here = {name: find_local(name) for name in CATALOG}
    if json:
        return print_json(
            [
                {
                    "name": entry.name,
                    "hub_id": entry.hub_id,
                    "revision": entry.revision,
                    "language": entry.language,
                    "licence": entry.licence,
                    "million_weights": entry.parameters,
                    "note": entry.note,
                    "folder": here[entry.name],
                    "how_to_get": None if here[entry.name] else how_to_get(entry.name),
                }
                for entry in CATALOG.values()
            ]
        )
    print_table(
        Message("Encoders known by name"),
        [
            Column(Message("name")),
            Column(Message("hub id"), drop=3),
            Column(Message("language"), drop=1),
            Column(Message("licence"), drop=2),
            Column(Message("M weights"), number=True, drop=1),
            Column(Message("here")),
        ],
        [
            [
                entry.name,
                entry.hub_id,
                entry.language,
                entry.licence,
                str(entry.parameters),
                Text(translate("yes"), style="green") if here[entry.name] else translate("no"),
            ]
            for entry in CATALOG.values()
        ],
    )
    for entry in CATALOG.values():
        folder = here[entry.name]
        for problem in weight_files.problems(folder) if folder is not None else ():
            say(f"[bold]{entry.name}[/]: {escape(problem)}")
        if folder is None:
            note = f" ({entry.note})" if entry.note else ""
            say(f"[bold]{entry.name}[/]{escape(note)}: {escape(how_to_get(entry.name))}")
    say(
        Message(
            "Any other hub id or local folder works too. Encoders are searched for in {folder} "
            "(set CLINADAPT_ENCODERS to change it).",
            folder=escape(str(encoder_home())),
        )
    )
