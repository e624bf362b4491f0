"""Words of a note as a reader sees them, and contributions of text pieces summed by word."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# Accents may be separate characters (decomposed Unicode): they do not end a word.
WORD = re.compile(r"\w[\w\u0300-\u036f]*")

LONG = 100_000  # characters of a note; words of longer ones are explained in part
BLOCK = 1_000

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
        Contribution to the logit; None, not zero, if the model did not read the word.
    """

    start: int
    end: int
    contribution: float | None

    @property
    def read(self) -> bool:
        """True if the model read any of the word."""
        return self.contribution is not None


def spans(text: str, start: int = 0, end: int | None = None) -> list[Span]:
    """Return start and end of every word of a text, or of those between two positions."""
    return [match.span() for match in WORD.finditer(text, start, len(text) if end is None else end)]


def _areas(text: str, pieces: Sequence[Piece]) -> list[Span]:
    """Return the parts of a text whose words are explained: all of it, or of a long one a few."""
    if len(text) <= LONG:
        return [(0, len(text))]
    near = np.zeros(len(text) // BLOCK + 1, dtype=np.bool_)
    for start, end, _ in pieces:
        if start < end:
            near[max(0, start // BLOCK - 1) : (end - 1) // BLOCK + 2] = True
    edges = np.flatnonzero(np.diff(near, prepend=False, append=False)) * BLOCK
    return [(int(start), min(int(end), len(text))) for start, end in edges.reshape(-1, 2)]


def gather(
    text: str, pieces: Iterable[Piece], read: NDArray[np.bool_] | None = None
) -> tuple[list[Word], float]:
    """Sum contributions of pieces of a text by word.

    Of a text longer than `LONG`, only words near a piece are returned.

    Parameters
    ----------
    text : str
    pieces : iterable of (start, end, contribution)
        Pieces may overlap. The contribution of a piece is divided equally among the word
        characters that it covers.
    read : ndarray of bool, shape [character], optional
        True for characters that the model read; default: all.

    Returns
    -------
    words : list of Word
    rest : float
        Sum of the pieces outside words (punctuation, line ends).
    """
    pieces = list(pieces)
    where = [span for area in _areas(text, pieces) for span in spans(text, *area)]
    owner = np.full(len(text), -1, dtype=np.int32)
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
