r"""Counts in bins, and what two sets of counts say about each other.

Notes of one patient are alike, and so are the words of one note; a test that takes them for
independent sees drift everywhere. So each set of counts carries how much its shares vary because
of that: with shares $p$ of $n$ things, and $V$ their covariance over clusters (patients, notes),

$$ \delta = \frac{n}{k-1}\operatorname{tr}(D^{-1}V), \qquad
   \nu = \frac{\operatorname{tr}(D^{-1}V)^2}{\operatorname{tr}\left((D^{-1}V)^2\right)},
   \qquad D = \operatorname{diag}(p), $$

the mean design effect and the effective degrees of freedom. Two sets are held together by the
chi-squared statistic, corrected by both (Rao & Scott 1981, second order; Satterthwaite 1946).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, NonNegativeInt, model_validator
from scipy.stats import chi2

Floats = NDArray[np.float64]
BINS = 10
MOST_BINS = 2_000
# Half a note for a bin of shares that would be zero: else the stability index is infinite.
FLOOR = 0.5


class Counts(BaseModel):
    """Things counted by bin, and how much the shares vary from cluster to cluster.

    Attributes
    ----------
    counts : list of int, [bin]
    design_effect : float
        1 if things are independent; at least that.
    degrees : float
        Effective degrees of freedom.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    counts: list[NonNegativeInt]
    design_effect: float
    degrees: float

    @model_validator(mode="after")
    def _plausible(self) -> "Counts":
        if not 1 <= len(self.counts) <= MOST_BINS or not 0 < sum(self.counts) < 2**53:
            raise ValueError("counts")
        if self.design_effect < 1 or self.degrees < 1:
            raise ValueError("design_effect, degrees")
        return self

    @property
    def total(self) -> int:
        """Number of things."""
        return sum(self.counts)

    @property
    def shares(self) -> Floats:
        """Share of each bin."""
        return np.array(self.counts, dtype=np.float64) / self.total


def count(table: Floats) -> Counts:
    """Add up counts [cluster, bin], and measure how the clusters differ.

    Parameters
    ----------
    table : ndarray of float64, shape [cluster, bin]
    """
    sums, sizes = table.sum(axis=0), table.sum(axis=1)
    used = sums > 0
    clusters, bins, total = len(table), int(used.sum()), float(sums.sum())
    effect, degrees = 1.0, float(max(1, bins - 1))
    if clusters > 1 and bins > 1:
        shares = sums[used] / total
        # A share is a ratio of sums over clusters: its variance is that of what is left over.
        left = (table[:, used] - sizes[:, None] * shares) / np.sqrt(shares) / total
        # The smaller of the two products has the same trace and the same trace of its square.
        gram = left @ left.T if clusters < bins else left.T @ left
        gram *= clusters / (clusters - 1)
        trace, squared = float(np.trace(gram)), float(np.square(gram).sum())
        if squared > 0:
            effect = max(1.0, trace * total / (bins - 1))
            degrees = float(np.clip(trace**2 / squared, 1.0, bins - 1))
    return Counts(
        counts=np.rint(sums).astype(np.int64).tolist(), design_effect=effect, degrees=degrees
    )


def edges_of(values: Floats) -> list[float]:
    """Inner edges of at most ten bins that hold about as many values each."""
    inner = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:-1])
    # A value on an edge lies below it, so the largest one is no edge; unless there is no other: of
    # what no note had at fitting (unknown tokens), a second bin waits for those that have.
    return sorted({float(edge) for edge in inner if edge < values.max()}) or [float(values.max())]


def count_values(values: Floats, clusters: NDArray[np.int64], edges: list[float]) -> Counts:
    """Count values [note] in the bins between edges, by cluster."""
    table = np.zeros((int(clusters.max()) + 1, len(edges) + 1))
    np.add.at(table, (clusters, np.searchsorted(edges, values, side="left")), 1.0)
    return count(table[table.sum(axis=1) > 0])


@dataclass(frozen=True)
class Comparison:
    """How two sets of counts differ.

    Attributes
    ----------
    p : float
        Of the corrected chi-squared test that both come from one source.
    psi : float
        Population stability index: the sum over bins of the difference of the shares times the
        difference of their logarithms.
    psi_by_chance : float
        What the index would be on average if nothing had changed.
    """

    p: float
    psi: float
    psi_by_chance: float


def compare(before: Counts, now: Counts) -> Comparison:
    """Hold two sets of counts of the same bins together.

    Parameters
    ----------
    before, now : Counts
    """
    one, other = before.shares, now.shares
    pooled = (np.array(before.counts) + np.array(now.counts)) / (before.total + now.total)
    used = pooled > 0
    free = int(used.sum()) - 1
    p, chance = 1.0, 0.0
    if free:
        statistic = float((np.square(one - other)[used] / pooled[used]).sum())
        # Mean of the statistic, and the root of half its variance, from each side.
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


def _stability(before: Counts, now: Counts) -> float:
    one, other = (
        np.maximum(side.counts, FLOOR) / np.maximum(side.counts, FLOOR).sum()
        for side in (before, now)
    )
    return float(((other - one) * np.log(other / one)).sum())
