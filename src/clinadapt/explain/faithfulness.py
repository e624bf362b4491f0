"""Whether the words that are said to matter do: without them, the model changes its mind.

Comprehensiveness: how much the probability of what the classifier said falls when its strongest
words are deleted. Words drawn at random say how much any deletion does; the difference is what
the explanation knows. DeYoung et al. 2020, "ERASER: A Benchmark to Evaluate Rationalized NLP
Models" (arXiv 1911.03429).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.errors import InputError
from clinadapt.evaluation.metrics import Score, bootstrap
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
        When the strongest words are deleted.
    random : Score
        When as many random words are.
    difference : Score
        The first less the second, note by note.
    notes : int
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
    """Delete the strongest tenth of each note's words (one at least), and as many at random.

    Words that the model did not read are never deleted. In notes that were cut, a deletion lets
    it read on, whatever the words were.

    Parameters
    ----------
    classifier : NoteClassifier
    explanations : sequence of Explanation
        Of this classifier; those of notes with fewer than two words that it read are left out.
    clusters : ndarray of int64, shape [note], optional
        Patient of each note; default each its own.

    Raises
    ------
    InputError
        There is no note to try it on.
    """
    generator = np.random.default_rng(0)
    clusters = np.arange(len(explanations)) if clusters is None else clusters
    usable = [n for n, one in enumerate(explanations) if sum(w.read for w in one.words) > 1]
    if not usable:
        raise InputError("faithfulness needs notes with two words or more that the model read")
    texts: list[str] = []
    for note in usable:
        texts += _versions(explanations[note], generator)
    column = {str(name): number for number, name in enumerate(classifier.classes_)}
    targets = np.array([column[explanations[note].target] for note in usable])
    chances = classifier.predict_proba(texts).reshape(len(usable), 1 + DRAWS, -1)
    chances = np.take_along_axis(chances, targets[:, None, None], axis=2)[..., 0]
    before = np.array([explanations[note].probability for note in usable])
    sign = np.where([explanations[note].said for note in usable], 1.0, -1.0)
    falls = sign[:, None] * (before[:, None] - chances)
    of_note = {"strongest": falls[:, 0], "random": falls[:, 1:].mean(axis=1)}
    of_note["difference"] = of_note["strongest"] - of_note["random"]

    def means(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        return {name: weights @ fall / weights.sum(axis=1) for name, fall in of_note.items()}

    return Faithfulness(**bootstrap(clusters[usable], means), notes=len(usable))


def _versions(explanation: Explanation, generator: np.random.Generator) -> list[str]:
    """The note without its strongest words, then without random ones, `DRAWS` times."""
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
    """A text without some of its characters; what stood between stays."""
    kept, end = [], 0
    for start, stop in sorted(spans):
        kept.append(text[end:start])
        end = stop
    return "".join([*kept, text[end:]])
