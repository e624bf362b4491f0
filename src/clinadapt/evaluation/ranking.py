"""What depends only on the order of the notes' scores: ROC and PR curves, areas under them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.arrays import Floats


@dataclass(frozen=True, eq=False)
class Ranking:
    """Notes by descending score.

    Attributes
    ----------
    order : ndarray of int64, shape [note]
    starts : ndarray of int64, shape [distinct score]
        Position in the order at which each distinct score begins.
    positive : ndarray of bool, shape [note]
        Labels in the order.
    """

    order: NDArray[np.int64]
    starts: NDArray[np.int64]
    positive: NDArray[np.bool_]

    @classmethod
    def of(cls, labels: NDArray[np.bool_], scores: Floats) -> "Ranking":
        """Rank notes by their scores."""
        order = np.argsort(-scores, kind="stable")
        starts = np.flatnonzero(np.r_[True, np.diff(scores[order]) != 0])
        return cls(order, starts, labels[order])

    def weigh(self, weights: Floats) -> tuple[Floats, Floats]:
        """Return the weights of positives and negatives at each score, both [resample, score]."""
        ordered = weights[:, self.order]
        hits = np.add.reduceat(ordered * self.positive, self.starts, axis=1)
        misses = np.add.reduceat(ordered * ~self.positive, self.starts, axis=1)
        return hits, misses


def roc_curve(labels: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """Return false and true positive rates, both [threshold], from no positives to all notes.

    Points on a straight line between their neighbours are left out.
    """
    true, false = _counts(labels, scores)
    corner = (np.diff(true, 2) != 0) | (np.diff(false, 2) != 0)
    kept = np.r_[True, corner, True]
    return false[kept] / false[-1], true[kept] / true[-1]


def precision_recall_curve(labels: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """Return precisions and recalls, both [threshold], by falling recall.

    The last point has precision 1 and recall 0. Of thresholds with the same recall, only the first
    and the last are kept.
    """
    true, false = (counts[1:] for counts in _counts(labels, scores))
    moves = np.diff(true) != 0
    kept = np.r_[True, moves] | np.r_[moves, True]
    true, false = true[kept][::-1], false[kept][::-1]
    return np.r_[true / (true + false), 1.0], np.r_[true / true[0], 0.0]


def _counts(labels: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats]:
    """Return true and false positives above each distinct score, from 0 on, both [score + 1]."""
    hits, misses = Ranking.of(labels, scores).weigh(np.ones((1, len(scores))))
    return np.r_[0.0, np.cumsum(hits)], np.r_[0.0, np.cumsum(misses)]


def auroc(hits: Floats, misses: Floats) -> Floats:
    """Return the area under the ROC curve, ties counted half, shape [resample].

    Arguments are those that `Ranking.weigh` returns.
    """
    # Probability that a positive ranks above a negative: sum over negatives of positives above.
    above = np.cumsum(hits, axis=1) - hits / 2
    return divide((above * misses).sum(axis=1), hits.sum(axis=1) * misses.sum(axis=1))


def auprc(hits: Floats, misses: Floats) -> Floats:
    """Return the average precision, the sum of precision times step in recall, shape [resample].

    Arguments are those that `Ranking.weigh` returns.
    """
    true = np.cumsum(hits, axis=1)
    precision = np.nan_to_num(divide(true, true + np.cumsum(misses, axis=1)))
    return divide((precision * hits).sum(axis=1), hits.sum(axis=1))


def divide(top: Floats, bottom: Floats) -> Floats:
    """Return the quotient, NaN where the bottom is zero."""
    out = np.full(np.broadcast(top, bottom).shape, np.nan)
    return np.divide(top, bottom, out=out, where=bottom != 0)
