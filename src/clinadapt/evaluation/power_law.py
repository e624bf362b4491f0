r"""A power law of the number of notes, fitted to scores and to their resamples.

$$ a - b\,n^{-c} $$

(Hestness et al. 2017, arXiv 1712.00409; Figueroa et al. 2012, "Predicting sample size required for
classification performance", on clinical notes.)
"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import optimize

from clinadapt.core.arrays import Floats
from clinadapt.evaluation import metrics


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Law:
    """A power law fitted to a configuration's scores, and to their resamples.

    Attributes
    ----------
    best : ndarray of float64, shape [3]
        Parameters a, b and c fitted to the scores on all notes.
    resampled : ndarray of float64, shape [resample, 3]
        Parameters fitted to each resample, NaN where no fit was possible.
    """

    best: Floats
    resampled: Floats

    def at(self, notes: float) -> Estimate:
        """Return the score expected with a number of labelled notes."""
        return estimate(score_at(self.best, notes), score_at(self.resampled.T, notes))

    def gain(self, notes: float, more: float) -> Estimate:
        """Return the expected gain in score from `more` labelled notes."""

        def difference(law: Floats) -> Any:
            return score_at(law, notes + more) - score_at(law, notes)

        return estimate(difference(self.best), difference(self.resampled.T))


def score_at(law: Floats, notes: Any) -> Any:
    """Return the score of a law (a, b, c), or of several [3, law], at a number of notes."""
    a, b, c = law
    return a - b * notes ** (-c)


def fit(notes: Floats, scores: Floats) -> Floats | None:
    """Fit a law (a, b, c) to scores of which higher is better; None if no fit is possible."""
    if np.isnan(scores).any():
        return None
    start = (min(1.0, scores.max() + 0.02), 1.0, 0.5)
    with warnings.catch_warnings():
        # The covariance is not used, and cannot be estimated where a curve is flat.
        warnings.simplefilter("ignore", optimize.OptimizeWarning)
        try:
            parameters, _ = optimize.curve_fit(
                lambda n, a, b, c: a - b * n ** (-c),
                notes,
                scores,
                p0=start,
                bounds=([-1.0, 0.0, 0.01], [1.0, 50.0, 2.0]),
            )
        except RuntimeError:  # no fit within the allowed number of steps
            return None
    return np.asarray(parameters, dtype=np.float64)


def estimate(value: Any, resampled: Floats) -> Estimate:
    """Return a number with the percentile interval of its resamples."""
    low, high = metrics.percentiles(resampled)
    return Estimate(float(value), float(low), float(high))
