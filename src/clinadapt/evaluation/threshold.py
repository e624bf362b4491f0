"""Predicted classes from probabilities, by a threshold chosen on validation notes only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinadapt.data.labels import Labels, Task
from clinadapt.evaluation import metrics

CANDIDATES = 200


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

    Candidates lie half-way between neighbouring quantiles of the validation probabilities; of
    equally good ones, the one nearest to 0.5 is taken.

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
    observed = probabilities[:, 1] if labels.task == "binary" else probabilities.ravel()
    steps = np.unique(np.quantile(observed, np.linspace(0, 1, CANDIDATES + 1)))
    candidates = np.r_[0.5, (steps[1:] + steps[:-1]) / 2]
    # Metrics of probabilities, such as AUROC, need no threshold: use the task's primary metric.
    name = metric if metric in metrics.THRESHOLDED[labels.task] else metrics.PRIMARY[labels.task]
    ones = np.ones((1, len(labels)))
    scores = []
    for value in candidates:
        predicted = Threshold(value, at_least_one).predict(labels.task, probabilities)
        counts = metrics.count(labels.matrix, predicted, ones)
        scores.append(metrics.thresholded(name, labels.task, counts)[0])
    ranking = np.lexsort((np.abs(candidates - 0.5), -np.nan_to_num(np.array(scores))))
    return Threshold(float(candidates[ranking[0]]), at_least_one)


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
