"""The baseline that ignores the text: one prediction for every note.

A configuration that is not significantly better than this baseline has learned nothing useful.
"""

import numpy as np
from numpy.typing import NDArray

from clinadapt.data.labels import Labels
from clinadapt.evaluation import metrics
from clinadapt.evaluation.paired_comparison import Predictions

CONSTANT = "constant"


def constant_answer(train: Labels, notes: int, metric: str) -> Predictions:
    """Return the same prediction for every note: the one that scores best on the training notes.

    Parameters
    ----------
    train : Labels
        Labels of the training notes.
    notes : int
        Number of notes to predict.
    metric : str
        Metric by which the prediction is chosen.

    Returns
    -------
    (ndarray of float64, ndarray of bool), both of shape [note, class]
        Class frequencies of the training notes as probabilities, and the predicted classes.
    """
    share = train.matrix.mean(axis=0)
    if train.task == "multilabel":
        # Candidates are the n most frequent labels for every n, including none.
        frequent = np.argsort(-share, kind="stable")
        answers = [np.isin(np.arange(len(share)), frequent[:n]) for n in range(len(share) + 1)]
    else:
        answers = list(np.eye(len(share), dtype=np.bool_))
    everyone = np.ones((1, len(train.matrix)))
    sign = metrics.sign(metric)

    def score(answer: NDArray[np.bool_]) -> float:
        predicted = np.broadcast_to(answer, train.matrix.shape)
        probabilities = np.broadcast_to(share, train.matrix.shape)
        value = metrics.values(train, probabilities, predicted, everyone, [metric])[metric][0]
        return float(np.nan_to_num(sign * value, nan=-np.inf))

    best = max(answers, key=score)
    return np.tile(share, (notes, 1)), np.tile(best, (notes, 1))
