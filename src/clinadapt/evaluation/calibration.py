"""Whether probabilities mean what they say, and what acting on them is worth.

Everything here is about events: the positive class (binary), whether the most probable class is
the right one (multi-class), or every label of every note (multi-label).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special, stats

from clinadapt.data.labels import Labels, Task

Floats = NDArray[np.float64]
Events = NDArray[np.bool_]
BINS = 10
SMALLEST = 1e-12
LARGEST_TEMPERATURE = 100.0


def events_of(labels: Labels, probabilities: Floats) -> tuple[Events, Floats]:
    """Events and their probabilities, of probabilities [note, class].

    Returns
    -------
    (ndarray of bool, ndarray of float64), both of shape [event]
    """
    matrix = labels.matrix
    if labels.task == "binary":
        return matrix[:, 1], probabilities[:, 1]
    if labels.task == "multilabel":
        return matrix.ravel(), probabilities.ravel()
    top = probabilities.argmax(axis=1)
    rows = np.arange(len(top))
    return matrix[rows, top], probabilities[rows, top]


# ---------------------------------------------------------------- reliability


@dataclass(frozen=True)
class Bin:
    """Events of like probability.

    Attributes
    ----------
    said : float
        Mean probability.
    came : float
        Share that came true.
    low, high : float
        Its 95 % interval (Wilson 1927); events are taken as independent.
    events : int
    """

    said: float
    came: float
    low: float
    high: float
    events: int


def reliability(events: Events, probabilities: Floats, bins: int = BINS) -> list[Bin]:
    """What was said against what came true, in bins of about as many events each.

    Equal numbers, not equal widths: where most probabilities are alike, bins of equal width hold
    one or two events and show noise. Equal probabilities stay together.
    """
    found = []
    for members in _groups(probabilities, bins):
        came = int(events[members].sum())
        low, high = stats.binomtest(came, len(members)).proportion_ci(method="wilson")
        found.append(
            Bin(
                said=float(probabilities[members].mean()),
                came=came / len(members),
                low=float(low),
                high=float(high),
                events=len(members),
            )
        )
    return found


def _groups(probabilities: Floats, bins: int) -> list[NDArray[np.int64]]:
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, probabilities, side="right") - 1, 0, len(edges) - 2)
    if len(edges) == 1:  # all alike
        place = np.zeros(len(probabilities), dtype=np.int64)
    return [np.flatnonzero(place == number) for number in np.unique(place)]


@dataclass(frozen=True)
class BrierParts:
    """The mean squared error of probabilities, taken apart (Murphy 1973; Stephenson et al. 2008).

    Attributes
    ----------
    total : float
        ``reliability - resolution + uncertainty + within``.
    reliability : float
        How far what was said is from what came true; 0 is best.
    resolution : float
        How far the groups' shares are from the overall share; more is better.
    uncertainty : float
        Of the events themselves, which no classifier changes.
    within : float
        What differs inside the groups.
    """

    total: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float


def brier_parts(events: Events, probabilities: Floats, bins: int = BINS) -> BrierParts:
    """Take the Brier score apart, in the groups of `reliability`."""
    share = float(events.mean())
    off = apart = 0.0
    for members in _groups(probabilities, bins):
        weight = len(members) / len(events)
        came = float(events[members].mean())
        off += weight * (float(probabilities[members].mean()) - came) ** 2
        apart += weight * (came - share) ** 2
    total = float(np.mean((probabilities - events) ** 2))
    uncertainty = share * (1 - share)
    return BrierParts(total, off, apart, uncertainty, total - (off - apart + uncertainty))


# ---------------------------------------------------------------- scaling


def fit_temperature(labels: Labels, probabilities: Floats) -> float:
    """Temperature that makes probabilities likeliest (Guo et al. 2017, arXiv 1706.04599).

    Fit it on validation notes. Above 1 the classifier was too sure of itself. Order and most
    probable class stay as they are.

    Parameters
    ----------
    labels : Labels
    probabilities : ndarray of float64, shape [note, class]
    """

    def loss(logarithm: float) -> float:
        scaled = with_temperature(labels.task, probabilities, float(np.exp(logarithm)))
        return _log_loss(labels, scaled)

    bound = float(np.log(LARGEST_TEMPERATURE))
    found = optimize.minimize_scalar(loss, bounds=(-bound, bound), method="bounded")
    return float(np.exp(found.x))


def with_temperature(task: Task, probabilities: Floats, temperature: float) -> Floats:
    """Probabilities [note, class] at another temperature."""
    clipped = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    if task == "multilabel":
        return special.expit(special.logit(clipped) / temperature)
    return special.softmax(np.log(clipped) / temperature, axis=1)


def _log_loss(labels: Labels, probabilities: Floats) -> float:
    clipped = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    right = np.where(labels.matrix, np.log(clipped), 0.0)
    if labels.task == "multilabel":
        right += np.where(labels.matrix, 0.0, np.log1p(-clipped))
    return float(-right.sum() / len(right))


# ---------------------------------------------------------------- acting on probabilities


def net_benefit(events: Events, probabilities: Floats, thresholds: Floats) -> Floats:
    """Net benefit of acting where the probability reaches a threshold (Vickers & Elkin 2006).

    True positives less false ones, a note, these weighted by the odds of the threshold: at a
    threshold of 0.2 one true positive is worth four false ones. Acting on none is 0.

    Parameters
    ----------
    events : ndarray of bool, shape [event]
    probabilities : ndarray of float64, shape [event]
    thresholds : ndarray of float64, shape [threshold]
        Above 0, below 1.

    Returns
    -------
    ndarray of float64, shape [threshold]
    """
    order = np.argsort(probabilities, kind="stable")
    above = len(events) - np.searchsorted(probabilities[order], thresholds, side="left")
    hits = np.r_[0, np.cumsum(events[order][::-1])][above]
    odds = thresholds / (1 - thresholds)
    return (hits - (above - hits) * odds) / len(events)


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold chosen for an aim on validation notes, and what it does on test notes.

    Attributes
    ----------
    aim : str
        "sensitivity" or "precision".
    wanted : float
    threshold : float, optional
        None where no threshold reaches the aim on validation notes.
    sensitivity, specificity, precision, negative_value : float, optional
        On the test notes; None where there is nothing to divide by.
    flagged : float
        Share of test notes at or above the threshold.
    """

    aim: str
    wanted: float
    threshold: float | None
    sensitivity: float | None = None
    specificity: float | None = None
    precision: float | None = None
    negative_value: float | None = None
    flagged: float | None = None


