"""What the notes of the fitting were like, as counts: part of every bundle, never any text.

Counted on validation notes, which the model did not learn from: on its own training notes it
knows every word and is too sure. Which words are counted is decided on the training notes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Interval, Len
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError, model_validator

from clinadapt.core import safe_files
from clinadapt.core.errors import InputError
from clinadapt.data.labels import Labels, Task
from clinadapt.evaluation import metrics
from clinadapt.evaluation.binned_counts import Counts, count, count_values, edges_of
from clinadapt.evaluation.threshold import Threshold
from clinadapt.models.bundle.note_statistics import count_words, general_words, readings
from clinadapt.models.contract import Model

MOST_BYTES = 2**22
# Notes that are looked at: more would tell no more, and take time in every fit.
MOST_NOTES = 5_000
RESAMPLES = 300
STRICT = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
Word = Annotated[str, Len(2, 60), Field(pattern=r"^[^\W\d_]+$")]
Score = Annotated[float, Interval(ge=-1, le=2)]  # the Brier score of several classes goes up to 2


class Values(BaseModel):
    """A number a note, counted in bins: bin i holds what is above edge i - 1, up to edge i."""

    model_config = STRICT
    mean: float
    edges: list[float]
    counted: Counts

    @model_validator(mode="after")
    def _fits(self) -> "Values":
        if len(self.counted.counts) != len(self.edges) + 1 or self.edges != sorted(self.edges):
            raise ValueError("edges")
        return self


class Words(BaseModel):
    """Frequent words, and how often they stand in the notes; the last count is of all others."""

    model_config = STRICT
    words: list[Word]
    counted: Counts

    @model_validator(mode="after")
    def _fits(self) -> "Words":
        if len(self.counted.counts) != len(self.words) + 1:
            raise ValueError("words")
        return self


class Measured(BaseModel):
    """A score at fitting, with its 95 % interval."""

    model_config = STRICT
    value: Score
    low: Score
    high: Score


class Reference(BaseModel):
    """Validation notes of a fit, as counts.

    Attributes
    ----------
    notes : int
        That were counted.
    readings : dict of str to Values
        Of `clinadapt.models.bundle.note_statistics.readings`.
    scores : dict of str to Values
        Probability of each class, by its name; of a binary task the positive one's.
    words : Words, optional
        None where too few notes share any word.
    classes : dict of str to Counts
        Notes without and with each class, by its name; of a binary task the positive one.
    performance : dict of str to Measured
        What was measured, by metric.
    measured_on : {"test", "validation"}
    """

    model_config = STRICT
    notes: NonNegativeInt
    readings: dict[str, Values]
    scores: dict[str, Values]
    words: Words | None
    classes: dict[str, Counts]
    performance: dict[str, Measured]
    measured_on: Literal["test", "validation"]

    @classmethod
    def read(cls, path: Path) -> "Reference":
        """Read a bundle's ``reference.json``.

        Raises
        ------
        InputError
            Something else is in the file.
        """
        content = safe_files.read_json(path, MOST_BYTES)
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            place = ".".join(map(str, error.errors()[0]["loc"]))
            raise InputError(
                f"{path.name} is not what a fit writes ({place or 'content'}): the bundle is "
                "damaged or not to be trusted"
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
) -> Reference:
    """Count what the notes of a fit are like.

    Parameters
    ----------
    model : fitted model
    probabilities : ndarray of float64, shape [note, class]
        Of the validation notes.
    metric : str
        What the fit aimed at.
    threshold : Threshold
    training : sequence of str
        Training notes: they decide which words are counted.
    texts, labels, clusters : sequence of str, Labels, ndarray of int64 [note]
        Validation notes and the patient of each.
    """
    rows = some(len(texts))
    shown = [texts[row] for row in rows.tolist()]
    carried, probabilities = labels.take(rows), probabilities[rows]
    units = np.unique(clusters[rows], return_inverse=True)[1]
    kept = general_words([training[row] for row in some(len(training)).tolist()])
    counted = count_words(shown, kept)
    return Reference(
        notes=len(rows),
        readings={name: _values(values, units) for name, values in readings(model, shown).items()},
        scores={
            name: _values(values, units)
            for name, values in scores_of(labels.classes, labels.task, probabilities).items()
        },
        words=None
        if not kept or not counted.any()
        else Words(words=kept, counted=by_cluster(counted, units)),
        classes=count_classes(carried, units),
        performance=_measure(metric, threshold, carried, probabilities, units),
        measured_on="validation",
    )


def some(notes: int, most: int = MOST_NOTES) -> NDArray[np.int64]:
    """Rows of at most so many notes, spread evenly."""
    return np.linspace(0, notes - 1, min(notes, most)).astype(np.int64)


def _values(values: NDArray[np.float64], clusters: NDArray[np.int64]) -> Values:
    edges = edges_of(values)
    counted = count_values(values, clusters, edges)
    return Values(mean=float(values.mean()), edges=edges, counted=counted)


def by_cluster(table: NDArray[np.float64], clusters: NDArray[np.int64]) -> Counts:
    """Counts of a table [note, bin], added up by cluster."""
    summed = np.zeros((int(clusters.max()) + 1, table.shape[1]))
    np.add.at(summed, clusters, table)
    return count(summed)


def scores_of(
    classes: NDArray[Any], task: Task, probabilities: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Probabilities [note] of each class by name; the positive one alone of a binary task."""
    names = [str(name) for name in classes]
    first = 1 if task == "binary" else 0
    return {name: probabilities[:, first + at] for at, name in enumerate(names[first:])}


def count_classes(labels: Labels, clusters: NDArray[np.int64]) -> dict[str, Counts]:
    """Notes without and with each class by name; the positive one alone of a binary task."""
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
) -> dict[str, Measured]:
    names = performance_names(metric)
    predicted = threshold.predict(labels.task, probabilities)
    statistics = metrics.Statistics(labels, probabilities, predicted, names)
    return measured(metrics.bootstrap(clusters, statistics, RESAMPLES))


def performance_names(metric: str) -> tuple[str, ...]:
    """Metrics that are followed over time: the model's own, and what needs no threshold."""
    return tuple(dict.fromkeys([metric, "auroc", "brier"]))


def measured(scores: dict[str, metrics.Score]) -> dict[str, Measured]:
    """Scores that are defined, with their intervals."""
    return {
        name: Measured(value=score.value, low=score.low, high=score.high)
        for name, score in scores.items()
        if np.isfinite([score.value, score.low, score.high]).all()
    }
