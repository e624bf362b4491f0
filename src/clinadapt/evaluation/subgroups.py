"""Scores in subgroups of the test notes: where a configuration performs worse.

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

from clinadapt.core.arrays import Floats
from clinadapt.core.messages import Message
from clinadapt.data.labels import Labels
from clinadapt.data.levels import NOTES, Unit
from clinadapt.data.text_store import Texts
from clinadapt.evaluation import metrics
from clinadapt.evaluation.paired_comparison import Difference, Predictions, corrected, difference

LENGTH = Message("note length")
UNKNOWN = Message("not recorded")
OTHER = Message("other")
# Spellings of bands: the lowest, those in between, the highest.
NUMBERS = (
    Message("below {high:g}"),
    Message("{low:g} to below {high:g}"),
    Message("{low:g} and more"),
)
WORDS = (
    Message("below {high:g} words"),
    Message("{low:g} to below {high:g} words"),
    Message("{low:g} words and more"),
)
MOST_LEVELS = 12
LEAST_NOTES = 10  # fewer are not informative and might identify a person
BANDS = 4


@dataclass(frozen=True, eq=False)
class Levels:
    """The levels of a column, and the level of each note.

    Attributes
    ----------
    names : list of str
        Names of the levels, in display order.
    codes : ndarray of int64, shape [note]
        Index of each note's level.
    """

    names: list[str]
    codes: NDArray[np.int64]


@dataclass(frozen=True)
class Subgroup:
    """A level of a column, and the scores of a configuration on its notes.

    Attributes
    ----------
    column, level : str
    notes, patients : int
    positive : float, optional
        Share of positive notes (binary tasks), on which F1 depends.
    score : metrics.Score
    gap : Difference
        Subgroup minus all other notes; negative where the subgroup scores worse.
    """

    column: str
    level: str
    notes: int
    patients: int
    positive: float | None
    score: metrics.Score
    gap: Difference

    def to_json(self, unit: Unit = NOTES) -> dict[str, Any]:
        """Return every number."""
        return {
            "column": self.column,
            "level": self.level,
            unit.many: self.notes,
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
    """Score a configuration on each level of each column.

    Parameters
    ----------
    labels : Labels
        Labels of the test notes.
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    metric : str
    predictions : sequence of (probabilities, predicted), both [note, class]
        Predictions of each seed; scores are means over the seeds.
    columns : mapping of str to Levels
        Columns with a single level are ignored.
    resamples : int
    """
    masks = {
        (column, name): levels.codes == code
        for column, levels in columns.items()
        if len(levels.names) > 1
        for code, name in enumerate(levels.names)
    }
    inside = {key: _Part(labels, predictions, metric, mask) for key, mask in masks.items()}
    outside = {key: _Part(labels, predictions, metric, ~mask) for key, mask in masks.items()}
    everyone = np.ones((1, len(clusters)))
    resampled: dict[tuple[str, str], list[tuple[Floats, Floats]]] = {key: [] for key in masks}
    for weights in metrics.resample_weights(clusters, resamples, 0):
        for key, chunks in resampled.items():
            chunks.append((inside[key](weights), outside[key](weights)))
    scored, gaps = [], []
    sign, freedom = metrics.sign(metric), len(np.unique(clusters)) - 1
    for key, mask in masks.items():
        own, others = (np.concatenate(side) for side in zip(*resampled[key], strict=True))
        value = float(inside[key](everyone)[0])
        gap = value - float(outside[key](everyone)[0])
        gaps.append(difference(sign * gap, sign * (own - others), freedom))
        scored.append((key, mask, inside[key].score(clusters)))
    return [
        Subgroup(
            *key,
            notes=int(mask.sum()),
            patients=len(np.unique(clusters[mask])),
            positive=float(labels.matrix[mask, 1].mean()) if labels.task == "binary" else None,
            score=score,
            gap=gap,
        )
        for (key, mask, score), gap in zip(scored, corrected(gaps), strict=True)
    ]


class _Part:
    """A metric on some of the notes, mean over seeds, as a function of all notes' weights."""

    def __init__(
        self,
        labels: Labels,
        predictions: Sequence[Predictions],
        metric: str,
        mask: NDArray[np.bool_],
    ) -> None:
        self.rows, self.metric = np.flatnonzero(mask), metric
        self.labels = labels.take(self.rows)
        self.predictions = [
            (probabilities[self.rows], predicted[self.rows])
            for probabilities, predicted in predictions
        ]
        self.seeds = [metrics.Statistics(self.labels, *pair, [metric]) for pair in self.predictions]

    def __call__(self, weights: Floats) -> Floats:
        own = weights[:, self.rows]
        return np.mean([statistics(own)[self.metric] for statistics in self.seeds], axis=0)

    def score(self, clusters: NDArray[np.int64]) -> metrics.Score:
        """Return the mean over seeds with its interval."""
        patients = clusters[self.rows]
        scores = metrics.mean_scores(self.labels, self.predictions, patients, [self.metric])
        return scores[self.metric]


