"""A study's folder: what a cell writes, and the leaderboard made of it.

``cells/<id>/result.json`` is the commit point of a cell: it is written last and at once, so a
study that is killed at any moment finds each cell either finished or not begun.
"""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clinadapt.data.labels import Labels
from clinadapt.evaluation import metrics

CELLS = "cells"
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
    "row": pl.String,
    "row_id": pl.String,
    "status": pl.String,
    "reason": pl.String,
    "family": pl.String,
    "encoder": pl.String,
    "structure": pl.String,
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
    """Mean of a metric over a row's seeds, with its interval by bootstrap over patients.

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


def leaderboard(rows: list[dict[str, Any]], metric: str, synthetic: bool) -> pl.DataFrame:
    """One line a row, best on validation first; rows without a result last."""
    sign = -metrics.sign(metric)
    ordered = sorted(
        rows,
        key=lambda row: (row["status"] != "done", sign * (row.get("validation") or 0.0)),
    )
    rank = 0
    for row in ordered:
        row["notes"] = "synthetic" if synthetic else "real"
        if row["status"] == "done":
            rank += 1
            row["rank"] = rank
    return pl.DataFrame(
        [{name: row.get(name) for name in LEADERBOARD_COLUMNS} for row in ordered],
        schema=LEADERBOARD_COLUMNS,
        orient="row",
    )
