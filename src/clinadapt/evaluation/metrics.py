"""Scores of a classifier, each with an interval by jackknife over patients.

Every score is a function of the notes' weights. With weights of 1 it equals scikit-learn's value;
with weights of 0 for one patient's notes, that without the patient; with the multinomial weights of
a bootstrap resample, that on the resample. One vectorised pass over a [row, note] weight matrix
therefore gives the value and its interval, where scikit-learn's functions would take minutes per
run. The tests compare both with scikit-learn.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.arrays import Floats
from clinadapt.core.messages import Message
from clinadapt.data.labels import Labels, Task
from clinadapt.evaluation import intervals
from clinadapt.evaluation.ranking import Ranking, auprc, auroc, divide

PRIMARY: dict[Task, str] = {"binary": "f1", "multiclass": "f1_macro", "multilabel": "f1_weighted"}
THRESHOLDED = {
    "binary": ("accuracy", "precision", "recall", "f1", "f1_macro", "f1_weighted", "mcc"),
    "multiclass": (
        "accuracy",
        "precision_macro",
        "recall_macro",
        "f1_macro",
        "precision_weighted",
        "recall_weighted",
        "f1_weighted",
        "mcc",
    ),
    "multilabel": (
        "accuracy",
        "precision_macro",
        "recall_macro",
        "f1_macro",
        "precision_weighted",
        "recall_weighted",
        "f1_weighted",
        "f1_micro",
        "mcc",
    ),
}
PROBABILISTIC = ("auroc", "auprc", "brier", "ece")
LOSSES = ("brier", "ece")  # lower is better
ECE_BINS = 10

REASONS = {
    "precision": Message("no note was predicted positive"),
    "recall": Message("no note is positive"),
    "f1": Message("no note is positive and none was predicted positive"),
    "mcc": Message("the labels contain only one class"),
    "auroc": Message("for some class, no note or every note is positive"),
    "auprc": Message("for some class, no note is positive"),
}


@dataclass(frozen=True)
class Score:
    """A metric's value with its 95 % interval; NaN, with a reason, where it is undefined."""

    value: float
    low: float
    high: float
    reason: str | None = None

    def to_json(self) -> dict[str, float | str | None]:
        """Return value, low and high, with null for NaN, and the reason if there is one."""
        numbers = {name: getattr(self, name) for name in ("value", "low", "high")}
        entry: dict[str, float | str | None] = {
            name: None if np.isnan(number) else float(number) for name, number in numbers.items()
        }
        return entry | ({"reason": self.reason} if self.reason else {})


def sign(name: str) -> float:
    """Return 1 for a metric of which higher is better, -1 for a loss."""
    return -1.0 if name in LOSSES else 1.0


def ends(name: str, task: Task) -> tuple[float, float]:
    """Return the smallest and the largest possible value of a metric."""
    if name == "mcc":
        return -1.0, 1.0
    return 0.0, 2.0 if (name, task) == ("brier", "multiclass") else 1.0


def metric_names(task: Task) -> tuple[str, ...]:
    """Return the names of all metrics of a task."""
    return THRESHOLDED[task] + PROBABILISTIC


# ---------------------------------------------------------------- scores from predicted classes


@dataclass(frozen=True)
class Counts:
    """Weighted counts of notes.

    Attributes
    ----------
    hit, predicted, actual : ndarray, shape [..., class]
        True positives, predicted positives and actual positives.
    total, exact : ndarray, shape [...]
        All notes, and notes with every class right.
    """

    hit: Floats
    predicted: Floats
    actual: Floats
    total: Floats
    exact: Floats


def count(labels: NDArray[np.bool_], predicted: NDArray[np.bool_], weights: Floats) -> Counts:
    """Count hits under each row of `weights` [resample, note]."""
    return Counts(
        hit=weights @ (labels & predicted),
        predicted=weights @ predicted.astype(np.float64),
        actual=weights @ labels.astype(np.float64),
        total=weights.sum(axis=-1),
        exact=weights @ (labels == predicted).all(axis=1).astype(np.float64),
    )


def thresholded(name: str, task: Task, counts: Counts) -> Floats:
    """Return a metric of predicted classes, NaN where it is undefined, shape [...]."""
    kind, _, average = name.partition("_")
    if kind == "accuracy":  # in a multi-label task: all labels of the note right
        return divide(counts.exact, counts.total)
    if kind == "mcc":
        return _mcc(task, counts)
    per_class = {
        "precision": (counts.hit, counts.predicted),
        "recall": (counts.hit, counts.actual),
        "f1": (2 * counts.hit, counts.predicted + counts.actual),
    }[kind]
    if not average:  # the positive class of a binary task
        return divide(per_class[0][..., 1], per_class[1][..., 1])
    if average == "micro":
        return divide(per_class[0].sum(-1), per_class[1].sum(-1))
    # As in scikit-learn: a class that is never predicted has precision 0 within an average. One
    # that occurs neither in the labels nor in the predictions is left out of a single-label task,
    # and is a label with score 0 in a multi-label one.
    values = np.nan_to_num(divide(*per_class))
    present = (counts.predicted + counts.actual > 0) | (task == "multilabel")
    share = counts.actual if average == "weighted" else present.astype(np.float64)
    return divide((values * share).sum(-1), share.sum(-1))


