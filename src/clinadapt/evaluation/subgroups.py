"""Scores in subgroups of the test notes: for whom, and for which notes, a row does less well.

A subgroup is a level of a column that describes the notes, or of their length. Each is compared
with all other test notes on the same resamples of patients, so that a patient with notes on both
sides counts on both; the comparisons are corrected together (Holm).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.data.labels import Labels
from clinadapt.data.text_store import Texts
from clinadapt.evaluation import metrics
from clinadapt.evaluation.paired_comparison import (
    Difference,
    Floats,
    Predictions,
    corrected,
    difference,
)

LENGTH = "note length"
UNKNOWN = "not recorded"
OTHER = "other"
MOST_LEVELS = 12
LEAST_NOTES = 10  # fewer say nothing, and might point at a person
BANDS = 4


@dataclass(frozen=True, eq=False)
class Levels:
    """A column cut into levels.

    Attributes
    ----------
    names : list of str
        In the order in which they are shown.
    codes : ndarray of int64, shape [note]
        Number of each note's level.
    """

    names: list[str]
    codes: NDArray[np.int64]


@dataclass(frozen=True)
class Subgroup:
    """A level of a column, and how a row does on its notes.

    Attributes
    ----------
    column, level : str
    notes, patients : int
    positive : float, optional
        Share of positive notes (binary tasks), which F1 hangs on.
    score : metrics.Score
    gap : Difference
        Less the other notes; negative where the subgroup fares worse.
    """

    column: str
    level: str
    notes: int
    patients: int
    positive: float | None
    score: metrics.Score
    gap: Difference

    def to_json(self) -> dict[str, Any]:
        """Every number."""
        return {
            "column": self.column,
            "level": self.level,
            "notes": self.notes,
            "patients": self.patients,
            "positive": self.positive,
            **self.score.to_json(),
            "gap": self.gap.to_json(),
        }


def compare_subgroups(
    labels: Labels,
    clusters: NDArray[np.int64],
    metric: str,
    predictions: Sequence[Predictions],
    columns: Mapping[str, Levels],
    resamples: int = 1000,
) -> list[Subgroup]:
    """Score a row on each level of each column.

    Parameters
    ----------
    labels : Labels
        Of the test notes.
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    metric : str
    predictions : sequence of (probabilities, predicted), both [note, class]
        Of each seed of the row; scores are means over them.
    columns : mapping of str to Levels
        A column with one level has no subgroups.
    resamples : int
    """
    asked = {
        (column, name): levels.codes == code
        for column, levels in columns.items()
        if len(levels.names) > 1
        for code, name in enumerate(levels.names)
    }
    inside = {key: _Part(labels, predictions, metric, mask) for key, mask in asked.items()}
    outside = {key: _Part(labels, predictions, metric, ~mask) for key, mask in asked.items()}
    everyone = np.ones((1, len(clusters)))
    drawn: dict[tuple[str, str], list[tuple[Floats, Floats]]] = {key: [] for key in asked}
    for weights in metrics.resample_weights(clusters, resamples, 0):
        for key, several in drawn.items():
            several.append((inside[key](weights), outside[key](weights)))
    found, gaps = [], []
    sign, freedom = metrics.sign(metric), len(np.unique(clusters)) - 1
    for key, mask in asked.items():
        own, others = (np.concatenate(side) for side in zip(*drawn[key], strict=True))
        value = float(inside[key](everyone)[0])
        gap = value - float(outside[key](everyone)[0])
        gaps.append(difference(sign * gap, sign * (own - others), freedom))
        reason = "undefined on these notes" if np.isnan(value) else None
        found.append((key, mask, metrics.Score(value, *metrics.interval(own), reason)))
    return [
        Subgroup(
            *key,
            notes=int(mask.sum()),
            patients=len(np.unique(clusters[mask])),
            positive=float(labels.matrix[mask, 1].mean()) if labels.task == "binary" else None,
            score=score,
            gap=gap,
        )
        for (key, mask, score), gap in zip(found, corrected(gaps), strict=True)
    ]


class _Part:
    """A metric of some of the notes, mean over seeds, as a function of all notes' weights."""

    def __init__(
        self,
        labels: Labels,
        predictions: Sequence[Predictions],
        metric: str,
        mask: NDArray[np.bool_],
    ) -> None:
        self.rows, self.metric = np.flatnonzero(mask), metric
        some = labels.take(self.rows)
        self.seeds = [
            metrics.Statistics(some, probabilities[self.rows], predicted[self.rows], [metric])
            for probabilities, predicted in predictions
        ]

    def __call__(self, weights: Floats) -> Floats:
        own = weights[:, self.rows]
        return np.mean([statistics(own)[self.metric] for statistics in self.seeds], axis=0)


