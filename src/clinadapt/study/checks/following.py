"""How well classes can be told by something else than what the notes say.

Scores are compared by the area under the ROC curve, in which every patient counts once for the
notes with a class and once for those without. A class is reported if the area is at least `LEAST`
and at least four standard errors (Mann & Whitney 1947) above one half, which few patients cannot
reach by chance.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.arrays import Floats
from clinadapt.data.labels import Labels
from clinadapt.evaluation.ranking import Ranking, auroc

LEAST = 0.9  # area under the ROC curve
STANDARD_ERRORS = 4.0
REACH = 5  # neighbours on each side

Scores = Callable[[NDArray[np.bool_]], Floats]


@dataclass(frozen=True)
class Following:
    """A class that follows something.

    Attributes
    ----------
    name : str
        The class.
    auroc : float
    patients, others : int
        Patients with a note of the class, and with a note without it.
    """

    name: Any
    auroc: float
    patients: int
    others: int


def classes_of_interest(labels: Labels) -> list[int]:
    """Return the numbers of the classes to look at: the positive one, or all of three or more."""
    return [1] if labels.task == "binary" else list(range(len(labels.classes)))


def patient_weights(carried: NDArray[np.bool_], clusters: NDArray[np.int64]) -> Floats:
    """Return weights by which each patient counts once with and once without a class [note]."""
    unit = 2 * clusters + carried
    return 1.0 / np.bincount(unit)[unit]


def strongest(labels: Labels, clusters: NDArray[np.int64], scores: Scores) -> Following | None:
    """Return the class that follows the scores most; None if none does.

    Parameters
    ----------
    labels : Labels
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    scores : callable
        Returns scores [note] of a class, given who carries it [note].
    """
    found = []
    for number in classes_of_interest(labels):
        carried = labels.matrix[:, number]
        weights = patient_weights(carried, clusters)
        with_class, without = round(weights[carried].sum()), round(weights[~carried].sum())
        if not with_class or not without:
            continue
        error = np.sqrt((with_class + without + 1) / (12 * with_class * without))
        least = max(LEAST, 0.5 + STANDARD_ERRORS * error)
        if least > 1:
            continue
        ranking = Ranking.of(carried, scores(carried))
        area = float(auroc(*ranking.weigh(weights[None]))[0])
        if area >= least:
            found.append(Following(labels.classes[number], area, with_class, without))
    return max(found, key=lambda one: one.auroc, default=None)


class NeighbourShares:
    """Share of a class among the nearest notes of other patients in an order.

    Blocks are seen as well as trends: it does not matter where in the order a class is. Successive
    notes of one patient are one place in the order.

    Parameters
    ----------
    order : ndarray of int64, shape [note]
        Numbers of the notes in their order.
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    """

    def __init__(self, order: NDArray[np.int64], clusters: NDArray[np.int64]) -> None:
        in_order = clusters[order]
        new = np.r_[True, in_order[1:] != in_order[:-1]]
        self.place = np.empty(len(order), dtype=np.int64)
        self.place[order] = np.cumsum(new) - 1
        owner = in_order[new]
        count = len(owner)
        at = np.arange(count)
        self.low, self.high = np.maximum(at - REACH, 0), np.minimum(at + REACH + 1, count)
        # Places of the same patient in that stretch, which do not count: they are next to each
        # other once the places are sorted by patient.
        self.by_owner = np.lexsort((at, owner))
        key = owner[self.by_owner] * (count + 1) + at[self.by_owner]
        self.own_low = np.searchsorted(key, owner * (count + 1) + self.low)
        self.own_high = np.searchsorted(key, owner * (count + 1) + self.high)

    def __call__(self, carried: NDArray[np.bool_]) -> Floats:
        """Return the share for each note [note]."""
        share = np.bincount(self.place, carried) / np.bincount(self.place)
        total = _between(share, self.low, self.high)
        total -= _between(share[self.by_owner], self.own_low, self.own_high)
        counted = (self.high - self.low) - (self.own_high - self.own_low)
        return _smoothed(total, counted, carried)[self.place]


class GroupShares:
    """Share of a class among notes of other patients with the same key.

    Parameters
    ----------
    keys : sequence of str
        One for each note; notes with the key "" are like no other.
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    """

    def __init__(self, keys: Sequence[str], clusters: NDArray[np.int64]) -> None:
        number: dict[str, int] = {"": 0}
        self.key = np.array([number.setdefault(key, len(number)) for key in keys], dtype=np.int64)
        _, self.own = np.unique(
            self.key * (int(clusters.max()) + 1) + clusters, return_inverse=True
        )

    def __call__(self, carried: NDArray[np.bool_]) -> Floats:
        """Return the share for each note [note]."""
        total, own = np.bincount(self.key, carried), np.bincount(self.own, carried)
        counted = np.bincount(self.key)[self.key] - np.bincount(self.own)[self.own]
        others = total[self.key] - own[self.own]
        alone = self.key == 0
        return _smoothed(np.where(alone, 0, others), np.where(alone, 0, counted), carried)


def _between(values: Floats, low: NDArray[np.int64], high: NDArray[np.int64]) -> Floats:
    """Return the sums of the values from `low` to before `high`."""
    sums = np.r_[0.0, np.cumsum(values)]
    return np.asarray(sums[high] - sums[low])


def _smoothed(total: Floats, counted: NDArray[Any], carried: NDArray[np.bool_]) -> Floats:
    """Return shares as if one more note had the share of all; few notes say little."""
    return np.asarray((total + carried.mean()) / (counted + 1))


def in_random_order_of_ties(values: NDArray[Any]) -> NDArray[np.int64]:
    """Return the numbers of the notes in the order of their values."""
    ties = np.random.default_rng(0).random(len(values))
    return np.lexsort((ties, values))
