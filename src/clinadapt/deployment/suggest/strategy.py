"""Which notes to label next, given a model's probabilities and what the notes are about.

Uncertainty with diversity, as in BADGE (Ash et al., ICLR 2020): a note stands for the gradient that
it would cause in a last layer if the predicted label were the true one: the outer product of the
residual of its probabilities and its vector. Its length is the uncertainty; its direction says what
the note is about, and between which classes the model wavers. Notes are drawn by k-means++ (Arthur
& Vassilvitskii, SODA 2007), each with a probability proportional to the squared distance from the
nearest one drawn before, so that the first half of a list is varied too. The products are never
formed: the inner product of two is that of the residuals times that of the vectors.

The vectors are the model's own for no model: TF-IDF, reduced by a singular value decomposition, is
the same for all of them and needs no second pass of an encoder.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

from clinadapt.core.arrays import Floats
from clinadapt.core.errors import InputError
from clinadapt.data.labels import Task
from clinadapt.features.tfidf import TfidfFeatures

WIDTH = 100
CERTAIN = 1e-6  # nearer to 0 or 1, odds are not told apart
LEAST = 1e-12  # distances below it are rounding


def residuals(task: Task, probabilities: Floats, threshold: float) -> Floats:
    """Return the probabilities minus the predicted answer [note, class].

    Parameters
    ----------
    task : {"binary", "multiclass", "multilabel"}
        In a multi-label task each label is an answer of its own, predicted from 0.5 on.
    probabilities : ndarray of float64, shape [note, class]
    threshold : float
        Of a binary task: odds are divided by its odds, so that the model is most uncertain where
        the prediction changes, which may be far from 0.5 if positives are rare. Other tasks do not
        use it.
    """
    if task == "multilabel":
        return probabilities - (probabilities >= 0.5)
    if task == "binary":
        positive = _at_threshold(probabilities[:, 1], threshold)
        probabilities = np.column_stack([1 - positive, positive])
    top = probabilities.argmax(axis=1)[:, None] == np.arange(probabilities.shape[1])
    return probabilities - top


def _at_threshold(positive: Floats, threshold: float) -> Floats:
    """Return probabilities whose odds are divided by those of the threshold [note]."""
    odds, limit = (
        logit(np.clip(each, CERTAIN, 1 - CERTAIN)) for each in (positive, np.float64(threshold))
    )
    return np.asarray(expit(odds - limit))


def uncertainty(residuals: Floats) -> Floats:
    """Return how far the most uncertain answer about each note is from certain [note].

    It is 0 for a certain answer and 0.5 where two answers are as probable as each other; with many
    classes it may come near to 1.
    """
    return np.asarray(np.abs(residuals).max(axis=1))


def vectors(texts: Sequence[str]) -> Floats:
    """Return what each note is about, a vector of norm 1 or, without shared words, 0 [note, width].

    TF-IDF of words and word pairs that occur in two notes, reduced to at most 100 dimensions.
    """
    try:
        matrix = TfidfFeatures().fit(texts).transform(texts)
    except InputError:  # no two notes share a word: only uncertainty counts
        return np.ones((len(texts), 1))
    width = min(WIDTH, *(side - 1 for side in matrix.shape))
    if width < 1:
        return normalize(matrix.toarray())
    return normalize(TruncatedSVD(width, random_state=0).fit_transform(matrix))


def choose(
    residuals: Floats,
    vectors: Floats,
    clusters: NDArray[np.int64],
    n: int,
    quota: NDArray[np.int64],
    generator: np.random.Generator,
) -> NDArray[np.int64]:
    """Return the rows to label next, in that order.

    Parameters
    ----------
    residuals : ndarray of float64, shape [note, class]
    vectors : ndarray of float64, shape [note, width]
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    n : int
        Number of rows wanted; fewer are returned if there are no more.
    quota : ndarray of int64, shape [patient]
        Most rows of each patient.
    generator : numpy.random.Generator
    """
    own = (residuals**2).sum(axis=1) * (vectors**2).sum(axis=1)
    distance, left = own.copy(), quota.copy()
    free = left[clusters] > 0
    chosen: list[int] = []
    while len(chosen) < n and free.any():
        weight = np.where(free & (distance > LEAST), distance, 0.0)
        if not weight.any():  # what is left is certain, or the same as what was drawn
            weight = free.astype(np.float64)
        row = int(generator.choice(len(weight), p=weight / weight.sum()))
        chosen.append(row)
        free[row] = False
        left[clusters[row]] -= 1
        if not left[clusters[row]]:
            free[clusters == clusters[row]] = False
        inner = (residuals @ residuals[row]) * (vectors @ vectors[row])
        distance = np.minimum(distance, own + own[row] - 2 * inner)
    return np.array(chosen, dtype=np.int64)
