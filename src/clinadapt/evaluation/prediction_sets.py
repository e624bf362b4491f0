r"""Conformal prediction sets: every class that may be right, with a stated coverage.

A class is in a note's set if its probability is at least a limit. The limit is the largest one at
which the right class of a note of a **new patient** is in the set with the stated probability. Such
sets assume nothing about the model or its probabilities, only that patients are exchangeable: the
new one might as well have been one of these.

Notes of one patient are not exchangeable with those of another, so each patient counts as one: with
$K$ patients of $m_i$ notes each, a note weighs $1 / ((K + 1)\, m_i)$ and the new patient
$1 / (K + 1)$ (Lee, Barber & Willett 2023, arXiv 2306.06342; Dunn, Wasserman & Ramdas 2022). The
score is the probability of the right class (least ambiguous sets: Sadinle, Lei & Wasserman 2019).

In binary and multi-label tasks each class has its own limit, from the notes that have the class:
the coverage then holds for the notes of a rare class, too, and not only over all notes. In a
multi-class task all classes share one limit.
"""

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from clinadapt.core.arrays import Floats
from clinadapt.data.labels import Labels


class PredictionSets(BaseModel):
    """Limits of the sets of one coverage.

    Attributes
    ----------
    coverage : float
        Probability that the right class of a note of a new patient is in its set.
    least : list of float, [class]
        Smallest probability of each class that is in a set. 0 for a class of too few patients,
        which is in every set.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)
    coverage: float = Field(gt=0, lt=1)
    least: list[float]

    def of(self, probabilities: Floats) -> NDArray[np.bool_]:
        """Return which classes are in each note's set, shape [note, class]."""
        return probabilities >= np.array(self.least)


def calibrate(
    labels: Labels, probabilities: Floats, clusters: NDArray[np.int64], coverage: float
) -> PredictionSets:
    """Return the sets of a coverage, from notes from which the model did not learn.

    Parameters
    ----------
    labels : Labels
    probabilities : ndarray of float64, shape [note, class]
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    coverage : float
    """
    matrix = labels.matrix
    if labels.task == "multiclass":
        least = [_limit(probabilities[matrix], clusters, coverage)] * matrix.shape[1]
    else:
        least = [
            _limit(column[carried], clusters[carried], coverage)
            for column, carried in zip(probabilities.T, matrix.T, strict=True)
        ]
    return PredictionSets(coverage=coverage, least=least)


def of_patients(clusters: NDArray[np.int64]) -> Floats:
    """Return weights [note] with which each patient counts as one, whatever its notes."""
    _, patient, notes = np.unique(clusters, return_inverse=True, return_counts=True)
    return 1.0 / notes[patient]


def _limit(right: Floats, clusters: NDArray[np.int64], coverage: float) -> float:
    """Return the largest limit that keeps the coverage, given probabilities of right classes."""
    if not len(right):
        return 0.0
    weights = of_patients(clusters)
    order = np.argsort(-right, kind="stable")
    covered = np.cumsum(weights[order]) / (weights.sum() + 1)
    place = int(np.searchsorted(covered, coverage - 1e-12))  # sums of weights are rounded
    return float(right[order][place]) if place < len(right) else 0.0