def operating_points(
    validation: tuple[Events, Floats],
    test: tuple[Events, Floats],
    sensitivities: Sequence[float] = (0.8, 0.9, 0.95),
    precisions: Sequence[float] = (0.8, 0.9),
) -> list[OperatingPoint]:
    """Thresholds for chosen sensitivities and precisions.

    The highest threshold that has the sensitivity on validation notes, the lowest that has the
    precision there.
    """
    events, probabilities = validation
    candidates = np.unique(probabilities)
    flagged = probabilities[None, :] >= candidates[:, None]
    hits = (flagged & events).sum(axis=1)
    sensitivity = hits / max(1, events.sum())
    precision = hits / np.maximum(1, flagged.sum(axis=1))
    found = []
    for aim, reached, wanted, pick in [
        *(("sensitivity", sensitivity, wanted, -1) for wanted in sensitivities),
        *(("precision", precision, wanted, 0) for wanted in precisions),
    ]:
        able = candidates[reached >= wanted]
        threshold = float(able[pick]) if len(able) and events.any() else None
        found.append(_at(aim, wanted, threshold, *test))
    return found


def _at(
    aim: str, wanted: float, threshold: float | None, events: Events, probabilities: Floats
) -> OperatingPoint:
    if threshold is None:
        return OperatingPoint(aim, wanted, None)
    said = probabilities >= threshold

    def share(top: Events, bottom: Events) -> float | None:
        return float(top.sum() / bottom.sum()) if bottom.any() else None

    return OperatingPoint(
        aim,
        wanted,
        threshold,
        sensitivity=share(said & events, events),
        specificity=share(~said & ~events, ~events),
        precision=share(said & events, said),
        negative_value=share(~said & ~events, ~said),
        flagged=float(said.mean()),
    )
