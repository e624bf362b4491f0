"""Paired comparison of configurations: differences with intervals and p-values.

Every configuration is scored on the same resamples of the test patients (Field & Welsh 2007) and,
where it has several seeds, on resamples of the seeds. A difference is then paired note by note,
and its standard error reflects both patients and seeds. One seed fewer is drawn than there are, for
the variance of a mean of n seeds drawn from n is (n - 1) / n of what it should be (Rao & Wu 1988);
a configuration with one seed brings no variance of seeds. The interval uses Student's t
distribution with one degree of freedom fewer than there are patients: with few patients,
percentiles of the resamples would be too narrow. The p-values of comparisons made together are
corrected together (Holm 1979).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from clinadapt.core.arrays import Floats
from clinadapt.data.labels import Labels
from clinadapt.evaluation import metrics

Predictions = tuple[Floats, NDArray[np.bool_]]
SIGNIFICANCE = 0.05
# Zero for predictions at chance level, whatever the task and the class frequencies.
KNOWLEDGE = "mcc"


@dataclass(frozen=True)
class Difference:
    """A difference with its 95 % interval.

    Attributes
    ----------
    value, low, high : float
        Positive where the first is better. NaN where the metric is undefined; the interval is also
        NaN with a single patient.
    error : float
        Standard error.
    freedom : int
        Degrees of freedom of the interval.
    p : float
        Two-sided p-value of no difference.
    corrected_p : float
        The p-value after correction for all comparisons made together (Holm).
    """

    value: float
    low: float
    high: float
    error: float
    freedom: int
    p: float
    corrected_p: float

    @property
    def different(self) -> bool:
        """True if the difference is significant after correction for the other comparisons."""
        return self.corrected_p < SIGNIFICANCE

    def certainty(self, least: float) -> float:
        """Return the confidence, from 0 to 1, that the true difference is at least `least`."""
        if np.isnan(self.value) or np.isnan(self.error):
            return float("nan")
        if self.error == 0.0:
            return float(self.value >= least)
        return float(stats.t.cdf((self.value - least) / self.error, self.freedom))

    def to_json(self) -> dict[str, Any]:
        """Return every number, and whether the difference is significant."""
        return asdict(self) | {"different": self.different}


class ResampledScores:
    """A metric of every configuration, on all test notes and on shared resamples of the patients.

    Parameters
    ----------
    labels : Labels
        Labels of the test notes.
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    metric : str
    configurations : mapping of str to sequence of (probabilities, predicted), both [note, class]
        Predictions of each configuration, one pair per seed.
    resamples, seed : int

    Attributes
    ----------
    value, knowledge : dict of str to float
        Metric and Matthews correlation of each configuration on all notes, mean over seeds.
    resampled : dict of str to ndarray of float64, shape [resample]
        Metric of each configuration on the resamples.
    """

    def __init__(
        self,
        labels: Labels,
        clusters: NDArray[np.int64],
        metric: str,
        configurations: Mapping[str, Sequence[Predictions]],
        resamples: int = 1000,
        seed: int = 0,
    ) -> None:
        self.sign = metrics.sign(metric)
        self.freedom = len(np.unique(clusters)) - 1
        names = list(dict.fromkeys([metric, KNOWLEDGE]))
        each = {
            configuration: [
                metrics.Statistics(labels, *predictions, names) for predictions in seeds
            ]
            for configuration, seeds in configurations.items()
        }

        def scored(weights: Floats) -> dict[tuple[str, str], Floats]:
            """Score each configuration by each metric: values [resample, seed]."""
            scores = {}
            for configuration, several in each.items():
                by_seed = [statistics(weights) for statistics in several]
                for name in names:
                    scores[configuration, name] = np.stack(
                        [values[name] for values in by_seed], axis=1
                    )
            return scores

        on_all = scored(np.ones((1, len(clusters))))
        self.value = {
            configuration: float(on_all[configuration, metric].mean())
            for configuration in configurations
        }
        self.knowledge = {
            configuration: float(on_all[configuration, KNOWLEDGE].mean())
            for configuration in configurations
        }
        # In chunks of resamples: with very many notes, all weights at once would not fit.
        chunks = [scored(some) for some in metrics.resample_weights(clusters, resamples, seed)]
        draws = np.random.default_rng([seed, 1])
        self.resampled: dict[str, Floats] = {}
        self._knowledge_resampled: dict[str, Floats] = {}
        for configuration, several in each.items():
            # Seeds that represent the configuration in each resample: [resample, seed].
            drawn = max(1, len(several) - 1)
            chosen = draws.integers(len(several), size=(resamples, drawn))
            for name, kept in ((metric, self.resampled), (KNOWLEDGE, self._knowledge_resampled)):
                by_seed = np.concatenate([chunk[configuration, name] for chunk in chunks])
                kept[configuration] = np.take_along_axis(by_seed, chosen, axis=1).mean(axis=1)

    def differences(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Difference]:
        """Return first minus second for each pair; all pairs are corrected together."""
        unique = list(dict.fromkeys(pairs))
        uncorrected = [
            difference(
                self.sign * (self.value[one] - self.value[other]),
                self.sign * (self.resampled[one] - self.resampled[other]),
                self.freedom,
            )
            for one, other in unique
        ]
        return dict(zip(unique, corrected(uncorrected), strict=True))

    def knowing(self) -> dict[str, Difference]:
        """Return the difference of each configuration's Matthews correlation from chance level."""
        uncorrected = [
            difference(
                self.knowledge[configuration],
                self._knowledge_resampled[configuration],
                self.freedom,
            )
            for configuration in self.knowledge
        ]
        return dict(zip(self.knowledge, corrected(uncorrected), strict=True))


