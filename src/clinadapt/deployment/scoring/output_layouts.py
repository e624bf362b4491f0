"""Layouts of output files: scores, and notes that were not scored."""

import csv
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clinadapt.core.atomic_files import atomic_path
from clinadapt.core.output_guard import csv_header, parquet_columns
from clinadapt.data import prediction_tables
from clinadapt.deployment.scoring import meds
from clinadapt.deployment.scoring.interfaces import NoteScores

ASIDE_COLUMNS = ("id", "place", "reason")
SCORE_COLUMN = re.compile(r"(^|\.)((prediction|decision|undecided|prediction_set)$|prob_)")


def predictions(scores: Mapping[str, NoteScores]) -> pl.DataFrame:
    """Return one row per note: ``id``, ``prediction``, ``prob_<class>``.

    Rows of patients have ``notes``, their number of notes, after the id. With several tasks,
    columns are named ``<task>.prediction`` and ``<task>.prob_<class>``. If
    notes are left to a person: also ``decision``, null where the note is left, or, in a multi-label
    task, the labels that are answered, with those that are left in ``undecided``; and
    ``prediction_set``.
    """
    columns: dict[str, Any] = {}
    for name, task in scores.items():
        prefix = f"{name}." if len(scores) > 1 else ""
        columns["id"] = task.notes["id"].cast(pl.String)  # the same for all tasks
        if "notes" in task.notes.columns:
            columns["notes"] = task.notes["notes"].cast(pl.Int64)
        labels = prediction_tables.decode_text(task.task, task.classes, task.predicted)
        probabilities = prediction_tables.probability_columns(task.classes, task.probabilities)
        columns[f"{prefix}prediction"] = labels
        for column, values in {**_decisions(task), **probabilities}.items():
            columns[f"{prefix}{column}"] = values
    return pl.DataFrame(columns)


def _decisions(task: NoteScores) -> dict[str, pl.Series]:
    """Return the columns of what is answered and left; none if nothing may be left."""
    if task.abstained is None:
        return {}

    def listed(matrix: NDArray[np.bool_]) -> pl.Series:
        return prediction_tables.decode_text("multilabel", task.classes, matrix)

    answered, left = task.abstained.answered, task.abstained.left
    sets = {"prediction_set": listed(task.abstained.sets)}
    if task.task == "multilabel":
        return {"decision": listed(answered), "undecided": listed(left), **sets}
    decided = prediction_tables.decode_text(task.task, task.classes, answered)
    return {"decision": decided.set(pl.Series(left.any(axis=1)), None), **sets}


def is_scores(path: Path) -> bool:
    """Return whether a file has exactly the columns of an output, of `predictions` or of MEDS."""
    columns = csv_header(path) if path.suffix == ".csv" else parquet_columns(path)
    of_scores = columns[1 + (columns[1:2] == ["notes"]) :]
    scores = (SCORE_COLUMN.search(column) for column in of_scores)
    return columns == list(meds.COLUMNS) or (
        len(of_scores) > 0 and columns[0] == "id" and all(scores)
    )


def write_aside(rows: Iterable[tuple[str | None, ...]], path: Path) -> None:
    """Write the notes that were not scored, atomically and readable by the owner only.

    Without rows there is no file; one from an earlier run is deleted.

    Parameters
    ----------
    rows : iterable of tuple
        Id, place and reason of each note.
    path : Path
        CSV file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number = 0
    with (
        atomic_path(path) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(ASIDE_COLUMNS)
        for number, row in enumerate(rows, 1):  # noqa: B007 (the count is used after the loop)
            writer.writerow(row)
    if not number:
        path.unlink()
