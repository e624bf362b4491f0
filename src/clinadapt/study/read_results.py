"""A study folder, read back into plain values; nothing is computed here."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.core import atomic_files
from clinadapt.study import result_files

FORMAT = 1


@dataclass(frozen=True)
class Row:
    """One line of the leaderboard; its numbers are over all seeds of the row."""

    rank: int | None
    row: str
    row_id: str
    status: str
    reason: str | None
    family: str | None
    encoder: str | None
    structure: str | None
    placement: str | None
    tuned_layers: str | None
    seeds: int | None
    best: bool
    recommended: bool | None
    group: int | None
    validation: float | None
    test: float | None
    test_low: float | None
    test_high: float | None
    encode_seconds: float | None
    fit_seconds: float | None
    predict_seconds: float | None
    peak_memory_bytes: float | None
    trainable_parameters: float | None
    total_parameters: float | None

    @property
    def seconds(self) -> float | None:
        """What it takes to have the row: encoding the notes and fitting on them."""
        if self.fit_seconds is None:
            return None
        return (self.encode_seconds or 0.0) + self.fit_seconds


@dataclass(frozen=True)
class Cell:
    """One row at one seed."""

    folder: Path
    id: str
    row: str
    row_id: str
    seed: int
    status: str
    reason: str | None
    model: dict[str, Any]
    settings: dict[str, Any]
    threshold: dict[str, Any]
    metrics: dict[str, dict[str, Any]]
    training: list[dict[str, Any]]
    cut: dict[str, int]
    energy: dict[str, Any] | None

    def predictions(self, part: str) -> pl.DataFrame:
        """Read the cell's labels, predictions and probabilities on a part."""
        table = pl.read_parquet(self.folder / "predictions.parquet")
        return table.filter(pl.col("part") == part)


@dataclass(frozen=True)
class Study:
    """A study; ``rows`` and ``cells`` come best first, and those without a rank last.

    ``evidence`` is the comparison of the rows and ``subgroups`` the scores of the one handed over
    by kind of note, None where no row has all its seeds; ``curves`` are the scores over numbers of
    labelled notes and ``sites`` those on sites held out, None where the study asks for none.
    """

    about: dict[str, Any]
    rows: list[Row]
    cells: list[Cell]
    evidence: dict[str, Any] | None
    curves: dict[str, Any] | None
    subgroups: dict[str, Any] | None
    sites: dict[str, Any] | None

    @cached_property
    def done(self) -> list[Row]:
        """The rows that take part in the ranking."""
        return [row for row in self.rows if row.status == "done"]

    @cached_property
    def best(self) -> Row | None:
        """The row that did best on validation."""
        return next((row for row in self.done if row.best), None)

    @cached_property
    def finished(self) -> list[Cell]:
        """The cells that have metrics and predictions."""
        return [cell for cell in self.cells if cell.status == "done"]

    @cached_property
    def first_cells(self) -> list[Cell]:
        """The first finished seed of each row."""
        first: dict[str, Cell] = {}
        for cell in self.finished:
            first.setdefault(cell.row_id, cell)
        return list(first.values())

    @cached_property
    def handed_over(self) -> Cell | None:
        """The recommended cell, or else the one that leads on validation."""
        chosen = self.about["recommended"] or self.about["best"]
        return next((c for c in self.finished if chosen and c.id == chosen["cell"]), None)

    @cached_property
    def answers(self) -> dict[str, pl.DataFrame]:
        """Predictions of the cell handed over, by part; read once."""
        cell = self.handed_over
        return {} if cell is None else {p: cell.predictions(p) for p in ("validation", "test")}


def load(study_dir: Path) -> Study:
    """Read a study folder.

    Cells that the leaderboard does not know, left from an earlier edit of the study, stay out.

    Parameters
    ----------
    study_dir : Path
        A study folder.

    Returns
    -------
    Study
        Its rows and cells, best first.
    """
    about_file = study_dir / "study.json"
    if not about_file.is_file():
        raise FileNotFoundError(
            f"{study_dir} is not a study folder: it has no study.json. Run the study first."
        )
    about = json.loads(about_file.read_text(encoding="utf-8"))
    if about["format"] != FORMAT:
        raise ValueError(
            f"{about_file} has format {about['format']}; this version reads format {FORMAT}. "
            "Run the study again with this version."
        )
    rows = sorted(
        _rows(study_dir / "leaderboard.csv"),
        key=lambda row: (row.status != "done", row.rank is None, row.rank or 0),
    )
    place = {row.row_id: index for index, row in enumerate(rows)}
    cells = [_cell(file) for file in sorted(study_dir.glob("cells/*/result.json"))]
    known = [cell for cell in cells if cell.row_id in place]
    in_order = sorted(known, key=lambda cell: (place[cell.row_id], cell.seed))
    extras = (
        result_files.EVIDENCE,
        result_files.CURVES,
        result_files.SUBGROUPS,
        result_files.SITES,
    )
    return Study(
        about, rows, in_order, *(atomic_files.read_json(study_dir / name) for name in extras)
    )


def _rows(file: Path) -> list[Row]:
    # The column types follow the fields: a column that happens to be empty must not be guessed.
    types = {"str": pl.String, "int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean}
    schema = {field.name: types[str(field.type).split()[0]] for field in fields(Row)}
    table = pl.read_csv(file, columns=list(schema), schema_overrides=schema)
    return [Row(**record) for record in table.iter_rows(named=True)]


def _cell(file: Path) -> Cell:
    result = json.loads(file.read_text(encoding="utf-8"))
    return Cell(
        folder=file.parent,
        id=result["id"],
        row=result["row"],
        row_id=result["row_id"],
        seed=result["seed"],
        status=result["status"],
        reason=result["reason"],
        model=result["model"],
        settings=result["settings"],
        threshold=result.get("threshold") or {},
        metrics=result.get("metrics") or {},
        training=result.get("training") or [],
        cut=(result.get("data") or {}).get("cut") or {},
        energy=(result.get("cost") or {}).get("energy"),
    )
