"""Rows of a study compared in pairs: differences with intervals and p-values.

Every configuration is scored on the same resamples of the test patients (Field & Welsh 2007) and, where it
has several seeds, on resamples of these. A difference is then paired note by note, and its
standard error holds both patients and seeds. The interval is Student's, with as many degrees of
freedom as patients less one: with few patients the percentiles of the resamples are too narrow.
p-values of one family of comparisons are corrected together (Holm 1979).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from clinadapt.data.labels import Labels
from clinadapt.evaluation import metrics

Floats = NDArray[np.float64]
Predictions = tuple[Floats, NDArray[np.bool_]]
SIGNIFICANCE = 0.05
# Of predictions that know nothing it is zero, whatever the task and the classes' frequencies.
KNOWLEDGE = "mcc"


@dataclass(frozen=True)
class Difference:
    """A difference with its 95 % interval.

    Attributes
    ----------
    value, low, high : float
        Positive where the first is the better one. NaN where the metric is undefined; the
        interval is NaN with a single patient, too.
    error : float
        Standard error.
    freedom : int
        Degrees of freedom of the interval.
    p : float
        Two-sided, of there being none.
    corrected_p : float
        The same, corrected for the number of comparisons in the family (Holm).
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
        """Whether it can be told from none, the other comparisons in mind."""
        return self.corrected_p < SIGNIFICANCE

    def certainty(self, least: float) -> float:
        """Confidence, from 0 to 1, that the true difference is at least so much."""
        if np.isnan(self.value) or np.isnan(self.error):
            return float("nan")
        if self.error == 0.0:
            return float(self.value >= least)
        return float(stats.t.cdf((self.value - least) / self.error, self.freedom))

    def to_json(self) -> dict[str, Any]:
        """Every number, and whether it is a difference."""
        return asdict(self) | {"different": self.different}


class Scores:
    """A metric of every configuration, on all test notes and on the same resamples of their patients.

    Parameters
    ----------
    labels : Labels
        Of the test notes.
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    metric : str
    configurations : mapping of str to sequence of (probabilities, predicted), both [note, class]
        Of each configuration, a pair a seed.
    resamples, seed : int

    Attributes
    ----------
    value, knowledge : dict of str to float
        The metric and the Matthews correlation of each configuration on all notes, mean over seeds.
    resampled : dict of str to ndarray of float64, shape [resample]
        The metric of each configuration on the resamples.
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
            configuration: [metrics.Statistics(labels, *found, names) for found in seeds]
            for configuration, seeds in configurations.items()
        }

        def scored(weights: Floats) -> dict[tuple[str, str], Floats]:
            """Of each configuration and name [resample, seed]."""
            found = {}
            for configuration, several in each.items():
                by_seed = [statistics(weights) for statistics in several]
                for name in names:
                    found[configuration, name] = np.stack(
                        [values[name] for values in by_seed], axis=1
                    )
            return found

        on_all = scored(np.ones((1, len(clusters))))
        self.value = {
            configuration: float(on_all[configuration, metric].mean())
            for configuration in configurations
        }
        self.knowledge = {
            configuration: float(on_all[configuration, KNOWLEDGE].mean())
            for configuration in configurations
        }
        # Some resamples at a time: of very many notes, all weights at once would not fit.
        chunks = [scored(some) for some in metrics.resample_weights(clusters, resamples, seed)]
        draws = np.random.default_rng([seed, 1])
        self.resampled: dict[str, Floats] = {}
        self._knowledge_resampled: dict[str, Floats] = {}
        for configuration, several in each.items():
            # Which of the configuration's seeds stand for it in each resample: [resample, seed].
            drawn = draws.integers(len(several), size=(resamples, len(several)))
            for name, kept in ((metric, self.resampled), (KNOWLEDGE, self._knowledge_resampled)):
                by_seed = np.concatenate([chunk[configuration, name] for chunk in chunks])
                kept[configuration] = np.take_along_axis(by_seed, drawn, axis=1).mean(axis=1)

    def differences(self, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Difference]:
        """First configuration against second, for one family of pairs."""
        asked = list(dict.fromkeys(pairs))
        found = [
            difference(
                self.sign * (self.value[one] - self.value[other]),
                self.sign * (self.resampled[one] - self.resampled[other]),
                self.freedom,
            )
            for one, other in asked
        ]
        return dict(zip(asked, corrected(found), strict=True))

    def knowing(self) -> dict[str, Difference]:
        """Each configuration's Matthews correlation against none: whether it knows anything at all."""
        found = [
            difference(
                self.knowledge[configuration],
                self._knowledge_resampled[configuration],
                self.freedom,
            )
            for configuration in self.knowledge
        ]
        return dict(zip(self.knowledge, corrected(found), strict=True))


def difference(value: float, resampled: Floats, freedom: int) -> Difference:
    """A difference with its interval, not yet corrected for others.

    Parameters
    ----------
    value : float
        On all notes.
    resampled : ndarray of float64, shape [resample]
    freedom : int
        Degrees of freedom: patients less one.
    """
    defined = resampled[~np.isnan(resampled)]
    # One patient drawn again and again is always the same, which proves nothing.
    if np.isnan(value) or len(defined) < 2 or freedom < 1:
        nan = float("nan")
        return Difference(value, nan, nan, nan, freedom, 1.0, 1.0)
    error = float(defined.std(ddof=1))
    if error == 0.0:  # every resample says the same
        p = float(value == 0.0)
        return Difference(value, value, value, error, freedom, p, p)
    half = float(stats.t.ppf(1 - SIGNIFICANCE / 2, freedom)) * error
    p = float(2 * stats.t.sf(abs(value) / error, freedom))
    return Difference(value, value - half, value + half, error, freedom, p, p)


def corrected(family: Sequence[Difference]) -> list[Difference]:
    """Differences of one family, their p-values corrected together."""
    together = holm([item.p for item in family])
    return [replace(item, corrected_p=p) for item, p in zip(family, together, strict=True)]


def holm(family: Sequence[float]) -> list[float]:
    """Holm: the smallest p times the number of comparisons, the next times one less, and so on."""
    p = np.asarray(family, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    together = np.empty_like(p)
    together[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(1.0, together).tolist()


@dataclass(frozen=True)
class McNemar:
    """Notes that one of two classifiers gets wholly right and the other does not.

    Attributes
    ----------
    first, second : int
        Notes that only the first, or only the second, gets right.
    p : float
        Mid-p (Fagerland, Lydersen & Laake 2013) of both being equally often right. It takes notes
        as independent, which those of one patient are not.
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
        Truth, and what each says.
    """
    right = [(labels == said).all(axis=1) for said in (first, second)]
    only_first = int((right[0] & ~right[1]).sum())
    only_second = int((right[1] & ~right[0]).sum())
    fewer, both = min(only_first, only_second), only_first + only_second
    if not both:
        return McNemar(0, 0, 1.0)
    # The exact test, in which the observed table counts half.
    exact = 2 * stats.binom.cdf(fewer, both, 0.5)
    p = exact - stats.binom.pmf(fewer, both, 0.5)
    return McNemar(only_first, only_second, float(min(1.0, p)))
