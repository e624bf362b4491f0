r"""Which answers to leave to a person, so that those that remain keep a promise on new patients.

Probabilities between two limits are left to a person. The limits are chosen on notes from which the
model did not learn, so that, each with a stated confidence,

- at most a share $r$ of the answers "yes" is wrong (one minus the precision), and
- at most a share $r$ of the notes that are "yes" is answered "no" (one minus the sensitivity).

In a multi-class task the answer is the most probable class, and at most $r$ of the answers are
wrong. In a multi-label task all labels are pooled, and each is answered or left by itself.

A limit is accepted by a test of the hypothesis that the share exceeds $r$: that of Clopper &
Pearson (1934) for as many independent notes as these are worth. With $b_i$ notes of patient $i$,
whose errors have the correlation $\rho$, they are worth (Kish 1965)

$$ n = \frac{(\sum_i b_i)^2}{\sum_i b_i + \rho \sum_i b_i (b_i - 1)}. $$

More is missed the more is answered "no", so that limit is raised until the first test fails. The
share of wrong answers may fall and rise again: that limit is lowered from three starts, which share
the error probability, each until the first test fails (fixed-sequence testing: Angelopoulos et al.
2021, arXiv 2110.01052; for classifiers with a reject option, Geifman & El-Yaniv 2017).
"""

import math

import numpy as np
import scipy  # its parts are loaded on first use
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from clinadapt.core.arrays import Floats
from clinadapt.data.labels import Labels, Task
from clinadapt.evaluation.threshold import Threshold

CONFIDENCE = 0.9
# Starts of the limit of "yes", in multiples of the fewest independent notes that can pass a test.
STARTS = (1, 2, 4)
# A correlation from few patients is uncertain: so many that err alike in all notes are added.
ALIKE_PATIENTS = 2
Flags = NDArray[np.bool_]
Patients = NDArray[np.int64]


