r"""Probabilities of patients from those of their notes.

With the probability $p_i$ that note $i$ of a patient has a class,

$$ \text{mean: } \frac1n \sum_i p_i, \qquad \text{maximum: } \max_i p_i, \qquad
   \text{noisy-or: } 1 - \prod_i (1 - p_i). $$

The mean suits labels to which every note testifies; the maximum those that a single note tells; the
noisy-or (Pearl 1988) is the probability that at least one of independent notes tells it, and grows
with the number of notes. In multiple-instance learning these are the fixed poolings of instances
(Maron & Lozano-Pérez 1998; Wang et al. 2018, "Revisiting multiple instance neural networks").
Which one is used is chosen on validation patients, as the threshold is.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.arrays import Floats
from clinadapt.data.labels import Labels, Task
from clinadapt.data.levels import AGGREGATIONS, Aggregation
from clinadapt.evaluation.threshold import best_score

EQUAL = 1e-12  # scores that differ by less do so by rounding


def aggregate(
    task: Task, probabilities: Floats, patients: NDArray[np.int64], how: Aggregation
) -> Floats:
    """Return the probabilities of patients [patient, class].

    In a binary task, `how` applies to the positive class, and the other class has the rest. In a
    multi-label task it applies to each label; in a multi-class task to each class, after which the
    probabilities of a patient are divided by their sum.

    Parameters
    ----------
    task : {"binary", "multiclass", "multilabel"}
    probabilities : ndarray of float64, shape [note, class]
        In a binary task the positive class is the second.
    patients : ndarray of int64, shape [note]
        Number of the patient of each note, from 0 without gaps.
    how : {"mean", "maximum", "noisy-or"}

    Examples
    --------
    >>> import numpy as np
    >>> notes = np.array([[0.5, 0.5], [0.9, 0.1], [0.6, 0.4]])
    >>> aggregate("binary", notes, np.array([0, 0, 1]), "maximum").tolist()
    [[0.5, 0.5], [0.6, 0.4]]
    """
    order = np.argsort(patients, kind="stable")
    starts = np.flatnonzero(np.diff(patients[order], prepend=-1))
    ordered = probabilities[order]
    if how == "mean":
        counts = np.diff(np.r_[starts, len(order)])
        return np.asarray(np.add.reduceat(ordered, starts, axis=0) / counts[:, None])
    if task == "binary":
        # From the probabilities of the other class, so that those near 0 keep their digits.
        if how == "maximum":
            rest = np.minimum.reduceat(ordered[:, 0], starts)
            return np.column_stack([rest, np.maximum.reduceat(ordered[:, 1], starts)])
        rest = np.multiply.reduceat(ordered[:, 0], starts)
        return np.column_stack([rest, 1 - rest])
    if how == "maximum":
        found = np.maximum.reduceat(ordered, starts, axis=0)
    else:
        found = 1 - np.multiply.reduceat(1 - ordered, starts, axis=0)
    return found / found.sum(axis=1, keepdims=True) if task == "multiclass" else found


def choose(
    labels: Labels,
    probabilities: Floats,
    patients: NDArray[np.int64],
    metric: str,
    among: Sequence[Aggregation] = AGGREGATIONS,
) -> tuple[Aggregation, dict[str, float]]:
    """Return the aggregation that scores best on validation patients, and the score of each.

    Each is scored at the threshold that is best for it; of equally good ones the first is taken.

    Parameters
    ----------
    labels : Labels
        Labels of the patients.
    probabilities : ndarray of float64, shape [note, class]
    patients : ndarray of int64, shape [note]
        Number of the patient of each note.
    metric : str
        Losses are negated in the scores, so that higher is better.
    among : sequence of str
    """
    scores: dict[str, float] = {
        how: best_score(labels, aggregate(labels.task, probabilities, patients, how), metric)
        for how in among
    }
    best = max(scores.values())
    return next(how for how in among if scores[how] >= best - EQUAL), scores
