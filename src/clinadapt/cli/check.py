"""Commands to run before a study: ``check`` and ``encoders``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from clinadapt.cli.options import TableOptions
from clinadapt.cli.shared import read, say


def check(table: TableOptions) -> None:
    """Report every problem of a table of notes before a study is run."""
    notes = read(table)
    from clinadapt.cli.display import print_check, print_notes
    from clinadapt.data.near_duplicates import across_parts
    from clinadapt.data.split import make_split

    parts = make_split(notes)
    print_notes(notes, parts)
    print_check(notes, across_parts(notes, parts))


def encoders(
    convert: Annotated[
        Path | None,
        typer.Option(help="Instead, convert the pickled weights in a folder to safetensors."),
    ] = None,
) -> None:
    """List the encoders known by name, and those that are on this machine."""
    if convert is not None:
        from clinadapt.features.encoders.weight_files import convert_to_safetensors

        say(f"wrote {escape(str(convert_to_safetensors(convert)))}")
        return
    from clinadapt.cli.display import print_encoders

    print_encoders()
