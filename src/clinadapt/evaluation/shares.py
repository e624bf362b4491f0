"""A share of notes, with its interval over patients."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.evaluation import intervals
from clinadapt.evaluation.metrics import Score
from clinadapt.evaluation.ranking import divide


def share(some: NDArray[Any], of: NDArray[Any], clusters: NDArray[np.int64]) -> Score:
    """Return the share that some notes have of others, with its 95 % interval by jackknife.

    Parameters
    ----------
    some : ndarray of bool or numbers, shape [note]
        Which of the notes are counted, or the weight with which they are.
    of : ndarray of bool or numbers, shape [note]
        The same for the notes of which it is the share.
    clusters : ndarray of int64, shape [note]
        Patient of each note.

    Returns
    -------
    Score
        NaN if there are no notes of which to take a share.
    """
    patient = np.unique(clusters, return_inverse=True)[1]
    counted, all_ = (np.bincount(patient, each.astype(np.float64)) for each in (some, of))
    involved = all_ > 0
    counted, all_ = counted[involved], all_[involved]
    value = float(divide(counted.sum(), all_.sum()))
    without = divide(counted.sum() - counted, all_.sum() - all_)
    low, high = intervals.interval(value, without, (0.0, 1.0), len(all_))
    return Score(value, low, high, "there are no such notes" if np.isnan(value) else None)
