r"""A power law of the number of notes, fitted to scores and to their resamples.

$$ a - b\,n^{-c} $$

(Hestness et al. 2017, arXiv 1712.00409; Figueroa et al. 2012, "Predicting sample size required for
classification performance", on clinical notes.)
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from clinadapt.evaluation import metrics

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Law:
    """A power law (a, b, c) of a row, and those of the resamples [resample, 3]; NaN: no fit."""

    best: Floats
    resampled: Floats

    def at(self, notes: float) -> Estimate:
        """Score expected with so many labelled notes."""
        return estimate(score_at(self.best, notes), score_at(self.resampled.T, notes))

    def gain(self, notes: float, more: float) -> Estimate:
        """Score that so many more labelled notes are expected to bring."""

        def difference(law: Floats) -> Any:
            return score_at(law, notes + more) - score_at(law, notes)

        return estimate(difference(self.best), difference(self.resampled.T))


def score_at(law: Floats, notes: Any) -> Any:
    """Score of a law (a, b, c), or of several [3, law], with so many notes."""
    a, b, c = law
    return a - b * notes ** (-c)


def fit(notes: Floats, scores: Floats) -> Floats | None:
    """Law of some scores, more being better; None where none can be fitted."""
    if np.isnan(scores).any():
        return None
    start = (min(1.0, scores.max() + 0.02), 1.0, 0.5)
    with warnings.catch_warnings():
        # The covariance is not used, and cannot be had where a curve is flat.
        warnings.simplefilter("ignore", optimize.OptimizeWarning)
        try:
            found, _ = optimize.curve_fit(
                lambda n, a, b, c: a - b * n ** (-c),
                notes,
                scores,
                p0=start,
                bounds=([-1.0, 0.0, 0.01], [1.0, 50.0, 2.0]),
            )
        except RuntimeError:  # no fit within the allowed number of steps
            return None
    return np.asarray(found, dtype=np.float64)


def estimate(value: Any, resampled: Floats) -> Estimate:
    """A number with the percentiles of its resamples."""
    low, high = metrics.interval(resampled)
    return Estimate(float(value), float(low), float(high))
