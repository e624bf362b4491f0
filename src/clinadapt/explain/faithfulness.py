"""Faithfulness of explanations: effect on the prediction of deleting the strongest words.

Comprehensiveness is the fall of the prediction's probability when its strongest words are deleted.
Words drawn at random give the effect of any deletion; the difference is due to the explanation.
DeYoung et al. 2020, "ERASER: A Benchmark to Evaluate Rationalized NLP Models" (arXiv 1911.03429).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.errors import InputError
from clinadapt.evaluation.metrics import Score, jackknife
from clinadapt.explain.explain import Explanation
from clinadapt.explain.words import Span
from clinadapt.models.classifier import NoteClassifier

SHARE = 0.1
DRAWS = 10


@dataclass(frozen=True)
class Faithfulness:
    """Mean falls of a probability, each with its 95 % interval by bootstrap.

    Attributes
    ----------
    strongest : Score
        Fall when the strongest words are deleted.
    random : Score
        Fall when as many random words are deleted.
    difference : Score
        Difference of the two, note by note.
    notes : int
        Number of notes.
    """

    strongest: Score
    random: Score
    difference: Score
    notes: int


def faithfulness(
    classifier: NoteClassifier,
    explanations: Sequence[Explanation],
    clusters: NDArray[np.int64] | None = None,
) -> Faithfulness:
    """Delete the strongest tenth of each note's words (at least one), and as many at random.

    Words that the model did not read are never deleted. In truncated notes any deletion lets the
    model read further words.

    Parameters
    ----------
    classifier : NoteClassifier
    explanations : sequence of Explanation
        Explanations of this classifier; notes of which it read fewer than two words are left out.
    clusters : ndarray of int64, shape [note], optional
        Patient of each note; default: every note is its own.

    Raises
    ------
    InputError
        No note has two words that the model read.
    """
    generator = np.random.default_rng(0)
    clusters = np.arange(len(explanations)) if clusters is None else clusters
    usable = [n for n, one in enumerate(explanations) if sum(w.read for w in one.words) > 1]
    if not usable:
        raise InputError("faithfulness needs notes of which the model read two words or more")
    texts: list[str] = []
    for note in usable:
        texts += _versions(explanations[note], generator)
    column = {str(name): number for number, name in enumerate(classifier.classes_)}
    targets = np.array([column[explanations[note].target] for note in usable])
    after = classifier.predict_proba(texts).reshape(len(usable), 1 + DRAWS, -1)
    after = np.take_along_axis(after, targets[:, None, None], axis=2)[..., 0]
    before = np.array([explanations[note].probability for note in usable])
    sign = np.where([explanations[note].said for note in usable], 1.0, -1.0)
    falls = sign[:, None] * (before[:, None] - after)
    of_note = {"strongest": falls[:, 0], "random": falls[:, 1:].mean(axis=1)}
    of_note["difference"] = of_note["strongest"] - of_note["random"]

    def means(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        with np.errstate(invalid="ignore"):  # without the only patient there is no mean
            return {name: weights @ fall / weights.sum(axis=1) for name, fall in of_note.items()}

    # A fall is between -1 and 1, and the difference of two between -2 and 2.
    patients = clusters[usable]
    scores = jackknife(patients, means, lambda name: (-2.0, 2.0), len(np.unique(patients)))
    return Faithfulness(**scores, notes=len(usable))


def _versions(explanation: Explanation, generator: np.random.Generator) -> list[str]:
    """Return the note without its strongest words, then without random ones, `DRAWS` times."""
    read = [word for word in explanation.words if word.read]
    count = max(1, round(SHARE * len(read)))
    sign = 1.0 if explanation.said else -1.0
    towards = [sign * (word.contribution or 0.0) for word in read]
    choices = [np.argsort(np.negative(towards), kind="stable")[:count]]
    choices += [generator.choice(len(read), count, replace=False) for _ in range(DRAWS)]
    return [
        without(explanation.text, ((read[n].start, read[n].end) for n in chosen.tolist()))
        for chosen in choices
    ]


def without(text: str, spans: Iterable[Span]) -> str:
    """Return a text without the characters of some spans."""
    kept, end = [], 0
    for start, stop in sorted(spans):
        kept.append(text[end:start])
        end = stop
    return "".join([*kept, text[end:]])
