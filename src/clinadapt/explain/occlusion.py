"""Contributions of words to any model's decision, by leaving out each word in turn.

A word's contribution is the logit of the note minus the logit of the note without it (Li, Monroe &
Jurafsky 2016, "Understanding neural networks through representation erasure", arXiv 1612.08220).
The method needs only probabilities, one prediction per word. Contributions of words that act
together do not add up to the logit; the difference is reported as the gap.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import logit

from clinadapt.explain.attribution import Attribution
from clinadapt.explain.words import Span, spans
from clinadapt.models.contract import Model

SMALLEST = 1e-12  # logits of probabilities nearer to 0 or 1 are rounding errors


def occlusion(model: Model, texts: Sequence[str], columns: Sequence[int]) -> Iterator[Attribution]:
    """Attribute the log-odds of a class to the words of each note, note by note.

    Parameters
    ----------
    model : Model
        Fitted.
    texts : sequence of str
    columns : sequence of int
        Column of the explained class, for each note.
    """
    for text, column in zip(texts, columns, strict=True):
        words = spans(text)
        without = [text[:start] + " " + text[end:] for start, end in words]
        wordless = " ".join(text[end:start] for end, start in _between(words, len(text)))
        odds = _odds(model.predict_proba([text, wordless, *without])[:, column])
        pieces = [
            (start, end, float(odds[0] - value))
            for (start, end), value in zip(words, odds[2:], strict=True)
        ]
        yield Attribution(pieces, float(odds[1]), float(odds[0]))


def _between(words: Sequence[Span], length: int) -> Iterator[Span]:
    """Yield the passages of a text outside words."""
    ends = [0, *(end for _, end in words)]
    starts = [*(start for start, _ in words), length]
    yield from zip(ends, starts, strict=True)


def _odds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(logit(np.clip(probabilities, SMALLEST, 1 - SMALLEST)))
