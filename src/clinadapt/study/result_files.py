"""A study's folder: what a run writes, and the leaderboard made of it.

``cells/<id>/result.json`` is the commit point of a run: it is written last and at once, so a
study that is killed at any moment finds each run either finished or not begun.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clinadapt.core import atomic_files, old_names
from clinadapt.data.labels import Labels
from clinadapt.evaluation import metrics

FORMAT = 2  # 1 had the names of version 0.1
RUNS = "cells"
RESULT = "result.json"
BUNDLE = "bundle"
LEADERBOARD = "leaderboard.csv"
LEDGER = "ledger.csv"
EVIDENCE = "evidence.json"
CURVES = "curves.json"
SITES = "sites.json"
SUBGROUPS = "subgroups.json"
COSTS = (
    "encode_seconds",
    "fit_seconds",
    "predict_seconds",
    "peak_memory_bytes",
    "trainable_parameters",
    "total_parameters",
    "disk_bytes",
)
LEADERBOARD_COLUMNS: dict[str, Any] = {
    "rank": pl.Int64,
    "configuration": pl.String,
    "configuration_id": pl.String,
    "status": pl.String,
    "reason": pl.String,
    "model": pl.String,
    "encoder": pl.String,
    "adapter": pl.String,
    "placement": pl.String,
    "tuned_layers": pl.String,
    "seeds": pl.Int64,
    "best": pl.Boolean,
    "recommended": pl.Boolean,
    "group": pl.Int64,
    "metric": pl.String,
    "validation": pl.Float64,
    "test": pl.Float64,
    "test_low": pl.Float64,
    "test_high": pl.Float64,
    **{name: pl.Float64 if name.endswith("seconds") else pl.Int64 for name in COSTS[:-1]},
    "notes": pl.String,
}


def test_interval(
    seeds: list[tuple[NDArray[np.float64], NDArray[np.bool_]]],
    labels: Labels,
    clusters: NDArray[np.int64],
    metric: str,
    resamples: int,
) -> metrics.Score:
    """Mean of a metric over a configuration's seeds, with its interval by bootstrap over patients.

    Each resample of patients is scored under every seed and the mean taken, so that the interval
    is the mean's.

    Parameters
    ----------
    seeds : list of (probabilities, predicted), both [note, class]
        Of each seed, on the same notes.
    labels : Labels
    clusters : ndarray of int64, shape [note]
    metric : str
    resamples : int
    """
    each = [metrics.Statistics(labels, *seed, [metric]) for seed in seeds]

    def mean_over_seeds(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {metric: np.mean([statistics(weights)[metric] for statistics in each], axis=0)}

    return metrics.bootstrap(clusters, mean_over_seeds, resamples)[metric]


def read_result_file(path: Path) -> dict[str, Any] | None:
    """Return a result file's content under today's names; None if it is absent or damaged.

    Files of version 0.1 have format 1, or no format and the names of then.
    """
    content = atomic_files.read_json(path)
    if content is None:
        return None
    old = content.get("format", 1 if {"row", "rows", "row_id"} & content.keys() else FORMAT)
    if old == FORMAT:
        return content
    old_names.tell_once(str(path.parent))
    return {**old_names.result(content), "format": FORMAT}


def read_leaderboard(path: Path, columns: Mapping[str, Any]) -> pl.DataFrame:
    """Return columns of a leaderboard, or of one of version 0.1, with their types.

    Parameters
    ----------
    path : Path
        Of the CSV file.
    columns : mapping of str to polars type
    """
    header = pl.read_csv(path, n_rows=0).columns
    if not set(old_names.RESULT) & set(header):
        return pl.read_csv(path, columns=list(columns), schema_overrides=dict(columns))
    old_names.tell_once(str(path.parent))
    today = {name: old_names.RESULT.get(name, name) for name in header}
    types = {name: columns[new] for name, new in today.items() if new in columns}
    table = pl.read_csv(path, columns=list(types), schema_overrides=types)
    return table.rename({name: today[name] for name in types}).select(list(columns))


def leaderboard(configurations: list[dict[str, Any]], metric: str, synthetic: bool) -> pl.DataFrame:
    """One line a configuration, best on validation first; configurations without a result last."""
    sign = -metrics.sign(metric)
    ordered = sorted(
        configurations,
        key=lambda configuration: (
            configuration["status"] != "done",
            sign * (configuration.get("validation") or 0.0),
        ),
    )
    rank = 0
    for configuration in ordered:
        configuration["notes"] = "synthetic" if synthetic else "real"
        if configuration["status"] == "done":
            rank += 1
            configuration["rank"] = rank
    return pl.DataFrame(
        [
            {name: configuration.get(name) for name in LEADERBOARD_COLUMNS}
            for configuration in ordered
        ],
        schema=LEADERBOARD_COLUMNS,
        orient="row",
    )