class RejectBand(BaseModel):
    """The probabilities that are left to a person, for one promise.

    Attributes
    ----------
    risk : float
        Largest share of wrong answers "yes", and of missed notes, that is promised.
    yes : float, optional
        Smallest probability that is answered "yes", or, in a multi-class task, with the most
        probable class. None if no limit keeps the promise: nothing is answered so.
    no : float, optional
        Largest probability that is answered "no"; None likewise, and in a multi-class task.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)
    risk: float = Field(gt=0, lt=1)
    yes: float | None = Field(ge=0, le=1)
    no: float | None = Field(ge=0, le=1)

    def answer(self, task: Task, probabilities: Floats) -> tuple[Flags, Flags]:
        """Return the classes that are answered and those left to a person, both [note, class].

        In a single-label task one class of a note is answered, or all are left. In a multi-label
        task a label is answered "yes", answered "no" (neither is True), or left.
        """
        if task == "multilabel":
            yes, no = self._sides(probabilities)
            return yes, ~(yes | no)
        if task == "binary":
            yes, no = self._sides(probabilities[:, 1])
            answered = np.column_stack([no, yes])
        else:
            yes, _ = self._sides(probabilities)
            answered = yes & (probabilities.argmax(axis=1)[:, None] == np.arange(yes.shape[1]))
        left = ~answered.any(axis=1, keepdims=True)
        return answered, np.repeat(left, answered.shape[1], axis=1)

    def _sides(self, probabilities: Floats) -> tuple[Flags, Flags]:
        nothing = np.zeros(probabilities.shape, dtype=np.bool_)
        yes = nothing if self.yes is None else probabilities >= self.yes
        no = nothing if self.no is None else probabilities <= self.no
        return yes, no & ~yes


def choose(
    labels: Labels,
    probabilities: Floats,
    clusters: Patients,
    threshold: Threshold,
    risk: float,
    confidence: float = CONFIDENCE,
) -> RejectBand:
    """Return the narrowest band that keeps a promise on new patients.

    Parameters
    ----------
    labels : Labels
        Labels of notes from which the model did not learn.
    probabilities : ndarray of float64, shape [note, class]
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    threshold : Threshold
        "Yes" is answered at or above its value only, "no" below it.
    risk : float
        Largest share of wrong answers "yes", and of missed notes.
    confidence : float
        Probability that the promise is kept, over draws of patients, for each of the two shares.
    """
    alpha = 1 - confidence
    if labels.task == "multiclass":
        top = probabilities.max(axis=1)
        wrong = ~labels.matrix[np.arange(len(top)), probabilities.argmax(axis=1)]
        return RejectBand(risk=risk, yes=_lowest_yes(top, wrong, clusters, risk, alpha), no=None)
    positive, chance, patients = pooled(labels, probabilities, clusters)
    above = chance >= threshold.value
    return RejectBand(
        risk=risk,
        yes=_lowest_yes(chance[above], ~positive[above], patients[above], risk, alpha),
        no=_highest_no(chance, positive, above, patients, risk, alpha),
    )


def pooled(
    labels: Labels, probabilities: Floats, clusters: Patients
) -> tuple[Flags, Floats, Patients]:
    """Return whether "yes" is right, its probability and the patient, each [answer].

    There is an answer for each note in a binary task, for each note and label in a multi-label one.
    """
    if labels.task == "binary":
        return labels.matrix[:, 1], probabilities[:, 1], clusters
    return labels.matrix.ravel(), probabilities.ravel(), clusters.repeat(labels.matrix.shape[1])


def correlation(wrong: Flags, patients: Patients) -> float:
    """Return how alike the errors of one patient are: 0 independent, 1 all notes or none.

    It is the correlation in pairs of notes of one patient, all of which weigh the same.

    Parameters
    ----------
    wrong : ndarray of bool, shape [note]
    patients : ndarray of int64, shape [note]
    """
    patient = np.unique(patients, return_inverse=True)[1]
    notes = np.bincount(patient)
    share = wrong.mean() if len(wrong) else 0.0
    pairs, variance = (notes * (notes - 1)).sum(), share * (1 - share)
    if not pairs or not variance:
        return 1.0
    deviation = wrong - share
    covariance = (np.bincount(patient, deviation) ** 2).sum() - (deviation**2).sum()
    estimate = float(np.clip(covariance / pairs / variance, 0.0, 1.0))
    several = np.count_nonzero(notes > 1)
    return (several * estimate + ALIKE_PATIENTS) / (several + ALIKE_PATIENTS)


def p_values(wrong: Floats, notes: Floats, independent: Floats, risk: float) -> Floats:
    """Return p-values of the hypothesis that the share of wrong notes exceeds `risk`.

    Parameters
    ----------
    wrong, notes : ndarray of float64, shape [limit]
        Numbers of wrong notes and of notes.
    independent : ndarray of float64, shape [limit]
        Number of independent notes that they are worth.
    risk : float
    """
    right = np.maximum(independent * (1 - wrong / notes), np.finfo(np.float64).tiny)
    # The binomial distribution, continued between whole numbers.
    return np.asarray(scipy.special.betainc(right, independent - right + 1, 1 - risk))


def _independent(notes: Floats, squares: Floats, correlated: float) -> Floats:
    """Return the independent notes that notes are worth, given the sum of squares by patient."""
    return notes**2 / (notes + correlated * (squares - notes))


def _lowest_yes(
    chance: Floats, wrong: Flags, patients: Patients, risk: float, alpha: float
) -> float | None:
    """Return the smallest probability from which on at most `risk` of the answers are wrong."""
    if not len(chance):
        return None
    order = np.argsort(-chance, kind="stable")
    chance, ends = chance[order], _last_of_equals(chance[order])
    notes = np.arange(1.0, len(order) + 1)[ends]
    squares = np.cumsum(2.0 * _earlier(patients[order]) + 1)[ends]
    independent = _independent(notes, squares, correlation(wrong, patients))
    counts = np.cumsum(wrong[order], dtype=np.float64)[ends]
    each = alpha / len(STARTS)
    passed = p_values(counts, notes, independent, risk) <= each
    fewest = math.log(each) / math.log1p(-risk)
    last = max(_last_passed(passed, independent >= start * fewest) for start in STARTS)
    return None if last < 0 else float(chance[ends[last]])


def _highest_no(
    chance: Floats, positive: Flags, above: Flags, patients: Patients, risk: float, alpha: float
) -> float | None:
    """Return the largest probability up to which at most `risk` of the positives are missed."""
    if not positive.any() or above.all():
        return None
    by_patient = np.unique(patients[positive], return_counts=True)[1].astype(np.float64)
    notes, squares = by_patient.sum(), (by_patient**2).sum()
    independent = _independent(notes, squares, correlation(~above[positive], patients[positive]))
    chance, positive = chance[~above], positive[~above]
    order = np.argsort(chance, kind="stable")
    chance, ends = chance[order], _last_of_equals(chance[order])
    missed = np.cumsum(positive[order], dtype=np.float64)[ends]
    passed = p_values(missed, notes, independent, risk) <= alpha
    last = _last_passed(passed, np.ones_like(passed))
    return None if last < 0 else float(chance[ends[last]])


def _last_of_equals(ordered: Floats) -> NDArray[np.int64]:
    """Return the last place of each run of equal values: no limit lies between them."""
    return np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))


def _earlier(patients: Patients) -> NDArray[np.int64]:
    """Return, for each note in order, how many notes of its patient come before it."""
    order = np.argsort(patients, kind="stable")
    starts = np.flatnonzero(np.append(True, np.diff(patients[order]) != 0))
    lengths = np.diff(np.append(starts, len(order)))
    earlier = np.empty(len(order), dtype=np.int64)
    earlier[order] = np.arange(len(order)) - np.repeat(starts, lengths)
    return earlier


def _last_passed(passed: Flags, begun: Flags) -> int:
    """Return the last place of the unbroken run of passed tests from the first begun one, or -1."""
    if not begun.any() or not passed[begun.argmax()]:
        return -1
    failed = np.flatnonzero(~passed[begun.argmax() :])
    return int(begun.argmax() + failed[0] - 1) if len(failed) else len(passed) - 1