def _mcc(task: Task, counts: Counts) -> Floats:
    """Return the Matthews correlation: 0 for the same answer to every note, as for a guess."""
    if task == "multilabel":  # mean over labels of each label's own coefficient
        n = counts.total[..., None]
        covariance = counts.hit * n - counts.predicted * counts.actual
        spread = counts.predicted * (n - counts.predicted) * counts.actual * (n - counts.actual)
        known = (counts.actual > 0) & (counts.actual < n)
        return _mean_defined(np.where(known, _correlation(covariance, spread), np.nan))
    # Gorodkin 2004, from marginal counts alone.
    hits, n = counts.hit.sum(-1), counts.total
    covariance = hits * n - (counts.predicted * counts.actual).sum(-1)
    of_labels = n**2 - (counts.actual**2).sum(-1)
    spread = (n**2 - (counts.predicted**2).sum(-1)) * of_labels
    return np.where(of_labels > 0, _correlation(covariance, spread), np.nan)


def _correlation(covariance: Floats, spread: Floats) -> Floats:
    return np.nan_to_num(divide(covariance, np.sqrt(spread)))


def _mean_defined(values: Floats) -> Floats:
    """Return the mean of the defined values over the last axis, NaN if none is defined."""
    defined = ~np.isnan(values)
    return divide(np.where(defined, values, 0.0).sum(-1), defined.sum(-1).astype(np.float64))


# ---------------------------------------------------------------- scores from probabilities


def brier(task: Task, labels: NDArray[np.bool_], probabilities: Floats, weights: Floats) -> Floats:
    """Return the Brier score, shape [resample].

    Binary tasks: squared error of the positive class; multi-class: summed over classes, both as
    in `sklearn.metrics.brier_score_loss`; multi-label: mean over labels.
    """
    squared = (probabilities - labels) ** 2
    per_note = {
        "binary": squared[:, -1],
        "multiclass": squared.sum(axis=1),
        "multilabel": squared.mean(axis=1),
    }[task]
    return divide(weights @ per_note, weights.sum(axis=1))


def ece(task: Task, labels: NDArray[np.bool_], probabilities: Floats, weights: Floats) -> Floats:
    """Return the expected calibration error over ten bins of equal width (Naeini et al. 2015).

    It is computed for the positive class (binary), for the most probable class (multi-class; Guo
    et al. 2017), or as the mean over labels (multi-label).
    """
    if task == "binary":
        return _ece(labels[:, 1], probabilities[:, 1], weights)
    if task == "multiclass":
        top = probabilities.argmax(axis=1)
        rows = np.arange(len(top))
        return _ece(labels[rows, top], probabilities[rows, top], weights)
    columns = range(labels.shape[1])
    each = [_ece(labels[:, column], probabilities[:, column], weights) for column in columns]
    return np.mean(each, axis=0)


def _ece(events: NDArray[np.bool_], probabilities: Floats, weights: Floats) -> Floats:
    bins = np.clip((probabilities * ECE_BINS).astype(np.int64), 0, ECE_BINS - 1)
    member = bins[:, None] == np.arange(ECE_BINS)
    gap = weights @ (member * (events - probabilities)[:, None])
    return divide(np.abs(gap).sum(axis=1), weights.sum(axis=1))


# ---------------------------------------------------------------- values with intervals


def resample_weights(
    clusters: NDArray[np.int64], resamples: int, seed: int
) -> Iterable[NDArray[np.float64]]:
    """Yield weights [chunk of resamples, note] of bootstrap resamples over clusters.

    As many clusters as there are are drawn with replacement; the weight of a note is how often its
    patient was drawn (cluster bootstrap, Field & Welsh 2007).
    """
    names, cluster_of = np.unique(clusters, return_inverse=True)
    generator = np.random.default_rng(seed)
    share = np.full(len(names), 1.0 / len(names))
    at_once = intervals.chunk_rows(len(clusters))
    for start in range(0, resamples, at_once):
        chunk = min(at_once, resamples - start)
        draws = generator.multinomial(len(names), share, size=chunk)
        yield draws[:, cluster_of].astype(np.float64)


