r"""Risk and coverage: how wrong the answers are, if only the surest ones are given.

With the share $c$ of the answers of which a classifier is surest (the coverage), the share of them
that is wrong is the risk $R(c)$ (El-Yaniv & Wiener 2010). A classifier that knows when it is wrong
has a curve that rises late; its area, the mean risk over all coverages, is small (AURC: Geifman,
Uziel & El-Yaniv 2019, arXiv 1805.08206). One whose errors do not depend on how sure it is has a
flat curve, at its error rate.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.arrays import Floats
from clinadapt.data.labels import Labels
from clinadapt.evaluation import metrics
from clinadapt.evaluation.ranking import divide
from clinadapt.evaluation.threshold import Threshold

POINTS = 200


@dataclass(frozen=True)
class RiskCoverage:
    """A risk–coverage curve.

    Attributes
    ----------
    coverage, risk : ndarray of float64, shape [point]
        The first point is that of the surest answers, the last that of all.
    area : metrics.Score
        Mean risk over all coverages.
    """

    coverage: Floats
    risk: Floats
    area: metrics.Score

    def to_json(self) -> dict[str, Any]:
        """Return area and curve, of at most `POINTS` points."""
        kept = np.unique(np.linspace(0, len(self.risk) - 1, POINTS).astype(np.int64))
        curve = {"coverage": self.coverage[kept].tolist(), "risk": self.risk[kept].tolist()}
        return {"area": self.area.to_json(), "curve": curve}


def risk_coverage(
    labels: Labels, probabilities: Floats, clusters: NDArray[np.int64], threshold: Threshold
) -> RiskCoverage:
    """Return the curve of a classifier, and its area with a 95 % interval over patients.

    An answer is about a note, in a multi-label task about a note and a label. How sure it is: the
    distance of the probability from the threshold, as a share of the largest distance on its side;
    in a multi-class task the probability of the most probable class.

    Parameters
    ----------
    labels : Labels
    probabilities : ndarray of float64, shape [note, class]
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    threshold : Threshold
    """
    sure, wrong = _answers(labels, probabilities, threshold)
    answers = len(sure) // len(labels)
    note = np.repeat(np.arange(len(labels)), answers)
    order = np.argsort(-sure, kind="stable")
    wrong, note = wrong[order].astype(np.float64), note[order]
    ties = np.flatnonzero(np.append(True, np.diff(sure[order]) != 0))  # given together

    def curve(weights: Floats) -> tuple[Floats, Floats]:
        """Return the answers added at each point, and the risk there, both [row, point]."""
        weighed = weights[:, note]
        added = np.add.reduceat(weighed, ties, axis=1)
        errors = np.cumsum(np.add.reduceat(weighed * wrong, ties, axis=1), axis=1)
        return added, divide(errors, np.cumsum(added, axis=1))

    def area(weights: Floats) -> dict[str, Floats]:
        added, risk = curve(weights)
        return {"area": divide((added * np.nan_to_num(risk)).sum(axis=1), added.sum(axis=1))}

    scores = metrics.jackknife(clusters, area, lambda name: (0.0, 1.0), len(np.unique(clusters)))
    added, risk = curve(np.ones((1, len(labels))))
    return RiskCoverage(np.cumsum(added[0]) / len(wrong), risk[0], scores["area"])


def _answers(
    labels: Labels, probabilities: Floats, threshold: Threshold
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return how sure each answer is, and whether it is wrong, both [answer]."""
    predicted = threshold.predict(labels.task, probabilities)
    if labels.task == "multiclass":
        return probabilities.max(axis=1), (predicted != labels.matrix).any(axis=1)
    value = threshold.value
    above, below = max(1 - value, 1e-12), max(value, 1e-12)
    sure = np.where(
        probabilities >= value, (probabilities - value) / above, (value - probabilities) / below
    )
    wrong = predicted != labels.matrix
    if labels.task == "binary":
        return sure[:, 1], wrong[:, 1]
    # A label below the threshold that is assigned because a note needs one is not sure at all.
    sure = np.where(predicted & (probabilities < value), 0.0, sure)
    return sure.ravel(), wrong.ravel()
