"""Reference of a bundle: counts that describe the notes of the fit, without any of their text.

Validation notes are counted, as the model did not learn from them: it knows every word of its
training notes and is overconfident on them. The training notes determine which words are counted.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Interval, Len
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, model_validator

from clinadapt.core import safe_files
from clinadapt.core.arrays import evenly_spaced
from clinadapt.core.errors import InputError
from clinadapt.data.labels import Labels, Task
from clinadapt.evaluation import metrics
from clinadapt.evaluation.binned_counts import BinnedCounts, count, count_values, edges_of
from clinadapt.evaluation.threshold import Threshold
from clinadapt.models.bundle.note_statistics import (
    UNKNOWN_WORDS,
    count_words,
    general_words,
    readings,
)
from clinadapt.models.contract import Model

MOST_BYTES = 2**22
# Notes that are counted: more would add time to every fit and little precision.
MOST_NOTES = 5_000
STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
Word = Annotated[str, Len(2, 60), Field(pattern=r"^[^\W\d_]+$")]
Score = Annotated[float, Interval(ge=-1, le=2)]  # a Brier score of several classes can be 2


class Values(BaseModel):
    """One number per note, counted in bins: bin i is above edge i - 1, up to edge i."""

    model_config = STRICT
    mean: float
    edges: list[float]
    counted: BinnedCounts

    @model_validator(mode="after")
    def _fits(self) -> "Values":
        if len(self.counted.counts) != len(self.edges) + 1 or self.edges != sorted(self.edges):
            raise ValueError("edges")
        return self


class Words(BaseModel):
    """Frequent words and their counts in the notes; the last count is of all other words."""

    model_config = STRICT
    words: list[Word]
    counted: BinnedCounts

    @model_validator(mode="after")
    def _fits(self) -> "Words":
        if len(self.counted.counts) != len(self.words) + 1:
            raise ValueError("words")
        return self


class MeasuredScore(BaseModel):
    """A score at the time of the fit, with its 95 % interval."""

    model_config = STRICT
    value: Score
    low: Score
    high: Score


class Reference(BaseModel):
    """Validation notes of a fit, as counts.

    Attributes
    ----------
    notes : int
        Number of notes counted.
    readings : dict of str to Values
        Numbers from `clinadapt.models.bundle.note_statistics.readings`, by name.
    scores : dict of str to Values
        Probability of each class, by name; in a binary task of the positive class only.
    words : Words, optional
        None if too few notes share any word.
    classes : dict of str to Counts
        Notes without and with each class, by name; in a binary task the positive class only.
    performance : dict of str to Measured
        Scores by metric.
    measured_on : {"test", "validation"}
    """

    model_config = STRICT
    notes: NonNegativeInt
    readings: dict[str, Values]
    scores: dict[str, Values]
    words: Words | None
    classes: dict[str, BinnedCounts]
    performance: dict[str, MeasuredScore]
    measured_on: Literal["test", "validation"]

    @classmethod
    def read(cls, path: Path) -> "Reference":
        """Read a bundle's ``reference.json``.

        Raises
        ------
        InputError
            The file is not a reference.
        """
        content = safe_files.read_json(path, MOST_BYTES)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"]))
            raise InputError(
                f"{path.name} is not valid ({place or 'content'}): the bundle is damaged or "
                "cannot be trusted"
            ) from None


def make_reference(
    model: Model,
    probabilities: NDArray[np.float64],
    metric: str,
    threshold: Threshold,
    training: Sequence[str],
    texts: Sequence[str],
    labels: Labels,
    clusters: NDArray[np.int64],
    fitted_on: bool = False,
) -> Reference:
    """Return counts that describe the notes of a fit.

    Parameters
    ----------
    model : fitted model
    probabilities : ndarray of float64, shape [note, class]
        Probabilities of the validation notes.
    metric : str
        Metric that the fit optimised.
    threshold : Threshold
    training : sequence of str
        Training notes, which determine the words that are counted.
    texts, labels, clusters : sequence of str, Labels, ndarray of int64 [note]
        Validation notes, their labels, and the patient of each.
    fitted_on : bool
        Whether the model was fitted on them too, and so knows all their words.
    """
    chosen = evenly_spaced(len(texts), MOST_NOTES)
    chosen_texts = [texts[note] for note in chosen.tolist()]
    chosen_labels, probabilities = labels.take(chosen), probabilities[chosen]
    units = np.unique(clusters[chosen], return_inverse=True)[1]
    words = general_words(
        [training[note] for note in evenly_spaced(len(training), MOST_NOTES).tolist()]
    )
    counts = count_words(chosen_texts, words)
    return Reference(
        notes=len(chosen),
        readings={
            name: _values(values, units)
            for name, values in readings(model, chosen_texts).items()
            if not (fitted_on and name == UNKNOWN_WORDS)
        },
        scores={
            name: _values(values, units)
            for name, values in scores_of(labels.classes, labels.task, probabilities).items()
        },
        words=None
        if not words or not counts.any()
        else Words(words=words, counted=by_cluster(counts, units)),
        classes=count_classes(chosen_labels, units),
        performance=_measure(metric, threshold, chosen_labels, probabilities, units),
        measured_on="validation",
    )


def _values(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> Values:
    edges = edges_of(values)
    counted = count_values(values, clusters, edges)
    return Values(mean=float(values.mean()), edges=edges, counted=counted)


def by_cluster(table: NDArray[np.float64], clusters: NDArray[np.int64]) -> BinnedCounts:
    """Return counts of a table [note, bin], summed by cluster."""
    summed = np.zeros((int(clusters.max()) + 1, table.shape[1]))
    np.add.at(summed, clusters, table)
    return count(summed)


def scores_of(
    classes: NDArray[Any], task: Task, probabilities: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Return probabilities [note] by class name; in a binary task of the positive class only."""
    names = [str(name) for name in classes]
    first = 1 if task == "binary" else 0
    return {name: probabilities[:, first + at] for at, name in enumerate(names[first:])}


def count_classes(labels: Labels, clusters: NDArray[np.int64]) -> dict[str, BinnedCounts]:
    """Count notes without and with each class; in a binary task of the positive class only."""
    first = 1 if labels.task == "binary" else 0
    return {
        str(name): by_cluster(np.column_stack([~carried, carried]).astype(np.float64), clusters)
        for name, carried in zip(labels.classes[first:], labels.matrix.T[first:], strict=True)
    }


def _measure(
    metric: str,
    threshold: Threshold,
    labels: Labels,
    probabilities: NDArray[np.float64],
    clusters: NDArray[np.int64],
) -> dict[str, MeasuredScore]:
    names = performance_names(metric)
    predicted = threshold.predict(labels.task, probabilities)
    return measured(metrics.scores(labels, probabilities, predicted, clusters, names))


def performance_names(metric: str) -> tuple[str, ...]:
    """Return the metrics monitored over time: the model's own, and two without threshold."""
    return tuple(dict.fromkeys([metric, "auroc", "brier"]))


def measured(scores: dict[str, metrics.Score]) -> dict[str, MeasuredScore]:
    """Return the scores that are defined, with their intervals."""
    return {
        name: MeasuredScore(value=score.value, low=score.low, high=score.high)
        for name, score in scores.items()
        if np.isfinite([score.value, score.low, score.high]).all()
    }
