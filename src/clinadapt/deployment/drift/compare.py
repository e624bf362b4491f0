"""Compares new notes with the reference of a bundle: which quantities changed, and how much.

Every quantity is tested. The p-values are corrected together (Holm 1979), so that at most one in
twenty sets of notes from the same source raises a false alarm. With many notes even small
differences are significant, so a change counts as drift only if it is also large: by the population
stability index (PSI), with its customary limits of 0.1 and 0.25.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from clinadapt.core.errors import InputError
from clinadapt.data.labels import Labels
from clinadapt.evaluation import metrics
from clinadapt.evaluation.binned_counts import BinnedCounts, Comparison, compare, count_values
from clinadapt.evaluation.paired_comparison import SIGNIFICANCE, holm
from clinadapt.models.bundle.note_statistics import count_words, readings
from clinadapt.models.bundle.reference import (
    MeasuredScore,
    Reference,
    Values,
    by_cluster,
    count_classes,
    measured,
    performance_names,
    scores_of,
)
from clinadapt.models.classifier import NoteClassifier

Verdict = Literal["none", "slight", "moderate", "large"]
Kind = Literal["notes", "scores", "words", "classes"]
MODERATE, LARGE = 0.1, 0.25
# Limits for a change in the share of a class, and for a decrease in a score.
SHARE_MODERATE, SHARE_LARGE = 0.05, 0.15
WORSE, MUCH_WORSE = 0.02, 0.1
LEAST_NOTES = 30
SHOWN_WORDS = 10
INTERVAL = 2 * float(norm.ppf(0.975))


@dataclass(frozen=True)
class Finding:
    """Comparison of a quantity between training and now.

    Attributes
    ----------
    name : str
        Name of the quantity, or of the class that it belongs to.
    kind : {"notes", "scores", "words", "classes"}
    before, now : float, optional
        Mean, or share of the notes; None for words.
    edges : list of float
        Inner edges of the bins.
    shares_before, shares_now : list of float, shape [bin]
        Share of the notes in each bin.
    compared : Comparison
        Test and measures of the difference.
    p : float
        p-value, corrected for the number of quantities.
    verdict : {"none", "slight", "moderate", "large"}
        "slight" is significant but too small to matter.
    """

    name: str
    kind: Kind
    before: float | None
    now: float | None
    edges: list[float]
    shares_before: list[float]
    shares_now: list[float]
    compared: Comparison
    p: float
    verdict: Verdict


@dataclass(frozen=True)
class Performance:
    """Comparison of a score between training and the new notes.

    Attributes
    ----------
    name : str
        Name of the metric.
    before, now : MeasuredScore
        Score with its 95 % interval.
    difference, low, high : float
        `now` minus `before`, with its 95 % interval.
    p : float
        p-value, corrected for the number of quantities.
    verdict : {"none", "slight", "moderate", "large"}
    """

    name: str
    before: MeasuredScore
    now: MeasuredScore
    difference: float
    low: float
    high: float
    p: float
    verdict: Verdict

    @property
    def better(self) -> bool:
        """True if the score improved."""
        return self.difference * metrics.sign(self.name) > 0


@dataclass(frozen=True)
class Drift:
    """Result of a comparison.

    Attributes
    ----------
    notes, groups : int
        Numbers of new notes, and of their patients if known.
    reference_notes : int
        Number of notes in the reference.
    measured_on : {"test", "validation"}
        Notes on which the scores at training were measured.
    findings : list of Finding
    performance : list of Performance
    moved : list of (str, float, float)
        Words whose share of all words changed most, with the shares at training and now.
    """

    notes: int
    groups: int | None
    reference_notes: int
    measured_on: str
    findings: list[Finding]
    performance: list[Performance]
    moved: list[tuple[str, float, float]]

    @property
    def drifted(self) -> bool:
        """True if any change is moderate or large."""
        everything: list[Finding | Performance] = [*self.findings, *self.performance]
        return any(one.verdict in ("moderate", "large") for one in everything)

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON values."""
        performance = [
            {**vars(one), "before": one.before.model_dump(), "now": one.now.model_dump()}
            for one in self.performance
        ]
        return {"drifted": self.drifted, **asdict(self), "performance": performance}