def sentences(found: Sequence[Subgroup]) -> list[str]:
    """The worst gap, and every one that can be told from none."""
    known = [item for item in found if not np.isnan(item.gap.value)]
    if not known:
        return []
    worst = min(known, key=lambda item: item.gap.value)
    told = [f"Of {len(known)} subgroups the lowest is {_spelled(worst)}."]
    others = [item for item in known if item.gap.different and item is not worst]
    told += [f"Also told apart: {_spelled(item)}." for item in others]
    return told


def _spelled(item: Subgroup) -> str:
    points = [100 * end for end in (item.gap.value, item.gap.low, item.gap.high)]
    spelled = "{:+.1f} points [{:+.1f}, {:+.1f}]".format(*points)
    verdict = "can be told from none" if item.gap.different else "cannot be told from none"
    return (
        f"{item.column} {item.level} ({item.notes:,} notes): {item.score.value:.3f} "
        f"[{item.score.low:.3f}, {item.score.high:.3f}], {spelled} against the other notes, "
        f"which {verdict}"
    )


# ---------------------------------------------------------------- levels


def levels_of(texts: Texts, characteristics: Mapping[str, Texts]) -> dict[str, Levels]:
    """Levels of each column that describes the notes, and of their length in words.

    Numbers with many values become four bands of about as many notes each. Of other columns the
    twelve most frequent levels are kept, those of fewer than ten notes left aside; the rest is one
    level.

    Parameters
    ----------
    texts : Texts [note]
    characteristics : mapping of str to Texts [note]
    """
    words = np.fromiter((len(text.split()) for text in texts), np.float64, len(texts))
    found = {LENGTH: _bands(words, " words")}
    return found | {name: _levels(list(column)) for name, column in characteristics.items()}


def _levels(values: list[str]) -> Levels:
    numbers = _numbers(values)
    if numbers is not None and len(np.unique(numbers[~np.isnan(numbers)])) > MOST_LEVELS:
        return _bands(numbers)
    counted = Counter(value for value in values if value)
    kept = [name for name, n in counted.most_common(MOST_LEVELS) if n >= LEAST_NOTES]
    kept.sort(key=(lambda name: (name,)) if numbers is None else (lambda name: (float(name), name)))
    spelled = [UNKNOWN if not value else value if value in kept else OTHER for value in values]
    return _coded([*kept, OTHER, UNKNOWN], spelled)


def _numbers(values: list[str]) -> Floats | None:
    """The values as numbers, NaN where there is none; None if any is no number."""
    try:
        return np.array([float(value) if value else np.nan for value in values])
    except ValueError:
        return None


def _bands(numbers: Floats, unit: str = "") -> Levels:
    known = numbers[~np.isnan(numbers)]
    cuts = np.arange(1, BANDS) / BANDS
    ends = np.unique(np.quantile(known, cuts, method="inverted_cdf"))
    ends = ends[ends > known.min()]
    between = [f"{low:g} to below {high:g}{unit}" for low, high in pairwise(ends)]
    names = (
        [f"below {ends[0]:g}{unit}", *between, f"{ends[-1]:g}{unit} and more"]
        if len(ends)
        else [f"{known.min():g}{unit} and more"]
    )
    places = np.digitize(numbers, ends)  # of NaN, the last
    spelled = [
        UNKNOWN if np.isnan(number) else names[place]
        for number, place in zip(numbers, places, strict=True)
    ]
    return _coded([*names, UNKNOWN], spelled)


def _coded(names: list[str], spelled: list[str]) -> Levels:
    """Levels of notes, those that no note has left away."""
    there = set(spelled)
    names = [name for name in names if name in there]
    place = {name: number for number, name in enumerate(names)}
    return Levels(names, np.array([place[name] for name in spelled], dtype=np.int64))
