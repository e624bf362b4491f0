"""The words of a note as its reader sees them, and what pieces of the text come to in words."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Accents may be characters of their own (decomposed Unicode): they do not end a word.
WORD = re.compile(r"\w[\w\u0300-\u036f]*")

Span = tuple[int, int]
Piece = tuple[int, int, float]


@dataclass(frozen=True)
class Word:
    """A maximal run of word characters of a note.

    Attributes
    ----------
    start, end : int
        Characters ``text[start:end]`` of the note.
    contribution : float, optional
        What it adds to the logit. None where the model did not read it: that is not zero.
    """

    start: int
    end: int
    contribution: float | None

    @property
    def read(self) -> bool:
        """Whether the model read any of it."""
        return self.contribution is not None


def spans(text: str) -> list[Span]:
    """Start and end of every word of a text."""
    return [found.span() for found in WORD.finditer(text)]


def gather(
    text: str, pieces: Iterable[Piece], read: NDArray[np.bool_] | None = None
) -> tuple[list[Word], float]:
    """Sum pieces of a text into its words.

    Parameters
    ----------
    text : str
    pieces : iterable of (start, end, contribution)
        They may overlap. The contribution of a piece is shared by the word characters that it
        covers, equally.
    read : ndarray of bool, shape [character], optional
        What the model read; default all of it.

    Returns
    -------
    words : list of Word
    rest : float
        Sum of the pieces that cover no word (punctuation, line ends).
    """
    where = spans(text)
    owner = np.full(len(text), -1)
    for number, (start, end) in enumerate(where):
        owner[start:end] = number
    total, rest = np.zeros(len(where)), 0.0
    for start, end, contribution in pieces:
        owners = owner[start:end]
        owners = owners[owners >= 0]
        if len(owners):
            np.add.at(total, owners, contribution / len(owners))
        else:
            rest += contribution
    words = [
        Word(start, end, value if read is None or read[start:end].any() else None)
        for (start, end), value in zip(where, total.tolist(), strict=True)
    ]
    return words, rest