@dataclass(frozen=True)
class _Quantity:
    """Counts of a quantity at training and now, in the same bins."""

    name: str
    kind: Kind
    edges: list[float]
    before: BinnedCounts
    now: BinnedCounts
    means: tuple[float, float] | None = None


def find_drift(
    classifier: NoteClassifier,
    texts: Sequence[str],
    groups: NDArray[np.int64] | None = None,
    labels: Labels | None = None,
    tested: Mapping[str, MeasuredScore] | None = None,
) -> Drift:
    """Compare new notes with the training data of a classifier.

    Parameters
    ----------
    classifier : NoteClassifier
        Classifier from a bundle.
    texts : sequence of str
        New notes.
    groups : ndarray of int64, shape [note], optional
        Patient of each note. If omitted, notes are assumed to be as correlated as at training.
    labels : Labels, optional
        Labels of the new notes, with the classes in the order of `label_classes_`.
    tested : mapping of str to Measured, optional
        Scores on the test notes of the study, by metric. Default: the scores on its validation
        notes, from the reference.

    Returns
    -------
    Drift

    Raises
    ------
    InputError
        If the bundle has no reference or there are too few notes.
    """
    reference = classifier.reference_
    if reference is None and hasattr(classifier.model_, "guarantee_"):
        raise InputError(
            "a bundle trained with differential privacy contains no counts of its training data, "
            "because its guarantee would not cover them: drift cannot be measured"
        )
    if reference is None:
        raise InputError(
            "the bundle contains no counts of its training data: train and save it again"
        )
    if len(texts) < LEAST_NOTES:
        raise InputError(
            f"expected at least {LEAST_NOTES} notes, got {len(texts)}: too few for a comparison"
        )
    clusters = np.arange(len(texts))
    if groups is not None:
        clusters = np.unique(groups, return_inverse=True)[1]
    # The model's own probabilities, which are those of the reference and of the study's scores.
    classifier = classifier.with_scale("raw")
    probabilities = classifier.in_label_order(classifier.predict_proba(texts))
    quantities = [
        *_of_notes(classifier, reference, texts, clusters),
        *_of_scores(classifier, reference, probabilities, clusters),
    ]
    performance: list[Performance] = []
    if labels is not None:
        quantities += _of_classes(reference, labels, clusters)
        names = performance_names(classifier.metric_)
        predicted = classifier.threshold_.predict(classifier.task_, probabilities)
        now = measured(metrics.scores(labels, probabilities, predicted, clusters, names))
        before = reference.performance if tested is None else tested
        performance = [
            _performance(name, before[name], now[name])
            for name in names
            if name in before and name in now
        ]
    if groups is None:
        quantities = [replace(one, now=_as_correlated(one.now, one.before)) for one in quantities]
    comparisons = [compare(one.before, one.now) for one in quantities]
    corrected = holm([*(each.p for each in comparisons), *(one.p for one in performance)])
    findings = [
        _finding(one, comparison, p)
        for one, comparison, p in zip(quantities, comparisons, corrected, strict=False)
    ]
    return Drift(
        notes=len(texts),
        groups=None if groups is None else int(clusters.max()) + 1,
        reference_notes=reference.notes,
        measured_on=reference.measured_on if tested is None else "test",
        findings=findings,
        performance=[
            replace(one, p=p, verdict=_of_performance(one, p))
            for one, p in zip(performance, corrected[len(findings) :], strict=True)
        ],
        moved=_moved(reference, quantities),
    )


# ---------------------------------------------------------------- quantities


