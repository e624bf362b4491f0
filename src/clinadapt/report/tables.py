"""Tables and axes that the page lays out without plotly."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from clinadapt.core.messages import joined, translate
from clinadapt.evaluation.ranking import divide
from clinadapt.study.read_results import RunResult, StudyResults


@dataclass(frozen=True)
class Axis:
    """Score axis shared by the leaderboard's whiskers; positions are percentages of its length."""

    low: float
    high: float
    ticks: list[float]

    def at(self, value: float) -> float:
        """Return the position of a score on the axis."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)


def score_axis(scores: Iterable[float | None]) -> Axis:
    """Return an axis that covers all scores, with round ticks and padding at both ends."""
    ends = [score for score in scores if score is not None]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    span = max(high - low, 0.02)
    step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0) if span / s <= 4 or s == 1.0)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    padding = 0.06 * span
    return Axis(low - padding, high + padding, [tick * step for tick in range(first, last + 1)])


def unranked(study: StudyResults) -> list[tuple[str, str, str | None]]:
    """List configurations without a score, then failed seeds of the others, with reasons."""
    done = {configuration.configuration_id for configuration in study.done}
    reasons: dict[str, list[str]] = {}
    for run in study.runs:
        listed = reasons.setdefault(run.configuration_id, [])
        if run.reason and run.reason not in listed:
            listed.append(run.reason)
    return [
        (
            configuration.configuration,
            configuration.status,
            joined(reasons.get(configuration.configuration_id, []), "; ") or configuration.reason,
        )
        for configuration in study.configurations
        if configuration.configuration_id not in done
    ] + [
        (
            translate("{name}, seed {seed}", name=run.configuration, seed=run.seed),
            run.status,
            run.reason,
        )
        for run in study.runs
        if run.status != "done" and run.configuration_id in done
    ]


def metric_names(study: StudyResults) -> list[str]:
    """List the metrics of all runs, the primary one first."""
    names = dict.fromkeys(name for run in study.finished for name in run.metrics)
    return sorted(names, key=lambda name: name != study.about["metric"])


def confusion(run: RunResult, classes: Sequence[str]) -> list[list[int]]:
    """Count test notes by true class (down) and predicted class (across)."""
    pairs = Counter(run.predictions("test").select("label", "prediction").iter_rows())
    return [[pairs[true, predicted] for predicted in classes] for true in classes]


def per_label(run: RunResult, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return precision, recall, F1 and support of each label; None where undefined."""
    table = run.predictions("test")
    true, predicted = (
        table.select(pl.col(column).list.contains(c).alias(c) for c in classes).to_numpy()
        for column in ("label", "prediction")
    )
    support, hits = true.sum(axis=0), (true & predicted).sum(axis=0)
    positives = predicted.sum(axis=0)
    columns = (
        divide(hits, positives),
        divide(hits, support),
        divide(2 * hits, positives + support),
        support,
    )
    return [
        {
            "label": label,
            "precision": None if np.isnan(precision) else float(precision),
            "recall": None if np.isnan(recall) else float(recall),
            "f1": None if np.isnan(f1) else float(f1),
            "support": int(support),
        }
        for label, precision, recall, f1, support in zip(classes, *columns, strict=True)
    ]


def left_out(study: StudyResults) -> list[tuple[str, int]]:
    """Count the rows of the notes table that were left out by reason, the commonest first."""
    return Counter(row["reason"] for row in study.about["data"]["left_out"]).most_common()


def truncated(study: StudyResults) -> list[dict[str, Any]]:
    """Count truncated notes, once per reader: configurations with one encoder share the count."""
    lines = {
        (
            run.axes["encoder"] or run.axes["model"],
            *sorted(run.truncated.items()),
        ): run.truncated
        for run in study.finished
        if any(run.truncated.values())
    }
    return [{"reader": reader, **truncated} for (reader, *_), truncated in lines.items()]
