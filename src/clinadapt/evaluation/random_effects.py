"""Meta-analysis of scores from several sites by random effects."""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from clinadapt.core.arrays import Floats
from clinadapt.evaluation.paired_comparison import SIGNIFICANCE

LEAST_FOR_NEW = 3  # sites needed for a prediction interval of a new site


@dataclass(frozen=True)
class Pooled:
    """Pooled score of several sites.

    Attributes
    ----------
    value, low, high : float
        Mean over sites, weighted by random effects, with its 95 % interval: that of Hartung & Knapp
        (2001), which does not take the variance between few sites as known, and never narrower
        than the normal one (Jackson et al. 2017).
    between : float
        Standard deviation of the true scores between sites.
    new_low, new_high : float
        95 % prediction interval for the score of a new site; NaN with fewer than 3 sites.
    """

    value: float
    low: float
    high: float
    between: float
    new_low: float
    new_high: float


def pool(values: Floats, errors: Floats) -> Pooled:
    """Pool the scores of sites by random effects.

    Parameters
    ----------
    values, errors : ndarray of float64, shape [site]
        Score of each site and its standard error. An error of zero, as for a small site on which
        all predictions are right or all are wrong, is replaced by the largest.
    """
    sites, nan = len(values), float("nan")
    if not sites or not errors.max():
        value = float(values.mean()) if sites else nan
        return Pooled(value, nan, nan, nan, nan, nan)
    errors = np.where(errors > 0, errors, errors.max())
    fixed = 1 / errors**2
    mean = float(fixed @ values / fixed.sum())
    heterogeneity = float(fixed @ (values - mean) ** 2)
    scale = float(fixed.sum() - (fixed**2).sum() / fixed.sum())
    variance = max(0.0, (heterogeneity - (sites - 1)) / scale) if sites > 1 else 0.0
    weights = 1 / (errors**2 + variance)
    value, error = float(weights @ values / weights.sum()), float(weights.sum() ** -0.5)
    half = float(stats.norm.ppf(1 - SIGNIFICANCE / 2)) * error
    if sites > 1:
        spread = float(weights @ (values - value) ** 2 / (sites - 1))
        student = float(stats.t.ppf(1 - SIGNIFICANCE / 2, sites - 1))
        half = max(half, student * error * spread**0.5)
    wide = nan
    if sites >= LEAST_FOR_NEW:
        wide = float(stats.t.ppf(1 - SIGNIFICANCE / 2, sites - 2)) * (variance + error**2) ** 0.5
    return Pooled(value, value - half, value + half, variance**0.5, value - wide, value + wide)
