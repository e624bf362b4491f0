"""Calibration of probabilities, and the benefit of acting on them.

Everything here concerns events: the positive class (binary), the most probable class being the
right one (multi-class), or every label of every note (multi-label).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its parts are loaded on first use
from numpy.typing import NDArray

from clinadapt.core.arrays import Floats
from clinadapt.data.labels import Labels

Events = NDArray[np.bool_]
BINS = 10


def events_of(labels: Labels, probabilities: Floats) -> tuple[Events, Floats]:
    """Return the events and their probabilities.

    Parameters
    ----------
    labels : Labels
    probabilities : ndarray of float64, shape [note, class]

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
    """Events of similar probability.

    Attributes
    ----------
    said : float
        Mean predicted probability.
    came : float
        Observed share of events that occurred.
    low, high : float
        95 % interval of the observed share (Wilson 1927), assuming independent events.
    events : int
        Number of events.
    """

    said: float
    came: float
    low: float
    high: float
    events: int


def reliability(events: Events, probabilities: Floats, bins: int = BINS) -> list[Bin]:
    """Compare predicted probabilities with observed shares, in bins of about equal size.

    Bins have equal numbers of events, not equal widths: where most probabilities are alike, some
    bins of equal width would hold one or two events and show noise. Equal probabilities stay
    together.
    """
    curve = []
    for members in _groups(probabilities, bins):
        observed = int(events[members].sum())
        low, high = _wilson(observed, len(members))
        curve.append(
            Bin(
                said=float(probabilities[members].mean()),
                came=observed / len(members),
                low=low,
                high=high,
                events=len(members),
            )
        )
    return curve


def _wilson(count: int, of: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson 1927).

    scipy.stats has it too, but takes half a second to load, for a report that needs nothing else
    of it.
    """
    z = float(scipy.special.ndtri(0.975))
    share, weight = count / of, z**2 / of
    middle = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / of + weight / (4 * of)) / (1 + weight)
    return max(0.0, middle - half), min(1.0, middle + half)


def _groups(probabilities: Floats, bins: int) -> list[NDArray[np.int64]]:
    edges = np.unique(np.quantile(probabilities, np.linspace(0, 1, bins + 1)))
    place = np.clip(np.searchsorted(edges, probabilities, side="right") - 1, 0, len(edges) - 2)
    if len(edges) == 1:  # all probabilities are equal
        place = np.zeros(len(probabilities), dtype=np.int64)
    return [np.flatnonzero(place == number) for number in np.unique(place)]


@dataclass(frozen=True)
class BrierParts:
    """Decomposition of the Brier score (Murphy 1973; Stephenson et al. 2008).

    Attributes
    ----------
    total : float
        ``reliability - resolution + uncertainty + within``.
    reliability : float
        Mean squared distance of predicted probabilities from observed shares; 0 is best.
    resolution : float
        Mean squared distance of the groups' shares from the overall share; higher is better.
    uncertainty : float
        Variance of the events themselves, which no classifier changes.
    within : float
        Contribution of differences inside the groups.
    """

    total: float
    reliability: float
    resolution: float
    uncertainty: float
    within: float


def brier_parts(events: Events, probabilities: Floats, bins: int = BINS) -> BrierParts:
    """Decompose the Brier score, in the bins of `reliability`."""
    share = float(events.mean())
    off = resolution = 0.0
    for members in _groups(probabilities, bins):
        weight = len(members) / len(events)
        observed = float(events[members].mean())
        off += weight * (float(probabilities[members].mean()) - observed) ** 2
        resolution += weight * (observed - share) ** 2
    total = float(np.mean((probabilities - events) ** 2))
    uncertainty = share * (1 - share)
    within = total - (off - resolution + uncertainty)
    return BrierParts(total, off, resolution, uncertainty, within)


# ---------------------------------------------------------------- acting on probabilities


def net_benefit(events: Events, probabilities: Floats, thresholds: Floats) -> Floats:
    """Return the net benefit of acting above a threshold (Vickers & Elkin 2006).

    It is the number of true positives minus that of false positives weighted by the odds of the
    threshold, per note: at a threshold of 0.2, one true positive is worth four false ones. Acting
    on no note has a net benefit of 0.

    Parameters
    ----------
    events : ndarray of bool, shape [event]
    probabilities : ndarray of float64, shape [event]
    thresholds : ndarray of float64, shape [threshold]
        Between 0 and 1, exclusive.

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
    """A threshold chosen for a target on validation notes, and its effect on test notes.

    Attributes
    ----------
    aim : str
        Targeted measure: "sensitivity" or "precision".
    wanted : float
        Target value.
    threshold : float, optional
        None where no threshold reaches the target on validation notes.
    sensitivity, specificity, precision, negative_value : float, optional
        Measures on the test notes; None where the denominator is zero.
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
    """Return thresholds that reach chosen sensitivities and precisions on validation notes.

    For a sensitivity this is the highest such threshold, for a precision the lowest.

    Parameters
    ----------
    validation, test : (ndarray of bool, ndarray of float64), both of shape [event]
        Events and their probabilities, see `events_of`.
    sensitivities, precisions : sequence of float
        Target values.
    """
    events, probabilities = validation
    candidates = np.unique(probabilities)
    flagged = probabilities[None, :] >= candidates[:, None]
    hits = (flagged & events).sum(axis=1)
    sensitivity = hits / max(1, events.sum())
    precision = hits / np.maximum(1, flagged.sum(axis=1))
    points = []
    for aim, reached, wanted, pick in [
        *(("sensitivity", sensitivity, wanted, -1) for wanted in sensitivities),
        *(("precision", precision, wanted, 0) for wanted in precisions),
    ]:
        able = candidates[reached >= wanted]
        threshold = float(able[pick]) if len(able) and events.any() else None
        points.append(_at(aim, wanted, threshold, *test))
    return points


def _at(
    aim: str, wanted: float, threshold: float | None, events: Events, probabilities: Floats
) -> OperatingPoint:
    if threshold is None:
        return OperatingPoint(aim, wanted, None)
    positive = probabilities >= threshold

    def share(top: Events, bottom: Events) -> float | None:
        return float(top.sum() / bottom.sum()) if bottom.any() else None

    return OperatingPoint(
        aim,
        wanted,
        threshold,
        sensitivity=share(positive & events, events),
        specificity=share(~positive & ~events, ~events),
        precision=share(positive & events, positive),
        negative_value=share(~positive & ~events, ~positive),
        flagged=float(positive.mean()),
    )