def difference(value: float, resampled: Floats, freedom: int) -> Difference:
    """Return a difference with its interval, its p-value not yet corrected.

    Parameters
    ----------
    value : float
        Difference on all notes.
    resampled : ndarray of float64, shape [resample]
        Differences on the resamples.
    freedom : int
        Degrees of freedom: number of patients minus one.
    """
    defined = resampled[~np.isnan(resampled)]
    # Resamples of a single patient are all the same and have no spread to judge by.
    if np.isnan(value) or len(defined) < 2 or freedom < 1:
        nan = float("nan")
        return Difference(value, nan, nan, nan, freedom, 1.0, 1.0)
    error = float(defined.std(ddof=1))
    if error == 0.0:  # every resample has the same difference
        p = float(value == 0.0)
        return Difference(value, value, value, error, freedom, p, p)
    half = float(stats.t.ppf(1 - SIGNIFICANCE / 2, freedom)) * error
    p = float(2 * stats.t.sf(abs(value) / error, freedom))
    return Difference(value, value - half, value + half, error, freedom, p, p)


def corrected(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences with their p-values corrected together."""
    corrected_p = holm([item.p for item in differences])
    return [replace(item, corrected_p=p) for item, p in zip(differences, corrected_p, strict=True)]


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values by Holm's method.

    The smallest is multiplied by the number of comparisons, the next by one less, and so on.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(1.0, adjusted).tolist()


@dataclass(frozen=True)
class McNemar:
    """Notes that only one of two classifiers gets entirely right.

    Attributes
    ----------
    first, second : int
        Notes that only the first, or only the second, gets right.
    p : float
        Mid-p value (Fagerland, Lydersen & Laake 2013) of both being right equally often. It assumes
        independent notes, which notes of one patient are not.
    """

    first: int
    second: int
    p: float


def mcnemar(
    labels: NDArray[np.bool_], first: NDArray[np.bool_], second: NDArray[np.bool_]
) -> McNemar:
    """Compare the accuracy of two classifiers on the same notes.

    Parameters
    ----------
    labels, first, second : ndarray of bool, shape [note, class]
        True classes, and the predictions of each classifier.
    """
    right = [(labels == predicted).all(axis=1) for predicted in (first, second)]
    only_first = int((right[0] & ~right[1]).sum())
    only_second = int((right[1] & ~right[0]).sum())
    fewer, both = min(only_first, only_second), only_first + only_second
    if not both:
        return McNemar(0, 0, 1.0)
    # The mid-p value is that of the exact test, with the observed table counted half.
    exact = 2 * stats.binom.cdf(fewer, both, 0.5)
    p = exact - stats.binom.pmf(fewer, both, 0.5)
    return McNemar(only_first, only_second, float(min(1.0, p)))
