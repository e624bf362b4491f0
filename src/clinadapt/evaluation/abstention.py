"""When a classifier says nothing: reject bands and prediction sets, for several promises each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from clinadapt.core.arrays import Floats
from clinadapt.core.errors import InputError
from clinadapt.data.labels import Labels, Task
from clinadapt.evaluation import prediction_sets, reject_band
from clinadapt.evaluation.metrics import Score
from clinadapt.evaluation.prediction_sets import PredictionSets
from clinadapt.evaluation.reject_band import RejectBand
from clinadapt.evaluation.shares import share
from clinadapt.evaluation.threshold import Threshold

RISKS = (0.01, 0.02, 0.05, 0.1, 0.2)
COVERAGES = (0.8, 0.9, 0.95, 0.99)
OTHER_RULE = (
    "reject bands and prediction sets hold for the bundle's own probabilities and threshold: leave "
    "--probabilities and --threshold out to leave notes to a person"
)
RISK, COVERAGE = 0.05, 0.9  # unless asked otherwise


@dataclass(frozen=True)
class Promise:
    """What is promised of the answers that are given, and of the prediction sets.

    Attributes
    ----------
    risk, coverage : float
        See `RejectBand` and `PredictionSets`.
    """

    risk: float = RISK
    coverage: float = COVERAGE


class Abstention(BaseModel):
    """Reject bands and prediction sets of a classifier.

    Attributes
    ----------
    confidence : float
        Probability that the promise of a band is kept, over draws of patients.
    patients : int
        Number of patients, or of notes where these are not known, that they were chosen on.
    bands : list of RejectBand
        One for each of `RISKS`.
    sets : list of PredictionSets
        One for each of `COVERAGES`.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)
    confidence: float = Field(gt=0, lt=1)
    patients: int = Field(gt=0)
    bands: list[RejectBand]
    sets: list[PredictionSets]

    def fits(self, task: Task, classes: int) -> bool:
        """Return whether these are bands and sets of a task with so many classes."""
        return all(len(sets.least) == classes for sets in self.sets) and not any(
            task == "multiclass" and band.no is not None for band in self.bands
        )

    def check(self, promise: Promise) -> None:
        """Raise an error if there is no band or are no sets for a promise."""
        self.band(promise.risk)
        self.sets_of(promise.coverage)

    def band(self, risk: float) -> RejectBand:
        """Return the band of a risk.

        Raises
        ------
        InputError
            There is none.
        """
        return self.bands[_place(risk, [band.risk for band in self.bands], "risk")]

    def sets_of(self, coverage: float) -> PredictionSets:
        """Return the prediction sets of a coverage.

        Raises
        ------
        InputError
            There are none.
        """
        return self.sets[_place(coverage, [one.coverage for one in self.sets], "coverage")]


def _place(value: float, known: Sequence[float], name: str) -> int:
    if value not in known:
        listed = ", ".join(f"{one:g}" for one in known)
        raise InputError(f"expected a {name} of {listed}, got {value:g}")
    return known.index(value)


def calibrate(
    labels: Labels, probabilities: Floats, clusters: NDArray[np.int64], threshold: Threshold
) -> Abstention:
    """Return the bands and sets that a classifier's probabilities allow.

    Parameters
    ----------
    labels : Labels
        Labels of notes from which the classifier did not learn, such as the validation part.
    probabilities : ndarray of float64, shape [note, class]
        As the classifier will give them for new notes.
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    threshold : Threshold
        See `clinadapt.evaluation.reject_band.choose`.
    """
    return Abstention(
        confidence=reject_band.CONFIDENCE,
        patients=len(np.unique(clusters)),
        bands=[
            reject_band.choose(labels, probabilities, clusters, threshold, risk) for risk in RISKS
        ],
        sets=[
            prediction_sets.calibrate(labels, probabilities, clusters, coverage)
            for coverage in COVERAGES
        ],
    )


