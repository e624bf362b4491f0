r"""Counts in bins, and the comparison of two sets of counts.

Notes of one patient are alike, and so are the words of one note; a test that assumes independence
would report drift everywhere. Each set of counts therefore includes how much its shares vary
because of that: with shares $p$ of $n$ items, and $V$ their covariance over clusters (patients,
notes),

$$ \delta = \frac{n}{k-1}\operatorname{tr}(D^{-1}V), \qquad
   \nu = \frac{\operatorname{tr}(D^{-1}V)^2}{\operatorname{tr}\left((D^{-1}V)^2\right)},
   \qquad D = \operatorname{diag}(p), $$

are the mean design effect and the effective degrees of freedom. Two sets are compared by the
chi-squared statistic, corrected by both (Rao & Scott 1981, second order; Satterthwaite 1946).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, NonNegativeInt, model_validator
from scipy.stats import chi2

from clinadapt.core.arrays import Floats

BINS = 10
MOST_BINS = 2_000
# An empty bin counts as half a note, because the stability index would otherwise be infinite.
FLOOR = 0.5


class BinnedCounts(BaseModel):
    """Items counted by bin, and how much the shares vary from cluster to cluster.

    Attributes
    ----------
    counts : list of int, [bin]
    design_effect : float
        At least 1, which stands for independent items.
    degrees : float
        Effective degrees of freedom.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    counts: list[NonNegativeInt]
    design_effect: float
    degrees: float

    @model_validator(mode="after")
    def _plausible(self) -> "BinnedCounts":
        if not 1 <= len(self.counts) <= MOST_BINS or not 0 < sum(self.counts) < 2**53:
            raise ValueError("counts")
        if self.design_effect < 1 or self.degrees < 1:
            raise ValueError("design_effect, degrees")
        return self

    @property
    def total(self) -> int:
        """Number of items."""
        return sum(self.counts)

    @property
    def shares(self) -> Floats:
        """Share of each bin."""
        return np.array(self.counts, dtype=np.float64) / self.total


def count(table: Floats) -> BinnedCounts:
    """Add up counts over clusters, and measure how the clusters differ.

    Parameters
    ----------
    table : ndarray of float64, shape [cluster, bin]
        Counts of each cluster.
    """
    sums, sizes = table.sum(axis=0), table.sum(axis=1)
    used = sums > 0
    clusters, bins, total = len(table), int(used.sum()), float(sums.sum())
    effect, degrees = 1.0, float(max(1, bins - 1))
    if clusters > 1 and bins > 1:
        shares = sums[used] / total
        # A share is a ratio of sums over clusters: its variance is that of the residuals.
        residuals = (table[:, used] - sizes[:, None] * shares) / np.sqrt(shares) / total
        # Both products have the same trace and the same trace of the square: take the smaller.
        gram = residuals @ residuals.T if clusters < bins else residuals.T @ residuals
        gram *= clusters / (clusters - 1)
        trace, squared = float(np.trace(gram)), float(np.square(gram).sum())
        if squared > 0:
            effect = max(1.0, trace * total / (bins - 1))
            degrees = float(np.clip(trace**2 / squared, 1.0, bins - 1))
    return BinnedCounts(
        counts=np.rint(sums).astype(np.int64).tolist(), design_effect=effect, degrees=degrees
    )


def edges_of(values: Floats) -> list[float]:
    """Return the inner edges of at most ten bins with about equal numbers of values."""
    inner = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])
    # A value on an edge lies below it, so the largest value is not an edge. If it is the only one,
    # it is: for what no training note had (unknown tokens), a second bin counts later notes.
    return sorted({float(edge) for edge in inner if edge < values.max()}) or [float(values.max())]


def count_values(values: Floats, clusters: NDArray[np.int64], edges: list[float]) -> BinnedCounts:
    """Count values [note] in the bins between edges, by cluster."""
    table = np.zeros((int(clusters.max()) + 1, len(edges) + 1))
    np.add.at(table, (clusters, np.searchsorted(edges, values, side="left")), 1.0)
    return count(table[table.sum(axis=1) > 0])


@dataclass(frozen=True)
class Comparison:
    """Difference of two sets of counts.

    Attributes
    ----------
    p : float
        p-value of the corrected chi-squared test that both have the same distribution.
    psi : float
        Population stability index: the sum over bins of the difference of the shares times the
        difference of their logarithms.
    psi_by_chance : float
        Expected value of the index if nothing had changed.
    """

    p: float
    psi: float
    psi_by_chance: float


def compare(before: BinnedCounts, now: BinnedCounts) -> Comparison:
    """Compare two sets of counts of the same bins.

    Parameters
    ----------
    before, now : BinnedCounts
    """
    one, other = before.shares, now.shares
    pooled = (np.array(before.counts) + np.array(now.counts)) / (before.total + now.total)
    used = pooled > 0
    free = int(used.sum()) - 1
    p, chance = 1.0, 0.0
    if free:
        statistic = float((np.square(one - other)[used] / pooled[used]).sum())
        # What each side adds to the mean of the statistic, and to the root of half its variance.
        means = [free * side.design_effect / side.total for side in (before, now)]
        roots = [
            mean / np.sqrt(min(side.degrees, free))
            for mean, side in zip(means, (before, now), strict=True)
        ]
        chance = float(sum(means))
        spread = float(sum(roots)) ** 2
        # c times a chi-squared of d degrees has mean c d and half-variance c² d.
        p = float(chi2.sf(statistic * chance / spread, chance**2 / spread))
    return Comparison(p=p, psi=_stability(before, now), psi_by_chance=chance)


def _stability(before: BinnedCounts, now: BinnedCounts) -> float:
    one, other = (
        np.maximum(side.counts, FLOOR) / np.maximum(side.counts, FLOOR).sum()
        for side in (before, now)
    )
    return float(((other - one) * np.log(other / one)).sum())
