"""Batches of notes of similar length."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def runs(
    numbers: NDArray[np.int64],
    lengths: NDArray[np.int64],
    budget: int,
    most: int | None = None,
    padding: int | None = None,
    step: int = 1,
) -> Iterator[NDArray[np.int64]]:
    """Yield consecutive runs of items sorted by length, each within limits of its padded size.

    Parameters
    ----------
    numbers : ndarray of int64, shape [item]
        Items in ascending order of length.
    lengths : ndarray of int64
        Length of every item that `numbers` may refer to.
    budget : int
        Most tokens of a run, padding included. A single item may be longer.
    most : int, optional
        Most items of a run.
    padding : int, optional
        Most padding tokens of a run.
    step : int
        Runs with more items than this have a multiple of it.
    """
    sizes = lengths[numbers]
    start = 0
    while start < len(numbers):
        # With `count` items the padded size is count · (length of the last one). It grows with
        # `count`, and so does the padding, which makes a binary search possible.
        rest = sizes[start : start + (most or budget)]
        padded = rest * np.arange(1, len(rest) + 1)
        count = int(np.searchsorted(padded, budget, side="right"))
        if padding is not None:
            zeros = padded - np.cumsum(rest)
            count = min(count, int(np.searchsorted(zeros, padding, side="right")))
        count = max(1, count - count % step if count > step else count)
        yield numbers[start : start + count]
        start += count
