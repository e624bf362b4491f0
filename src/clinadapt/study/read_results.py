"""Read a study folder back into plain values; nothing is computed here."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.core.atomic_files import read_json
from clinadapt.core.errors import InputError
from clinadapt.data.levels import UNITS, Unit
from clinadapt.data.prediction_tables import read_run
from clinadapt.study import result_files

READ_FORMATS = (1, result_files.FORMAT)


class NoStudyError(InputError, FileNotFoundError):
    """A folder holds no study."""


@dataclass(frozen=True)
class LeaderboardRow:
    """A line of the leaderboard; its numbers are means over the configuration's seeds."""

    rank: int | None
    configuration: str
    configuration_id: str
    status: str
    reason: str | None
    model: str | None
    encoder: str | None
    adapter: str | None
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
        """Seconds to encode the notes and fit the configuration on them."""
        if self.fit_seconds is None:
            return None
        return (self.encode_seconds or 0.0) + self.fit_seconds


@dataclass(frozen=True)
class RunResult:
    """Result of a configuration with one seed."""

    folder: Path
    id: str
    configuration: str
    configuration_id: str
    seed: int
    status: str
    reason: str | None
    axes: dict[str, Any]
    settings: dict[str, Any]
    threshold: dict[str, Any]
    aggregation: dict[str, Any] | None
    metrics: dict[str, dict[str, Any]]
    training: list[dict[str, Any]]
    truncated: dict[str, int]
    calibration: dict[str, Any] | None
    energy: dict[str, Any] | None
    decisions: dict[str, float] | None = None

    def predictions(self, part: str) -> pl.DataFrame:
        """Return labels, predictions and probabilities on a part: a row per note, or patient."""
        return read_run(self.folder).filter(pl.col("part") == part)


@dataclass(frozen=True)
class StudyResults:
    """Results of a study.

    Attributes
    ----------
    about : dict
        Content of ``study.json``.
    configurations : list of LeaderboardRow
        Best first; those without a rank last.
    runs : list of RunResult
        In the order of the configurations, then by seed.
    evidence : dict, optional
        Comparison of the configurations; None where no configuration has all its seeds.
    curves : dict, optional
        Scores by number of labelled notes; None where the study asks for none.
    subgroups : dict, optional
        Scores of the recommended or best configuration by subgroup; None like `evidence`.
    sites : dict, optional
        Scores on held-out sites; None where the study asks for none.
    checks : dict, optional
        Findings of checks; None in studies of before.
    abstention : dict, optional
        What the recommended or best configuration leaves to a person; None like `evidence`, and in
        studies of earlier versions.
    """

    about: dict[str, Any]
    configurations: list[LeaderboardRow]
    runs: list[RunResult]
    evidence: dict[str, Any] | None
    curves: dict[str, Any] | None
    subgroups: dict[str, Any] | None
    sites: dict[str, Any] | None
    checks: dict[str, Any] | None
    abstention: dict[str, Any] | None = None

    @cached_property
    def unit(self) -> Unit:
        """What was classified and scored: notes, or patients."""
        return UNITS[self.about["design"].get("level", "note")]

    @cached_property
    def done(self) -> list[LeaderboardRow]:
        """Configurations with a rank."""
        return [
            configuration for configuration in self.configurations if configuration.status == "done"
        ]

    @cached_property
    def best(self) -> LeaderboardRow | None:
        """The best configuration on validation, if any finished."""
        return next((configuration for configuration in self.done if configuration.best), None)

    @cached_property
    def finished(self) -> list[RunResult]:
        """Runs with metrics and predictions."""
        return [run for run in self.runs if run.status == "done"]

    @cached_property
    def first_runs(self) -> list[RunResult]:
        """The first finished seed of each configuration."""
        first: dict[str, RunResult] = {}
        for run in self.finished:
            first.setdefault(run.configuration_id, run)
        return list(first.values())

    @cached_property
    def handed_over(self) -> RunResult | None:
        """The recommended run, or else the best on validation."""
        chosen = self.about["recommended"] or self.about["best"]
        return next((c for c in self.finished if chosen and c.id == chosen["run"]), None)

    @cached_property
    def answers(self) -> dict[str, pl.DataFrame]:
        """Predictions of the run handed over, by part; read once."""
        run = self.handed_over
        return {} if run is None else {p: run.predictions(p) for p in ("validation", "test")}


