"""Contributions of pieces of a note, before they are summed into words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinadapt.explain.words import Piece


@dataclass(frozen=True, eq=False)
class Attribution:
    """Contributions of pieces of a note to a logit.

    Attributes
    ----------
    pieces : sequence of (start, end, contribution)
        Characters of the note, and their contribution to the logit.
    baseline : float
        Logit without any of them.
    logit : float
        Logit of the note.
    read : ndarray of bool, shape [character], optional
        True for characters that the model read; None if it read all of them.
    text : str, optional
        The note that was looked at, if the text has several; positions are in it.
    """

    pieces: Sequence[Piece]
    baseline: float
    logit: float
    read: NDArray[np.bool_] | None = None
    text: str | None = None
