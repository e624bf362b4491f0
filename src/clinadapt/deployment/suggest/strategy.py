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
from sklearn.decomposition import TruncatedSVD
from sklearn.preprocessing import normalize

from clinadapt.core.arrays import Floats
from clinadapt.core.errors import InputError
from clinadapt.data.labels import Task
from clinadapt.features.tfidf import TfidfFeatures

WIDTH = 100
LEAST = 1e-12  # distances below it are rounding


def residuals(task: Task, probabilities: Floats) -> Floats:
    """Return the probabilities minus the most probable answer [note, class].

    In a multi-label task each label is an answer of its own. Binary answers are taken at 0.5,
    whatever the threshold: at the threshold, suggestions were not better.
    """
    if task == "multilabel":
        return probabilities - (probabilities >= 0.5)
    top = probabilities.argmax(axis=1)[:, None] == np.arange(probabilities.shape[1])
    return probabilities - top


def uncertainty(task: Task, probabilities: Floats) -> Floats:
    """Return how uncertain the answer to each note is, from 0 to 1 [note].

    It is 1 minus the difference between the two most probable classes; in a multi-label task, 1
    minus that between each label and its absence, of the most uncertain label.
    """
    if task == "multilabel":
        return 1 - np.abs(2 * probabilities - 1).min(axis=1)
    ordered = np.sort(probabilities, axis=1)
    return 1 - (ordered[:, -1] - ordered[:, -2])


def vectors(texts: Sequence[str]) -> Floats:
    """Return what each note is about, a vector of norm 1 or, without shared words, 0 [note, width].

    TF-IDF of words and word pairs that occur in two notes, reduced to at most 100 dimensions.
    """
    try:
        matrix = TfidfFeatures().fit(texts).transform(texts)
    except InputError:  # no two notes share a word, so all differ alike
        return np.zeros((len(texts), 1))
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
    own = (residuals**2).sum(axis=1) * ((vectors**2).sum(axis=1) + 1)  # 1: the layer's bias
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
        inner = (residuals @ residuals[row]) * (vectors @ vectors[row] + 1)
        distance = np.minimum(distance, own + own[row] - 2 * inner)
    return np.array(chosen, dtype=np.int64)