def load(study_dir: Path) -> StudyResults:
    """Read a study folder.

    Runs that are not in the leaderboard, left over from an earlier version of the study file, are
    ignored.

    Parameters
    ----------
    study_dir : Path
        A study's folder.

    Raises
    ------
    NoStudyError
        The folder holds no study.
    InputError
        A file is damaged, or in a format that this version does not read.
    """
    about_file = study_dir / "study.json"
    if not about_file.is_file():
        raise NoStudyError(
            f"{study_dir} is not a study folder: it has no study.json. Run the study first."
        )
    content = read_json(about_file)
    if content is None:
        raise InputError(_damaged(about_file))
    written = content.get("format")
    if written not in READ_FORMATS:
        raise InputError(
            f"{about_file} has format {written}; this version reads formats "
            f"{' and '.join(map(str, READ_FORMATS))}. Run the study again with this version."
        )
    about = result_files.read_result_file(about_file)
    assert about is not None
    configurations = sorted(
        _rows(study_dir / "leaderboard.csv"),
        key=lambda configuration: (
            configuration.status != "done",
            configuration.rank is None,
            configuration.rank or 0,
        ),
    )
    place = {
        configuration.configuration_id: index for index, configuration in enumerate(configurations)
    }
    runs = [_run_result(file) for file in sorted(study_dir.glob("cells/*/result.json"))]
    known = [run for run in runs if run.configuration_id in place]
    in_order = sorted(known, key=lambda run: (place[run.configuration_id], run.seed))
    extras = (
        result_files.EVIDENCE,
        result_files.CURVES,
        result_files.SUBGROUPS,
        result_files.SITES,
        result_files.CHECKS,
        result_files.ABSTENTION,
    )
    return StudyResults(
        about,
        configurations,
        in_order,
        *(_if_there(study_dir / name) for name in extras),
    )


def _if_there(file: Path) -> dict[str, Any] | None:
    content = result_files.read_result_file(file)
    if content is None and file.exists():
        raise InputError(_damaged(file))
    return content


def _rows(file: Path) -> list[LeaderboardRow]:
    # Types come from the fields: polars cannot infer the type of an empty column.
    types = {"str": pl.String, "int": pl.Int64, "float": pl.Float64, "bool": pl.Boolean}
    schema = {field.name: types[str(field.type).split()[0]] for field in fields(LeaderboardRow)}
    try:
        table = result_files.read_leaderboard(file, schema)
        is_cut = not file.read_bytes().endswith(b"\n")  # polars fills up a cut line
    except (OSError, pl.exceptions.PolarsError):
        is_cut = True
    if is_cut:
        raise InputError(_damaged(file))
    return [LeaderboardRow(**record) for record in table.iter_rows(named=True)]


def _damaged(file: Path) -> str:
    return f"{file} is missing or damaged: give the command of the study again to make it anew"


def _run_result(file: Path) -> RunResult:
    result = result_files.read_result(file)
    if result is None:
        raise InputError(_damaged(file))
    return RunResult(
        folder=file.parent,
        id=result["id"],
        configuration=result["configuration"],
        configuration_id=result["configuration_id"],
        seed=result["seed"],
        status=result["status"],
        reason=result["reason"],
        axes=result["axes"],
        settings=result["settings"],
        threshold=result.get("threshold") or {},
        aggregation=result.get("aggregation"),
        metrics=result.get("metrics") or {},
        training=result.get("training") or [],
        truncated=(result.get("data") or {}).get("truncated") or {},
        calibration=result.get("calibration"),
        energy=(result.get("cost") or {}).get("energy"),
        decisions=result.get("decisions"),
    )