@dataclass(frozen=True)
class MeasuredBand:
    """What a band does on notes that did not choose it.

    Attributes
    ----------
    band : RejectBand
    left : Score
        Share of the notes that are left to a person, at least in a label.
    wrong : Score
        Share of wrong ones among the answers "yes", or, in a multi-class task, among all answers.
    missed : Score, optional
        Share of the positive notes (multi-label: labels) that are answered "no"; None in a
        multi-class task.
    """

    band: RejectBand
    left: Score
    wrong: Score
    missed: Score | None

    def to_json(self) -> dict[str, Any]:
        """Return the numbers, and for each share whether it is at most the promised one."""
        shares = {"wrong": self.wrong, "missed": self.missed}
        return {
            **self.band.model_dump(),
            "left": self.left.to_json(),
            **{
                name: None if score is None else score.to_json() | {"kept": self._kept(score)}
                for name, score in shares.items()
            },
        }

    def _kept(self, score: Score) -> bool | None:
        return None if np.isnan(score.value) else bool(score.value <= self.band.risk)


def measure_band(
    band: RejectBand, labels: Labels, probabilities: Floats, clusters: NDArray[np.int64]
) -> MeasuredBand:
    """Measure a band on notes that did not choose it, with intervals over patients."""
    answered, left = band.answer(labels.task, probabilities)
    matrix, everyone = labels.matrix, np.ones(len(labels))
    left_notes = share(left.sum(axis=1) > 0, everyone, clusters)
    if labels.task == "multiclass":
        wrong, given = (answered & ~matrix).sum(axis=1), answered.sum(axis=1)
        return MeasuredBand(band, left_notes, share(wrong, given, clusters), None)
    first = 1 if labels.task == "binary" else 0
    yes, right, left = answered[:, first:], matrix[:, first:], left[:, first:]
    wrong, missed = yes & ~right, right & ~yes & ~left
    return MeasuredBand(
        band,
        left_notes,
        share(wrong.sum(axis=1), yes.sum(axis=1), clusters),
        share(missed.sum(axis=1), right.sum(axis=1), clusters),
    )


@dataclass(frozen=True)
class MeasuredSets:
    """What prediction sets do on notes that did not choose them.

    Attributes
    ----------
    sets : PredictionSets
    covered : dict of str to Score
        Share of the notes of each class whose set contains it, as the mean over patients; in a
        multi-class task of all notes, under the name "all".
    size : float
        Mean number of classes in a set.
    one : float
        Share of the notes with exactly one class in their set.
    """

    sets: PredictionSets
    covered: dict[str, Score]
    size: float
    one: float

    def to_json(self) -> dict[str, Any]:
        """Return the numbers."""
        return {
            **self.sets.model_dump(),
            "covered": {name: score.to_json() for name, score in self.covered.items()},
            "least_covered": min(self.covered, key=lambda name: self._value(name)),
            "size": self.size,
            "one": self.one,
        }

    def _value(self, name: str) -> float:
        value = self.covered[name].value
        return 1.0 if np.isnan(value) else value  # no test note has the class


def measure_sets(
    sets: PredictionSets, labels: Labels, probabilities: Floats, clusters: NDArray[np.int64]
) -> MeasuredSets:
    """Measure prediction sets on notes that did not choose them, with intervals over patients."""
    chosen, matrix = sets.of(probabilities), labels.matrix
    sizes = chosen.sum(axis=1)
    if labels.task == "multiclass":
        covered = {"all": _mean_over_patients(chosen[matrix], clusters)}
    else:
        covered = {
            str(name): _mean_over_patients(inside[carried], clusters[carried])
            for name, inside, carried in zip(labels.classes, chosen.T, matrix.T, strict=True)
        }
    return MeasuredSets(sets, covered, float(sizes.mean()), float((sizes == 1).mean()))


def _mean_over_patients(inside: NDArray[np.bool_], clusters: NDArray[np.int64]) -> Score:
    weights = prediction_sets.of_patients(clusters)
    return share(weights * inside, weights, clusters)