def sentences(subgroups: Sequence[Subgroup], unit: Unit = NOTES) -> list[str]:
    """Return the worst gap and every significant one in words."""
    known = [item for item in subgroups if not np.isnan(item.gap.value)]
    if not known:
        return []
    worst = min(known, key=lambda item: item.gap.value)
    others = [item for item in known if item.gap.different and item is not worst]
    return [
        Message(
            "The worst of {count} subgroups is {group}.", count=len(known), group=_said(worst, unit)
        ),
        *(
            Message("Also significantly different: {group}.", group=_said(item, unit))
            for item in others
        ),
    ]


def _said(item: Subgroup, unit: Unit) -> Message:
    said = {
        "column": item.column,
        "level": item.level,
        "notes": item.notes,
        "units": unit.many,
        "score": item.score.value,
        "low": item.score.low,
        "high": item.score.high,
        "gap": item.gap.value,
        "gap_low": item.gap.low,
        "gap_high": item.gap.high,
    }
    if item.gap.different:
        return Message(
            "{column} {level} ({notes:,} {units}): {score:.3f} [{low:.3f}, {high:.3f}], "
            "{gap:points} points [{gap_low:points}, {gap_high:points}] compared with the other "
            "{units}, which is significant",
            **said,
        )
    return Message(
        "{column} {level} ({notes:,} {units}): {score:.3f} [{low:.3f}, {high:.3f}], "
        "{gap:points} points [{gap_low:points}, {gap_high:points}] compared with the other "
        "{units}, which is not significant",
        **said,
    )


# ---------------------------------------------------------------- levels


def levels_of(texts: Texts | None, characteristics: Mapping[str, Texts]) -> dict[str, Levels]:
    """Return the levels of each column that describes the notes, and of their length in words.

    Numbers with many values become four bands of about equal numbers of notes. Other columns keep
    their twelve most frequent values that have at least ten notes; the rest become one level.

    Parameters
    ----------
    texts : Texts [note], optional
        None for patients, whose documents have no length that means anything.
    characteristics : mapping of str to Texts [note]
    """
    length = {}
    if texts is not None:
        words = np.fromiter((len(text.split()) for text in texts), np.float64, len(texts))
        length = {LENGTH: _bands(words, WORDS)}
    return length | {name: _levels(list(column)) for name, column in characteristics.items()}


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
    """Return the values as numbers, NaN for empty ones; None if any is not a number."""
    try:
        return np.array([float(value) if value else np.nan for value in values])
    except ValueError:
        return None


def _bands(numbers: Floats, spelling: tuple[Message, ...] = NUMBERS) -> Levels:
    known = numbers[~np.isnan(numbers)]
    shares = np.arange(1, BANDS) / BANDS
    ends = np.unique(np.quantile(known, shares, method="inverted_cdf"))
    ends = ends[ends > known.min()]
    first, inner, last = spelling
    names: list[str] = [Message(last, low=ends[-1] if len(ends) else known.min())]
    if len(ends):
        between = [Message(inner, low=low, high=high) for low, high in pairwise(ends)]
        names = [Message(first, high=ends[0]), *between, *names]
    places = np.digitize(numbers, ends)  # NaN falls into the last, and is replaced below
    spelled = [
        UNKNOWN if np.isnan(number) else names[place]
        for number, place in zip(numbers, places, strict=True)
    ]
    return _coded([*names, UNKNOWN], spelled)


def _coded(names: list[str], spelled: list[str]) -> Levels:
    """Return the levels of notes, without levels that no note has."""
    used = set(spelled)
    names = [name for name in names if name in used]
    place = {name: number for number, name in enumerate(names)}
    return Levels(names, np.array([place[name] for name in spelled], dtype=np.int64))
