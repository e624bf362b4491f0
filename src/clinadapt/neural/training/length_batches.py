"""Batches of notes of like length."""

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
    """Cut a list, sorted by length, into runs of so many padded tokens, items and zeros at most.

    A single item may be longer than the budget. A run of more items than a step is a multiple of
    it.
    """
    sizes = lengths[numbers]
    start = 0
    while start < len(numbers):
        # With `count` items the padded size is count · (length of the last one); it only grows,
        # and what of it is zeros as well.
        rest = sizes[start : start + (most or budget)]
        padded = rest * np.arange(1, len(rest) + 1)
        count = int(np.searchsorted(padded, budget, side="right"))
        if padding is not None:
            zeros = padded - np.cumsum(rest)
            count = min(count, int(np.searchsorted(zeros, padding, side="right")))
        count = max(1, count - count % step if count > step else count)
        yield numbers[start : start + count]
        start += count
