"""A table of labelled notes, named on the command line of a benchmark."""

import argparse
from pathlib import Path

from clinadapt.data.columns import Columns
from clinadapt.data.notes import Notes, read_notes


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let a parser take a table and the names of its columns."""
    parser.add_argument("notes", type=Path)
    parser.add_argument("--label", default="label")
    parser.add_argument("--separator", help="of several labels in one column")
    parser.add_argument("--id")
    parser.add_argument("--group")
    parser.add_argument("--split")


def read(options: argparse.Namespace) -> Notes:
    """The notes that such options name."""
    columns = Columns(
        label=(options.label,),
        separator=options.separator,
        id=options.id,
        group=options.group,
        split=options.split,
    )
    return read_notes(options.notes, columns)