class Statistics:
    """Metrics of predictions as a function of the notes' weights; the notes are ranked once.

    Parameters
    ----------
    labels : Labels
    probabilities : ndarray of float64, shape [note, class]
    predicted : ndarray of bool, shape [note, class]
    names : iterable of str, optional
        Names of metrics; default: all metrics of the task.
    """

    def __init__(
        self,
        labels: Labels,
        probabilities: Floats,
        predicted: NDArray[np.bool_],
        names: Iterable[str] | None = None,
    ) -> None:
        self.task, self.matrix = labels.task, labels.matrix
        self.probabilities, self.predicted = probabilities, predicted
        self.names = tuple(metric_names(labels.task) if names is None else names)
        self.rankings = []
        if {"auroc", "auprc"} & set(self.names):
            columns = [1] if labels.task == "binary" else range(labels.matrix.shape[1])
            self.rankings = [
                Ranking.of(labels.matrix[:, column], probabilities[:, column]) for column in columns
            ]

    def __call__(self, weights: Floats) -> dict[str, Floats]:
        """Return each metric under each row of weights [resample, note], as name to [resample]."""
        counts = count(self.matrix, self.predicted, weights)
        areas = [
            (auroc(*weighed), auprc(*weighed))
            for weighed in (ranking.weigh(weights) for ranking in self.rankings)
        ]
        values = {}
        for name in self.names:
            if name in ("auroc", "auprc"):  # undefined if undefined for any class
                values[name] = np.mean([area[name == "auprc"] for area in areas], axis=0)
            elif name in PROBABILISTIC:
                loss = {"brier": brier, "ece": ece}[name]
                values[name] = loss(self.task, self.matrix, self.probabilities, weights)
            else:
                values[name] = thresholded(name, self.task, counts)
        return values


def values(
    labels: Labels,
    probabilities: Floats,
    predicted: NDArray[np.bool_],
    weights: Floats,
    names: Iterable[str] | None = None,
) -> dict[str, Floats]:
    """Return each metric under each row of weights [resample, note], as name to [resample]."""
    return Statistics(labels, probabilities, predicted, names)(weights)


def percentiles(resampled: Floats, level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of the defined resampled values, NaN if there are none."""
    defined = resampled[~np.isnan(resampled)]
    if not len(defined):
        return float("nan"), float("nan")
    tail = (1 - level) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def jackknife(
    clusters: NDArray[np.int64],
    statistics: Callable[[Floats], dict[str, Floats]],
    ends_of: Callable[[str], tuple[float, float]],
    carriers: int,
) -> dict[str, Score]:
    """Return the value and 95 % interval of each statistic of the notes' weights.

    Parameters
    ----------
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    statistics : callable
        From weights [row, note] to a mapping of name to values [row].
    ends_of : callable
        From a statistic's name to its smallest and largest possible value.
    carriers : int
        Number of patients with a note of the rarest class, see `intervals.interval`.

    Returns
    -------
    dict of str to Score
    """
    point = statistics(np.ones((1, len(clusters))))
    chunks = [statistics(weights) for weights in intervals.leave_out_weights(clusters)]
    scores = {}
    for name, (value,) in point.items():
        without = np.concatenate([chunk[name] for chunk in chunks])
        low, high = intervals.interval(float(value), without, ends_of(name), carriers)
        reason = REASONS.get(name.partition("_")[0], Message("undefined on these notes"))
        scores[name] = Score(float(value), low, high, reason if np.isnan(value) else None)
    return scores


def scores(
    labels: Labels,
    probabilities: Floats,
    predicted: NDArray[np.bool_],
    clusters: NDArray[np.int64],
    names: Iterable[str] | None = None,
) -> dict[str, Score]:
    """Return metrics with 95 % intervals by jackknife over patients.

    Parameters
    ----------
    labels : Labels
    probabilities : ndarray of float64, shape [note, class]
    predicted : ndarray of bool, shape [note, class]
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    names : iterable of str, optional
        Names of metrics; default: all metrics of the task.
    """
    return mean_scores(labels, [(probabilities, predicted)], clusters, names)


def mean_scores(
    labels: Labels,
    seeds: Sequence[tuple[Floats, NDArray[np.bool_]]],
    clusters: NDArray[np.int64],
    names: Iterable[str] | None = None,
) -> dict[str, Score]:
    """Return means of metrics over a configuration's seeds, with the intervals of the means.

    Parameters
    ----------
    labels : Labels
    seeds : sequence of (probabilities, predicted), both [note, class]
        Predictions of each seed on the same notes.
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    names : iterable of str, optional
        Names of metrics; default: all metrics of the task.
    """
    each = [Statistics(labels, *seed, names) for seed in seeds]

    def means(weights: Floats) -> dict[str, Floats]:
        several = [statistics(weights) for statistics in each]
        return {name: np.mean([one[name] for one in several], axis=0) for name in several[0]}

    carriers = intervals.fewest_carriers(labels.matrix, clusters)
    return jackknife(clusters, means, lambda name: ends(name, labels.task), carriers)
