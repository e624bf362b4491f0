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

from clinadapt.core.errors import InputError
from clinadapt.explain.attribution import Attribution
from clinadapt.explain.words import LONG, Span, spans
from clinadapt.models.contract import Model

SMALLEST = 1e-12  # logits of probabilities nearer to 0 or 1 are rounding errors


AT_ONCE = 512  # copies of a note in memory


def occlusion(
    model: Model, texts: Sequence[str], columns: Sequence[int], within: Span | None = None
) -> Iterator[Attribution]:
    """Attribute the log-odds of a class to the words of each note, note by note.

    Parameters
    ----------
    model : Model
        Fitted.
    texts : sequence of str
    columns : sequence of int
        Column of the explained class, for each note.
    within : (int, int), optional
        Characters whose words are left out; default: all.

    Raises
    ------
    InputError
        A note, or the part of it, is longer than `LONG`.
    """
    if any(len(text[slice(*within)] if within else text) > LONG for text in texts):
        raise InputError(
            f"a note has more than {LONG:,} characters: this model is explained by leaving out "
            "each word in turn, which takes too long for it. Leave it out, or shorten it"
        )
    for text, column in zip(texts, columns, strict=True):
        words = spans(text, *(within or ()))
        wordless = " ".join(text[end:start] for end, start in _between(words, len(text)))
        whole, none = _odds(model.predict_proba([text, wordless])[:, column]).tolist()
        pieces = []
        for first in range(0, len(words), AT_ONCE):
            some = words[first : first + AT_ONCE]
            without = [text[:start] + " " + text[end:] for start, end in some]
            odds = _odds(model.predict_proba(without)[:, column])
            pieces += [
                (start, end, whole - value)
                for (start, end), value in zip(some, odds.tolist(), strict=True)
            ]
        yield Attribution(pieces, none, whole)


def _between(words: Sequence[Span], length: int) -> Iterator[Span]:
    """Yield the passages of a text outside words."""
    ends = [0, *(end for _, end in words)]
    starts = [*(start for start, _ in words), length]
    yield from zip(ends, starts, strict=True)


def _odds(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(logit(np.clip(probabilities, SMALLEST, 1 - SMALLEST)))
