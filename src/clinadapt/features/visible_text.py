"""Texts in which there is something to see, and characters that are none of it."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Spaces, controls, combining marks, zero-width and private characters.
INVISIBLE = (
    r"\s\x00-\x1f\x7f-\xa0\xad\u0300-\u036f\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    r"\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ue000-\uf8ff\ufe00-\ufe0f\ufeff\uffa0"
    r"\ufff0-\uffff\U000e0000-\U0010ffff"
)
VISIBLE = re.compile(rf"[^{INVISIBLE}]")


def has_visible(texts: Sequence[str]) -> NDArray[np.bool_]:
    """Return whether each text has a visible character [text]."""
    return np.array([VISIBLE.search(text) is not None for text in texts], dtype=np.bool_)
