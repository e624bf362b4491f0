"""Scores over the number of labelled notes: learning curves, their crossings and forecasts.

A study with a curve runs its configurations again on parts of its labelled notes (training and
validation), with several draws per size; the test notes stay the same. A power law of the number
of notes is fitted to each configuration's scores. The fit is repeated on every resample of test
patients and draws, and the intervals are the percentiles of these fits.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.arrays import Floats
from clinadapt.core.messages import Message
from clinadapt.data.labels import Labels
from clinadapt.data.levels import NOTES, Unit
from clinadapt.evaluation import curve_sentences, metrics
from clinadapt.evaluation.budget import Step, worthwhile
from clinadapt.evaluation.paired_comparison import Difference, Predictions, ResampledScores
from clinadapt.evaluation.power_law import Estimate, Law, estimate, fit, score_at

FITS = 200
LEAST_SIZES = 4  # one more than the law's three parameters, so that the fit can be judged
GRID = 40
AHEAD = 4.0  # the curve is drawn up to this multiple of the largest size
# Kinds of model in the order of the report, see `clinadapt.models.contract`.
KINDS = ("encoder", "from scratch", "word counts", "stacked", "private", "other")


@dataclass(frozen=True, eq=False)
class SizeResults:
    """Results of a configuration for one number of labelled notes.

    Attributes
    ----------
    notes : int
        Labelled notes, mean over draws.
    predictions : sequence of (probabilities, predicted), both [note, class]
        Predictions on the test notes, one pair per draw and seed.
    seconds : float
        Mean time to encode, train and predict.
    memory : float
        Mean peak memory in bytes.
    """

    notes: int
    predictions: Sequence[Predictions]
    seconds: float
    memory: float


@dataclass(frozen=True, eq=False)
class Grower:
    """A configuration with its results at every size.

    Attributes
    ----------
    configuration_id, label, model : str
    kind : str
        Kind of model, see `clinadapt.models.contract`.
    sizes : sequence of SizeResults
        In ascending order.
    """

    configuration_id: str
    label: str
    model: str
    kind: str
    sizes: Sequence[SizeResults]


@dataclass(frozen=True)
class Price:
    """What a run costs, and the sentences about it."""

    of: Callable[[SizeResults], float]
    step: Message
    pays: Message
    enough: Message


PRICES = (
    Price(
        lambda size: size.seconds,
        step=Message("{label} (from {price:seconds})"),
        pays=Message("{first} needs the least time, and more time pays off with {steps}"),
        enough=Message("nothing that needs more time than {first} scores significantly better"),
    ),
    Price(
        lambda size: size.memory,
        step=Message("{label} (from {price:size})"),
        pays=Message("{first} needs the least memory, and more memory pays off with {steps}"),
        enough=Message("nothing that needs more memory than {first} scores significantly better"),
    ),
)


class Curves:
    """Scores of configurations over the number of labelled notes.

    Parameters
    ----------
    growers : sequence of Grower
    labels : Labels
        Labels of the test notes.
    clusters : ndarray of int64, shape [note]
        Patient of each test note.
    metric : str
    unit : Unit
        What is labelled and counted.
    """

    def __init__(
        self,
        growers: Sequence[Grower],
        labels: Labels,
        clusters: NDArray[np.int64],
        metric: str,
        unit: Unit = NOTES,
    ) -> None:
        self.growers, self.unit = growers, unit
        self.sign = metrics.sign(metric)
        self.metric = metric
        self.scores = ResampledScores(
            labels,
            clusters,
            metric,
            {
                _key(grower, number): size.predictions
                for grower in growers
                for number, size in enumerate(grower.sizes)
            },
            resamples=FITS,
        )

    @cached_property
    def laws(self) -> dict[str, Law]:
        """Fitted law of each configuration that has enough sizes, by configuration id."""
        return {
            grower.configuration_id: law
            for grower in self.growers
            if len(grower.sizes) >= LEAST_SIZES
            and (law := self._law(grower, len(grower.sizes))) is not None
        }

    def _law(self, grower: Grower, sizes: int) -> Law | None:
        """Fit a law to the first sizes of a configuration; None if no fit was possible."""
        notes = np.array([size.notes for size in grower.sizes[:sizes]], dtype=np.float64)
        keys = [_key(grower, number) for number in range(sizes)]
        best = fit(notes, self.sign * np.array([self.scores.value[key] for key in keys]))
        if best is None:
            return None
        resampled = self.sign * np.column_stack([self.scores.resampled[key] for key in keys])
        fits = [fit(notes, scores) for scores in resampled]
        none = np.full(3, np.nan)
        return Law(best, np.array([none if fit is None else fit for fit in fits]))

    @cached_property
    def held_out(self) -> dict[str, dict[str, Any]]:
        """Check of each law, by configuration id.

        A law is fitted to all sizes but the largest, and its forecast for the largest size is
        compared with the measured score.
        """
        growers = [grower for grower in self.growers if grower.configuration_id in self.laws]
        checks = ((grower.configuration_id, self._held_out(grower)) for grower in growers)
        return {configuration_id: check for configuration_id, check in checks if check is not None}

    def _held_out(self, grower: Grower) -> dict[str, Any] | None:
        law = self._law(grower, len(grower.sizes) - 1)
        if law is None:
            return None
        largest = grower.sizes[-1]
        measured = self.sign * self.scores.value[_key(grower, len(grower.sizes) - 1)]
        forecast = law.at(largest.notes)
        return {
            "notes": largest.notes,
            "came": self.sign * measured,
            "inside": bool(forecast.low <= measured <= forecast.high),
            **{name: self.sign * value for name, value in asdict(forecast).items()},
        }

    # ------------------------------------------------------------------ crossings

    def crossing(self, one: Grower, other: Grower) -> Estimate | None:
        """Return the number of labelled notes at which the second overtakes the first.

        None unless the laws cross exactly once within the sizes tried, both on all test notes and
        on most resamples.
        """
        if one.configuration_id not in self.laws or other.configuration_id not in self.laws:
            return None
        grid = self._grid(1.0)
        first, second = self.laws[one.configuration_id], self.laws[other.configuration_id]

        def overtakes(law: Floats, rival: Floats) -> float:
            ahead = score_at(rival[:, None], grid) > score_at(law[:, None], grid)
            turns = np.flatnonzero(np.diff(ahead.astype(int)))
            once = len(turns) == 1 and bool(ahead[-1])
            return float(np.sqrt(grid[turns[0]] * grid[turns[0] + 1])) if once else np.nan

        value = overtakes(first.best, second.best)
        pairs = zip(first.resampled, second.resampled, strict=True)
        resampled = np.array([overtakes(a, b) for a, b in pairs])
        defined = resampled[~np.isnan(resampled)]
        if np.isnan(value) or len(defined) < len(resampled) / 2:
            return None
        return estimate(value, defined)

    def _grid(self, ahead: float) -> Floats:
        sizes = [size.notes for grower in self.growers for size in grower.sizes]
        return np.geomspace(min(sizes), ahead * max(sizes), GRID)

    # ------------------------------------------------------------------ costs

    def ladder(self, number: int, price: Callable[[SizeResults], float]) -> list[Step]:
        """Return the best choices for a growing budget of time or memory, at one size.

        The first is the cheapest configuration; each next one scores significantly better than the
        one before it.

        Parameters
        ----------
        number : int
            Index of the size.
        price : callable
            From a size to the cost of a run.
        """
        candidates = [
            Step(_key(grower, number), grower.label, price(grower.sizes[number]))
            for grower in self.growers
            if number < len(grower.sizes)
        ]
        return worthwhile(candidates, self.scores)

    def _budgets(self) -> Iterator[str]:
        """Yield which configurations more time and memory pay for, at the ends of the curve."""
        sizes = max(self.growers, key=lambda grower: len(grower.sizes)).sizes
        for number in sorted({0, len(sizes) - 1}):
            choices = []
            for price in PRICES:
                first, *others = self.ladder(number, price.of)
                steps = [Message(price.step, label=step.label, price=step.price) for step in others]
                choices.append(
                    Message(price.pays, first=first.label, steps=steps)
                    if others
                    else Message(price.enough, first=first.label)
                )
            time, memory = choices
            yield Message(
                "With {notes:,} labelled {units}: {time}; {memory}.",
                units=self.unit.many,
                notes=sizes[number].notes,
                time=time,
                memory=memory,
            )

    # ------------------------------------------------------------------ words

    def sentences(self) -> list[str]:
        """Return the findings in words.

        They state which kind of model suits how many notes, and what more notes would bring.
        """
        leaders = [
            max(growers, key=self._last)
            for kind in KINDS
            if (growers := [g for g in self.growers if g.kind == kind and g.sizes])
        ]
        findings = [self._compared(one, other) for one, other in combinations(leaders, 2)]
        if leaders:
            findings += self._budgets()
            findings += self._more_notes(max(leaders, key=self._last))
        return findings

    def _last(self, grower: Grower) -> float:
        return float(self.sign * self.scores.value[_key(grower, len(grower.sizes) - 1)])

    def _compared(self, one: Grower, other: Grower) -> str:
        differences = self._differences(one, other)
        for early, late, sign in ((one, other, 1), (other, one, -1)):
            crossing = self.crossing(early, late)
            if crossing is None:
                continue
            # Fitted curves may cross by chance: significant differences on both sides must agree.
            significant = {
                n: sign * item.value for n, item in differences.items() if item.different
            }
            before = any(n < crossing.value and value > 0 for n, value in significant.items())
            after = any(n > crossing.value and value < 0 for n, value in significant.items())
            if before and after:
                return Message(
                    "Below about {value:estimate} labelled {units} [{low:estimate}, "
                    "{high:estimate}], {early} does better; above, {late}.",
                    units=self.unit.many,
                    value=round(crossing.value),
                    low=round(crossing.low),
                    high=round(crossing.high),
                    early=early.label,
                    late=late.label,
                )
        return curve_sentences.without_crossing(one.label, other.label, differences, self.unit)

    def _differences(self, one: Grower, other: Grower) -> dict[int, Difference]:
        """Return first minus second, by number of notes, at the sizes that both have."""
        keys = [
            {size.notes: _key(grower, number) for number, size in enumerate(grower.sizes)}
            for grower in (one, other)
        ]
        pairs = {n: (key, keys[1][n]) for n, key in keys[0].items() if n in keys[1]}
        differences = self.scores.differences(pairs.values())
        return {n: differences[pair] for n, pair in pairs.items()}

    def _more_notes(self, grower: Grower) -> Iterator[str]:
        """Yield what twice as many notes would bring, and how well such a forecast holds."""
        law = self.laws.get(grower.configuration_id)
        if law is None:
            return
        notes = grower.sizes[-1].notes
        gain = law.gain(notes, notes)
        yield Message(
            "With {notes:,} more labelled {units}, {label} is expected to gain {gain:points} "
            "points [{low:points}, {high:points}].",
            units=self.unit.many,
            notes=notes,
            label=grower.label,
            gain=gain.value,
            low=gain.low,
            high=gain.high,
        )
        checked = self.held_out.get(grower.configuration_id)
        if checked is not None:
            yield curve_sentences.checked_forecast(checked, self.unit)

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``curves.json``."""
        return {
            "metric": self.metric,
            "sentences": self.sentences(),
            "configurations": [self._entry(grower) for grower in self.growers],
        }

    def _entry(self, grower: Grower) -> dict[str, Any]:
        law = self.laws.get(grower.configuration_id)
        points = []
        for number, size in enumerate(grower.sizes):
            key = _key(grower, number)
            resampled = self.scores.resampled[key]
            low, high = metrics.percentiles(resampled)
            points.append(
                {
                    self.unit.many: size.notes,
                    "score": self.scores.value[key],
                    "low": low,
                    "high": high,
                    "runs": len(size.predictions),
                    "seconds": size.seconds,
                    "memory": size.memory,
                }
            )
        fitted = []
        for notes in self._grid(AHEAD) if law is not None else ():
            assert law is not None
            expected = law.at(float(notes))
            fitted.append(
                [
                    float(notes),
                    *(self.sign * v for v in (expected.value, expected.low, expected.high)),
                ]
            )
        return {
            "configuration_id": grower.configuration_id,
            "configuration": grower.label,
            "model": grower.model,
            "points": points,
            "law": None if law is None else dict(zip("abc", law.best.tolist(), strict=True)),
            "fitted": fitted,
            "held_out": self.held_out.get(grower.configuration_id),
        }


def _key(grower: Grower, size: int) -> str:
    return f"{grower.configuration_id}/{size}"