def _of_notes(
    classifier: NoteClassifier,
    reference: Reference,
    texts: Sequence[str],
    clusters: NDArray[np.int64],
) -> Iterator[_Quantity]:
    for name, values in readings(classifier.model_, texts).items():
        if name in reference.readings:
            yield _values(name, "notes", reference.readings[name], values, clusters)
    if reference.words is not None:
        table = count_words(texts, reference.words.words)
        if table.any():
            now = by_cluster(table, clusters)
            yield _Quantity("words", "words", [], reference.words.counted, now)


def _of_scores(
    classifier: NoteClassifier,
    reference: Reference,
    probabilities: NDArray[np.float64],
    clusters: NDArray[np.int64],
) -> Iterator[_Quantity]:
    for name, values in scores_of(
        classifier.label_classes_, classifier.task_, probabilities
    ).items():
        if name in reference.scores:
            yield _values(name, "scores", reference.scores[name], values, clusters)


def _of_classes(
    reference: Reference, labels: Labels, clusters: NDArray[np.int64]
) -> Iterator[_Quantity]:
    for name, now in count_classes(labels, clusters).items():
        if name in reference.classes:
            before = reference.classes[name]
            means = (float(before.shares[1]), float(now.shares[1]))
            yield _Quantity(name, "classes", [], before, now, means)


def _values(
    name: str, kind: Kind, before: Values, values: NDArray[np.float64], clusters: NDArray[np.int64]
) -> _Quantity:
    now = count_values(values, clusters, before.edges)
    means = (before.mean, float(values.mean()))
    return _Quantity(name, kind, before.edges, before.counted, now, means)


def _as_correlated(now: BinnedCounts, before: BinnedCounts) -> BinnedCounts:
    """Return counts of unknown clusters, assumed to be at least as correlated as at training."""
    return now.model_copy(
        update={
            "design_effect": max(now.design_effect, before.design_effect),
            "degrees": min(now.degrees, before.degrees),
        }
    )


def _performance(name: str, before: MeasuredScore, now: MeasuredScore) -> Performance:
    difference = now.value - before.value
    # Measured on different notes, so the variances add.
    error = float(np.hypot(before.high - before.low, now.high - now.low)) / INTERVAL
    p = 2 * float(norm.sf(abs(difference) / error)) if error else float(difference == 0)
    half = INTERVAL / 2 * error
    return Performance(
        name, before, now, difference, difference - half, difference + half, p, "none"
    )


# ---------------------------------------------------------------- verdicts


def _finding(one: _Quantity, comparison: Comparison, p: float) -> Finding:
    moderate, large, size = MODERATE, LARGE, comparison.psi
    before, now = one.means or (None, None)
    if one.kind == "classes" and before is not None and now is not None:
        moderate, large, size = SHARE_MODERATE, SHARE_LARGE, abs(now - before)
    return Finding(
        name=one.name,
        kind=one.kind,
        before=before,
        now=now,
        edges=one.edges,
        shares_before=one.before.shares.tolist(),
        shares_now=one.now.shares.tolist(),
        compared=comparison,
        p=p,
        verdict=_verdict(p, size, moderate, large),
    )


def _of_performance(one: Performance, p: float) -> Verdict:
    return _verdict(p, 0.0 if one.better else abs(one.difference), WORSE, MUCH_WORSE)


def _verdict(p: float, size: float, moderate: float, large: float) -> Verdict:
    if p >= SIGNIFICANCE:
        return "none"
    return "slight" if size < moderate else "moderate" if size < large else "large"


def _moved(reference: Reference, quantities: Sequence[_Quantity]) -> list[tuple[str, float, float]]:
    """Return the counted words that contribute most to the difference, with their shares."""
    counted = [one for one in quantities if one.kind == "words"]
    if reference.words is None or not counted:
        return []
    before, now = counted[0].before.shares[:-1], counted[0].now.shares[:-1]
    weight = np.square(now - before) / np.maximum(now + before, 1e-12)
    return [
        (reference.words.words[at], float(before[at]), float(now[at]))
        for at in np.argsort(-weight, kind="stable")[:SHOWN_WORDS].tolist()
    ]
