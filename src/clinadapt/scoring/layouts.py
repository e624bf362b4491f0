"""How scores look in a file, and notes that were set aside."""

import csv
import os
from collections.abc import Iterable
from pathlib import Path

import polars as pl

from clinadapt import results
from clinadapt.scoring.contracts import Scores

ASIDE_COLUMNS = ("id", "place", "reason")


def predictions(scores: Scores) -> pl.DataFrame:
    """One row a note: ``id``, ``prediction``, ``prob_<class>``."""
    return pl.DataFrame(
        {
            "id": scores.notes["id"].cast(pl.String),
            "prediction": results.decode_text(scores.task, scores.classes, scores.predicted),
            **results.probability_columns(scores.classes, scores.probabilities),
        }
    )


def write_aside(rows: Iterable[tuple[str | None, ...]], path: Path) -> None:
    """Write the side file at once, whole, for its owner only; none, and no old one, without rows.

    Parameters
    ----------
    rows : iterable of tuple
        Id, place and reason of each note.
    path : Path
        CSV.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".tmp")
    partial.unlink(missing_ok=True)
    partial.touch(mode=0o600)
    number = 0
    with partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(ASIDE_COLUMNS)
        for number, row in enumerate(rows, 1):  # noqa: B007 (their number, after the loop)
            writer.writerow(row)
    if number:
        os.replace(partial, path)
    else:
        partial.unlink()
        path.unlink(missing_ok=True)
