"""Predicted classes from probabilities, by a threshold chosen on validation notes only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinadapt.data.labels import Labels, Task
from clinadapt.evaluation import metrics

CANDIDATES_AT_ONCE = 2**16


@dataclass(frozen=True)
class Threshold:
    """A rule that turns probabilities into classes.

    Attributes
    ----------
    value : float
        Smallest probability that counts as positive (binary) or assigns a label (multi-label);
        NaN in a multi-class task, where the most probable class is predicted.
    at_least_one : bool
        Multi-label: a note with no label above the threshold gets its most probable one. True
        where every labelled note has a label.
    """

    value: float = 0.5
    at_least_one: bool = False

    def predict(self, task: Task, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return an indicator of the predicted classes, shape [note, class]."""
        top = probabilities.argmax(axis=1)[:, None] == np.arange(probabilities.shape[1])
        if task == "multiclass":
            return top
        if task == "binary":
            positive = probabilities[:, 1] >= self.value
            return np.column_stack([~positive, positive])
        assigned = probabilities >= self.value
        if self.at_least_one:
            assigned |= top & ~assigned.any(axis=1, keepdims=True)
        return assigned


def choose(labels: Labels, probabilities: NDArray[np.float64], metric: str) -> Threshold:
    """Pick the threshold that scores best on validation notes.

    Every threshold between two neighbouring probabilities is tried, and 0.5; of equally good ones,
    the one nearest to 0.5 is taken.

    Parameters
    ----------
    labels : Labels
        Labels of the validation notes.
    probabilities : ndarray of float64, shape [note, class]
    metric : str
        A metric of predicted classes.
    """
    if labels.task == "multiclass":
        return Threshold(float("nan"))
    at_least_one = labels.task == "multilabel" and bool(labels.matrix.any(axis=1).all())
    distinct = np.unique(probabilities[:, 1] if labels.task == "binary" else probabilities)
    middle = (distinct[:-1] + distinct[1:]) / 2
    # Between neighbouring numbers there is no middle: it is rounded, perhaps to the lower one.
    candidates = np.r_[0.5, np.where(middle > distinct[:-1], middle, distinct[1:])]
    # Metrics of probabilities, such as AUROC, need no threshold: use the task's primary metric.
    name = metric if metric in metrics.THRESHOLDED[labels.task] else metrics.PRIMARY[labels.task]
    count = _Counter(labels, probabilities, at_least_one)
    scores = np.concatenate(
        [
            metrics.thresholded(name, labels.task, count(candidates[start:][:CANDIDATES_AT_ONCE]))
            for start in range(0, len(candidates), CANDIDATES_AT_ONCE)
        ]
    )
    ranking = np.lexsort((np.abs(candidates - 0.5), -np.nan_to_num(scores)))
    return Threshold(float(candidates[ranking[0]]), at_least_one)


class _Counter:
    """Counts of hits at many thresholds, by bisection in probabilities that are sorted once."""

    def __init__(
        self, labels: Labels, probabilities: NDArray[np.float64], at_least_one: bool
    ) -> None:
        matrix = labels.matrix
        self.binary, self.notes = labels.task == "binary", len(matrix)
        if self.binary:
            matrix, probabilities = matrix[:, 1:], probabilities[:, 1:]
        if at_least_one:  # the most probable label is assigned at every threshold
            top = probabilities.argmax(axis=1)[:, None] == np.arange(probabilities.shape[1])
            probabilities = np.where(top, np.inf, probabilities)
        self.actual = matrix.sum(axis=0)
        self.predicted = np.sort(probabilities, axis=0)
        self.hit = [
            np.sort(column[own]) for column, own in zip(probabilities.T, matrix.T, strict=True)
        ]
        # A note is entirely right at thresholds above all its wrong labels, up to all right ones.
        wrong = np.where(matrix, -np.inf, probabilities).max(axis=1)
        right = np.where(matrix, probabilities, np.inf).min(axis=1)
        self.begins = np.sort(wrong[wrong < right])
        self.ends = np.sort(right[wrong < right])

    def __call__(self, thresholds: NDArray[np.float64]) -> metrics.Counts:
        """Return the counts at each threshold; those of classes have shape [threshold, class]."""

        def above(ascending: NDArray[np.float64]) -> NDArray[np.float64]:
            return (len(ascending) - np.searchsorted(ascending, thresholds)).astype(np.float64)

        hit = np.column_stack([above(column) for column in self.hit])
        predicted = np.column_stack([above(column) for column in self.predicted.T])
        actual = np.broadcast_to(self.actual.astype(np.float64), hit.shape)
        if self.binary:  # the negative class is the rest
            n = self.notes
            hit = np.column_stack([n - actual - predicted + hit, hit])
            predicted = np.column_stack([n - predicted, predicted])
            actual = np.column_stack([n - actual, actual])
        return metrics.Counts(
            hit=hit,
            predicted=predicted,
            actual=actual,
            total=np.full(len(thresholds), float(self.notes)),
            exact=above(self.ends) - above(self.begins),
        )


def best_score(labels: Labels, probabilities: NDArray[np.float64], metric: str) -> float:
    """Return a metric on validation notes, at the threshold that is best there.

    Parameters
    ----------
    labels : Labels
        Labels of the validation notes.
    probabilities : ndarray of float64, shape [note, class]
    metric : str
        Any metric of the task; losses (Brier, ECE) are negated, so that higher is better.

    Returns
    -------
    float
        0 where the metric is undefined.
    """
    predicted = choose(labels, probabilities, metric).predict(labels.task, probabilities)
    ones = np.ones((1, len(labels)))
    value = metrics.values(labels, probabilities, predicted, ones, [metric])[metric][0]
    return float(np.nan_to_num(-value if metric in metrics.LOSSES else value))
