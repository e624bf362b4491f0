"""Confident learning: which labels a model's out-of-sample probabilities confidently doubt.

Northcutt, Jiang & Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", Journal
of Artificial Intelligence Research 70 (2021). A note counts as confidently of a class if its
probability is at least the mean probability of that class among the notes labelled so. Notes that
are confidently of another class than their label, the off-diagonal of the confident joint, are
those whose labels to look at again, unless their label is the most probable class after all.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.arrays import Floats


@dataclass(frozen=True, eq=False)
class ConfidentLabels:
    """What a model confidently holds a note's label to be.

    Attributes
    ----------
    likely : ndarray of int64, shape [note]
        Class that a note is confidently of, the most probable of several; -1 if of none.
    doubted : ndarray of bool, shape [note]
        Whether that is another class than the note's label, which is not the most probable.
    """

    likely: NDArray[np.int64]
    doubted: NDArray[np.bool_]


def confident_labels(labels: NDArray[np.int64], probabilities: Floats) -> ConfidentLabels:
    """Return which labels are confidently doubted.

    Parameters
    ----------
    labels : ndarray of int64, shape [note]
        Number of the class of each note.
    probabilities : ndarray of float64, shape [note, class]
        Of a model that was not fitted on the note.

    Returns
    -------
    ConfidentLabels

    Examples
    --------
    >>> import numpy as np
    >>> from clinadapt.evaluation.confident_learning import confident_labels
    >>> probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.2, 0.8], [0.05, 0.95]])
    >>> confident_labels(np.array([0, 0, 1, 1, 0]), probabilities).doubted.tolist()
    [False, False, False, False, True]
    """
    classes = probabilities.shape[1]
    counts = np.bincount(labels, minlength=classes)
    own = probabilities[np.arange(len(labels)), labels]
    sums = np.bincount(labels, own, minlength=classes)
    # Nothing is confidently of a class that no note is labelled with.
    least = np.divide(sums, counts, out=np.full(classes, np.inf), where=counts > 0)
    confident = probabilities >= least - 1e-9  # the mean of equal numbers may exceed them
    likely = np.where(confident, probabilities, -1.0).argmax(axis=1)
    likely[~confident.any(axis=1)] = -1
    agreed = probabilities.argmax(axis=1) == labels
    return ConfidentLabels(likely, (likely >= 0) & (likely != labels) & ~agreed)
