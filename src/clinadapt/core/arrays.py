"""Types of arrays that many modules name, and a choice of positions in one."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def evenly_spaced(length: int, most: int) -> NDArray[np.int64]:
    """Return at most `most` positions in a sequence of a length, evenly spaced.

    Examples
    --------
    >>> evenly_spaced(9, 3).tolist(), evenly_spaced(2, 3).tolist()
    ([0, 4, 8], [0, 1])
    """
    return np.linspace(0, length - 1, min(length, most)).astype(np.int64)
