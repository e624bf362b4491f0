"""How scores look in a file, and notes that were set aside."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.core.atomic_files import atomic_path
from clinadapt.core.permissions import OWNER_ONLY
from clinadapt.data import prediction_tables
from clinadapt.deployment.scoring.interfaces import Scores

ASIDE_COLUMNS = ("id", "place", "reason")


def predictions(scores: Mapping[str, Scores]) -> pl.DataFrame:
    """One row a note: ``id``, ``prediction``, ``prob_<class>``.

    Of several tasks each has columns of its own, ``<task>.prediction``, ``<task>.prob_<class>``.
    """
    columns: dict[str, Any] = {}
    for name, one in scores.items():
        before = f"{name}." if len(scores) > 1 else ""
        columns["id"] = one.notes["id"].cast(pl.String)  # every task's are the same
        said = prediction_tables.decode_text(one.task, one.classes, one.predicted)
        found = prediction_tables.probability_columns(one.classes, one.probabilities)
        named = {"prediction": said, **found}
        columns |= {f"{before}{column}": cells for column, cells in named.items()}
    return pl.DataFrame(columns)


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
    number = 0
    with (
        atomic_path(path, OWNER_ONLY) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(ASIDE_COLUMNS)
        for number, row in enumerate(rows, 1):  # noqa: B007 (their number, after the loop)
            writer.writerow(row)
    if not number:
        path.unlink()
