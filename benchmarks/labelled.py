"""Command-line options for a table of labelled notes."""

import argparse
from pathlib import Path

from clinadapt.data.columns import Columns
from clinadapt.data.notes import Notes, read_notes


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the table and its columns to a parser."""
    parser.add_argument("notes", type=Path)
    parser.add_argument("--label", default="label")
    parser.add_argument("--separator", help="separator of several labels in one column")
    parser.add_argument("--id")
    parser.add_argument("--group")
    parser.add_argument("--split")


def read(options: argparse.Namespace) -> Notes:
    """Return the notes that the options select."""
    columns = Columns(
        label=(options.label,),
        separator=options.separator,
        id=options.id,
        group=options.group,
        split=options.split,
    )
    return read_notes(options.notes, columns)
