"""What a family says about one note, before it is told in words."""

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
        Characters of the note, and what they add to the logit.
    baseline : float
        The logit without any of them.
    logit : float
        The logit of the note.
    read : ndarray of bool, shape [character], optional
        What of the note the model read; None for all of it.
    """

    pieces: Sequence[Piece]
    baseline: float
    logit: float
    read: NDArray[np.bool_] | None = None
