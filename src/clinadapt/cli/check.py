"""Before any study: ``check`` the notes, list the ``encoders``."""

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from clinadapt.cli.options import (
    EncodingOption,
    GroupOption,
    IdOption,
    LabelOption,
    LeaveOutOption,
    NotesArgument,
    PositiveOption,
    SeparatorOption,
    SplitOption,
    TextOption,
)
from clinadapt.cli.shared import read, say


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
    table = read(notes, text, label, separator, id, group, split, positive, encoding, leave_out_bad)
    from clinadapt.cli.display import print_check, print_notes
    from clinadapt.data.near_duplicates import across_parts
    from clinadapt.data.split import make_split

    parts = make_split(table)
    print_notes(table, parts)
    print_check(table, across_parts(table, parts))


def encoders(
    convert: Annotated[
        Path | None, typer.Option(help="Folder whose pickled weights become safetensors.")
    ] = None,
) -> None:
    """List the encoders known by name, and which are on this machine."""
    if convert is not None:
        from clinadapt.features.encoders.pretrained import convert_to_safetensors

        say(f"wrote {escape(str(convert_to_safetensors(convert)))}")
        return
    from clinadapt.cli.display import print_encoders

    print_encoders()
