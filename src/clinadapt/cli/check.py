"""Commands to run before a study: ``check`` and ``encoders``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.text import Text

from clinadapt.cli.console import Column, print_json, print_next, print_table, say
from clinadapt.cli.options import JsonOption, TableOptions, as_arguments
from clinadapt.cli.shared import read
from clinadapt.core.errors import InputError
from clinadapt.core.messages import Message, translate


def check(table: TableOptions, json: JsonOption = False) -> None:
    """Report every problem of a table of notes before a study is run."""
    notes = read(table)
    from clinadapt.cli.display import check_as_json, print_check, print_notes
    from clinadapt.data.near_duplicates import across_parts
    from clinadapt.data.split import make_split

    parts = make_split(notes)
    pairs = across_parts(notes, parts)
    if json:
        return print_json(check_as_json(notes, parts, pairs))
    print_notes(notes, parts)
    print_check(notes, pairs)
    if table.notes is None:
        return print_next((Message("compare classifiers on these notes"), ["demo"]))
    arguments = as_arguments(table)
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
