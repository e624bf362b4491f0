"""How scores grow with the number of labelled notes: curves, where they cross, what more would do.

A study with a curve runs its configurations again on parts of its labelled notes (training and validation),
several draws a size; the test notes stay. Scores follow a power law of the number of notes, fitted
to each configuration; the fit is made again on every resample of test patients and draws, and the intervals
are the percentiles of these fits.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core import formatting
from clinadapt.data.labels import Labels
from clinadapt.evaluation import metrics
from clinadapt.evaluation.paired_comparison import Difference, Predictions, Scores
from clinadapt.evaluation.power_law import Estimate, Law, estimate, fit, score_at

Floats = NDArray[np.float64]
FITS = 200
LEAST_SIZES = 4  # to fit three numbers and see whether they fit
GRID = 40
AHEAD = 4.0  # times the largest size: as far as the curve is drawn
# The order in which the best of each kind of model are told; see `clinadapt.models.contract`.
KINDS = ("encoder", "from scratch", "word counts", "stacked", "private", "other")


@dataclass(frozen=True, eq=False)
class Size:
    """A configuration's results on one number of labelled notes.

    Attributes
    ----------
    notes : int
        Labelled notes, mean over draws.
    predictions : sequence of (probabilities, predicted), both [note, class]
        On the test notes, of each draw and seed.
    seconds : float
        To encode, fit and predict, mean.
    memory : float
        Bytes held at most, mean.
    """

    notes: int
    predictions: Sequence[Predictions]
    seconds: float
    memory: float


@dataclass(frozen=True, eq=False)
class Grower:
    """A configuration at every size; sizes ascend.

    Attributes
    ----------
    configuration_id, label, model : str
    kind : str
        Models of one kind stand together.
    sizes : sequence of Size
    """

    configuration_id: str
    label: str
    model: str
    kind: str
    sizes: Sequence[Size]


PRICES: tuple[tuple[str, Callable[[Size], float], Callable[[float], str]], ...] = (
    ("time", lambda size: size.seconds, formatting.seconds),
    ("memory", lambda size: size.memory, formatting.size),
)


@dataclass(frozen=True)
class Step:
    """A configuration, and the least that one has to spend for it to be the one to take.

    Attributes
    ----------
    configuration_id, label : str
    price : float
        Seconds, or bytes.
    """

    configuration_id: str
    label: str
    price: float


class Curves:
    """Scores of configurations over numbers of labelled notes.

    Parameters
    ----------
    growers : sequence of Grower
    labels : Labels
        Of the test notes.
    clusters : ndarray of int64, shape [note]
        Patient of each test note.
    metric : str
    """

    def __init__(
        self,
        growers: Sequence[Grower],
        labels: Labels,
        clusters: NDArray[np.int64],
        metric: str,
    ) -> None:
        self.growers = growers
        self.sign = metrics.sign(metric)
        self.metric = metric
        self.scores = Scores(
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
        """Law of each configuration that has enough sizes."""
        return {
            grower.configuration_id: law
            for grower in self.growers
            if len(grower.sizes) >= LEAST_SIZES
            and (law := self._law(grower, len(grower.sizes))) is not None
        }

    def _law(self, grower: Grower, sizes: int) -> Law | None:
        """Fit a law to a configuration's first sizes."""
        notes = np.array([size.notes for size in grower.sizes[:sizes]], dtype=np.float64)
        keys = [_key(grower, number) for number in range(sizes)]
        best = fit(notes, self.sign * np.array([self.scores.value[key] for key in keys]))
        if best is None:
            return None
        drawn = self.sign * np.column_stack([self.scores.resampled[key] for key in keys])
        fits = [fit(notes, scores) for scores in drawn]
        none = np.full(3, np.nan)
        return Law(best, np.array([none if fit is None else fit for fit in fits]))

    @cached_property
    def held_out(self) -> dict[str, dict[str, Any]]:
        """What a law of a configuration's smaller sizes says of the largest, and what came, by configuration."""
        configurations = [grower for grower in self.growers if grower.configuration_id in self.laws]
        found = ((grower.configuration_id, self._held_out(grower)) for grower in configurations)
        return {
            configuration_id: checked for configuration_id, checked in found if checked is not None
        }

    def _held_out(self, grower: Grower) -> dict[str, Any] | None:
        law = self._law(grower, len(grower.sizes) - 1)
        if law is None:
            return None
        largest = grower.sizes[-1]
        came = self.sign * self.scores.value[_key(grower, len(grower.sizes) - 1)]
        said = law.at(largest.notes)
        return {
            "notes": largest.notes,
            "came": self.sign * came,
            "inside": bool(said.low <= came <= said.high),
            **{name: self.sign * value for name, value in asdict(said).items()},
        }

    # ------------------------------------------------------------------ crossings

    def crossing(self, one: Grower, other: Grower) -> Estimate | None:
        """Labelled notes at which the second overtakes the first, within the sizes tried.

        None unless the laws cross once there, on the notes and on most resamples.
        """
        if one.configuration_id not in self.laws or other.configuration_id not in self.laws:
            return None
        grid = self._grid(1.0)
        first, second = self.laws[one.configuration_id], self.laws[other.configuration_id]

        def overtakes(law: Floats, beside: Floats) -> float:
            ahead = score_at(beside[:, None], grid) > score_at(law[:, None], grid)
            turns = np.flatnonzero(np.diff(ahead.astype(int)))
            once = len(turns) == 1 and bool(ahead[-1])
            return float(np.sqrt(grid[turns[0]] * grid[turns[0] + 1])) if once else np.nan

        value = overtakes(first.best, second.best)
        pairs = zip(first.resampled, second.resampled, strict=True)
        drawn = np.array([overtakes(a, b) for a, b in pairs])
        defined = drawn[~np.isnan(drawn)]
        if np.isnan(value) or len(defined) < len(drawn) / 2:
            return None
        return estimate(value, defined)

    def _grid(self, ahead: float) -> Floats:
        sizes = [size.notes for grower in self.growers for size in grower.sizes]
        return np.geomspace(min(sizes), ahead * max(sizes), GRID)

    # ------------------------------------------------------------------ what it costs

    def ladder(self, number: int, price: Callable[[Size], float]) -> list[Step]:
        """Which configuration to take, the more time or memory there is, at one size.

        The first is the cheapest configuration; each next one can be told to do better than the one before.

        Parameters
        ----------
        number : int
            Of the size.
        price : callable
            From a size to what a run costs.
        """
        there = [grower for grower in self.growers if number < len(grower.sizes)]
        there.sort(key=lambda grower: price(grower.sizes[number]))
        key = {grower.configuration_id: _key(grower, number) for grower in there}
        beside = self.scores.differences(
            (key[dearer.configuration_id], key[cheaper.configuration_id])
            for cheaper, dearer in combinations(there, 2)
        )
        steps: list[Step] = []
        for grower in there:
            if steps:
                gain = beside[key[grower.configuration_id], key[steps[-1].configuration_id]]
                if not gain.different or gain.value <= 0:
                    continue
            steps.append(Step(grower.configuration_id, grower.label, price(grower.sizes[number])))
        return steps

    def _means(self) -> Iterator[str]:
        """What more time and more memory buy, with the fewest and with the most notes."""
        sizes = max(self.growers, key=lambda grower: len(grower.sizes)).sizes
        for number in sorted({0, len(sizes) - 1}):
            told = []
            for asked, price, spell in PRICES:
                first, *others = self.ladder(number, price)
                steps = ", ".join(f"from {spell(step.price)} on {step.label}" for step in others)
                told.append(
                    f"{first.label} for the least {asked}, {steps}"
                    if others
                    else f"no more {asked} than {first.label} takes buys a better score"
                )
            yield f"With {sizes[number].notes:,} labelled notes: {'; '.join(told)}."

    # ------------------------------------------------------------------ words

    def sentences(self) -> list[str]:
        """What the curves say: which kind of model for how many notes, and what more would do."""
        leaders = [
            max(found, key=self._last)
            for kind in KINDS
            if (found := [g for g in self.growers if g.kind == kind and g.sizes])
        ]
        told = [self._against(one, other) for one, other in combinations(leaders, 2)]
        if leaders:
            told += list(self._means())
            told += list(self._more(max(leaders, key=self._last)))
        return told

    def _last(self, grower: Grower) -> float:
        return float(self.sign * self.scores.value[_key(grower, len(grower.sizes) - 1)])

    def _against(self, one: Grower, other: Grower) -> str:
        beside = self._differences(one, other)
        sizes, found = list(beside), list(beside.values())
        for early, late, sign in ((one, other, 1), (other, one, -1)):
            crossing = self.crossing(early, late)
            if crossing is None:
                continue
            # The curves alone may cross by chance: the measured sizes must bear both halves out.
            sure_of = {n: sign * item.value for n, item in beside.items() if item.different}
            before = any(n < crossing.value and value > 0 for n, value in sure_of.items())
            after = any(n > crossing.value and value < 0 for n, value in sure_of.items())
            if before and after:
                return (
                    f"Below about {_round(crossing.value)} labelled notes "
                    f"[{_round(crossing.low)}, {_round(crossing.high)}], {early.label} does "
                    f"better; above, {late.label}."
                )
        sure = sum(item.different for item in found)
        span = f"{sizes[0]:,} to {sizes[-1]:,} labelled notes" if sizes else "no size in common"
        for better, worse, sign in ((one, other, 1), (other, one, -1)):
            if sure and all(sign * item.value > 0 for item in found):
                return (
                    f"{better.label} does better than {worse.label} at every size tried ({span}); "
                    f"the difference can be told from none at {sure} of {len(sizes)} sizes."
                )
        ahead = {
            grower.label: [
                n for n, item in beside.items() if item.different and sign * item.value > 0
            ]
            for grower, sign in ((one, 1), (other, -1))
        }
        told = [
            f"{label} at {', '.join(f'{n:,}' for n in where)}"
            for label, where in ahead.items()
            if where
        ]
        return (
            f"No number of notes was found at which {one.label} and {other.label} change places "
            f"for certain. Of the {len(sizes)} sizes tried ({span}), {sure or 'none'} "
            f"{'tell' if sure > 1 else 'tells'} them apart"
            + (f": better is {', and '.join(told)}." if told else ".")
        )

    def _differences(self, one: Grower, other: Grower) -> dict[int, Difference]:
        """First configuration less second, by number of notes, at the sizes that both have."""
        place = [
            {size.notes: _key(grower, number) for number, size in enumerate(grower.sizes)}
            for grower in (one, other)
        ]
        pairs = {n: (key, place[1][n]) for n, key in place[0].items() if n in place[1]}
        found = self.scores.differences(pairs.values())
        return {n: found[pair] for n, pair in pairs.items()}

    def _more(self, grower: Grower) -> Iterator[str]:
        law = self.laws.get(grower.configuration_id)
        if law is None:
            return
        notes = grower.sizes[-1].notes
        gain = law.gain(notes, notes)
        yield (
            f"With {notes:,} more labelled notes, {grower.label} is expected to gain "
            f"{100 * gain.value:+.1f} points "
            f"[{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]."
        )
        checked = self.held_out.get(grower.configuration_id)
        if checked is not None:
            verdict = "inside" if checked["inside"] else "outside"
            yield (
                f"How far such a forecast can be trusted: from the smaller sizes alone it says "
                f"{checked['value']:.3f} [{checked['low']:.3f}, {checked['high']:.3f}] for "
                f"{checked['notes']:,} notes; {checked['came']:.3f} came, {verdict} the interval."
            )

    def to_json(self) -> dict[str, Any]:
        """Everything, for ``curves.json``."""
        return {
            "metric": self.metric,
            "sentences": self.sentences(),
            "configurations": [self._row(grower) for grower in self.growers],
        }

    def _row(self, grower: Grower) -> dict[str, Any]:
        law = self.laws.get(grower.configuration_id)
        points = []
        for number, size in enumerate(grower.sizes):
            key = _key(grower, number)
            resampled = self.scores.resampled[key]
            low, high = metrics.interval(resampled)
            points.append(
                {
                    "notes": size.notes,
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


def _round(notes: float) -> str:
    """A number of notes to two digits: more would pretend."""
    digits = max(0, int(np.floor(np.log10(max(notes, 1)))) - 1)
    return f"{round(notes / 10**digits) * 10**digits:,}"
