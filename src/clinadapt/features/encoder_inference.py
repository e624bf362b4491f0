"""The frozen pass: sequences in, features out, at the speed of the machine's matrix products.

Sequences go in batches of like length. On a CPU every core reads a batch of its own: matrix
products of that size fill one core, everything between them stays in its cache, and no core waits
for another after each operation.
"""

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from clinadapt.features.tokenization import Tokens, Truncation, tokenize
from clinadapt.neural.training.length_batches import runs

# Padded tokens a batch: enough to fill a core's matrix unit, few enough for its cache.
BATCH_TOKENS = {"cpu": 2_048, "cuda": 32_768}
LEAST_TOKENS = 256  # of a batch that is cut smaller, so that more cores have one
# Tokens in a batch. Beginning another one costs about as much as reading so many.
MOST_PADDING = {"cpu": 128, "cuda": 2_048}
# The library of matrix products writes a kernel for every shape that it has not met, and keeps it:
# lengths go up in steps, and so do numbers of sequences above the first step.
LENGTH_STEP = 16
BATCH_STEP = 8
CHUNK_NOTES = 8_192
MOST_WORKERS = 16
FLOAT16_MAX = 65_504.0
Reader = Callable[[Tensor, Tensor], Tensor]
Item = TypeVar("Item")
Result = TypeVar("Result")


def token_chunks(
    tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int, truncation: Truncation
) -> Iterator[Tokens]:
    """Token ids of some thousand notes at a time; the next ones are made while these are read.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
    texts : sequence of str
    max_tokens : int
    truncation : {"head", "tail", "head+tail", "windows"}
    """

    def chunk(start: int) -> Tokens:
        return tokenize(tokenizer, texts[start : start + CHUNK_NOTES], max_tokens, truncation)

    with ThreadPoolExecutor(1) as ahead:
        coming = ahead.submit(chunk, 0)
        for start in range(0, len(texts), CHUNK_NOTES):
            tokens = coming.result()
            if start + CHUNK_NOTES < len(texts):
                coming = ahead.submit(chunk, start + CHUNK_NOTES)
            yield tokens


def encode(
    read: Reader, tokens: Tokens, sequences: NDArray[np.int64], device: torch.device
) -> Tensor:
    """Features of some sequences, end to end, in 16 bit.

    Parameters
    ----------
    read : callable
        From ids and mask [sequence, token] to features [sequence, token, width].
    tokens : Tokens
    sequences : ndarray of int64
        Sorted by length, so that little is padded.
    device : torch.device

    Returns
    -------
    Tensor, shape [token, width]
        bf16 as computed; fp32 rounded to fp16 (to bf16 where its range does not do).
    """

    def features_of(batch: NDArray[np.int64]) -> Tensor:
        ids, mask = pad(tokens, batch)
        return read(ids.to(device), mask.to(device)).cpu()[mask]

    budget = BATCH_TOKENS[device.type]
    if device.type == "cpu":  # few sequences: a share for every core
        share = int(tokens.lengths[sequences].sum()) // torch.get_num_threads()
        budget = min(budget, max(share, LEAST_TOKENS))
    batches = list(reading_batches(sequences, tokens.lengths, device, budget))
    features = torch.cat(list(side_by_side(features_of, batches, device)))
    if features.dtype == torch.float32:
        fits = bool(features.abs().max() < FLOAT16_MAX)
        features = features.to(torch.float16 if fits else torch.bfloat16)
    return features


def side_by_side(
    work: Callable[[Item], Result], items: Sequence[Item], device: torch.device
) -> Iterable[Result]:
    """Results of independent pieces of work, in order; on a CPU one piece a core at a time."""
    workers = min(torch.get_num_threads(), MOST_WORKERS, len(items))
    if device.type != "cpu" or workers < 2:
        return map(work, items)
    threads = max(1, torch.get_num_threads() // workers)
    return list(_POOLS.get(workers, threads).map(work, items))


class _Pools(threading.local):
    """Workers of one thread that calls, so that two callers do not wait for each other's.

    They stay: new ones would set up their memory and their kernels at every call. The number of
    threads is each worker's own; the caller's stays as it is.
    """

    def __init__(self) -> None:
        self.made: dict[tuple[int, int], ThreadPoolExecutor] = {}

    def get(self, workers: int, threads: int) -> ThreadPoolExecutor:
        """So many workers, with so many threads each."""
        key = workers, threads
        if key not in self.made:
            self.made[key] = ThreadPoolExecutor(
                workers, "encoder", torch.set_num_threads, (threads,)
            )
        return self.made[key]

    def forget(self) -> None:
        """Threads are not forked."""
        self.made = {}


_POOLS = _Pools()
os.register_at_fork(after_in_child=_POOLS.forget)


def reading_batches(
    numbers: NDArray[np.int64],
    lengths: NDArray[np.int64],
    device: torch.device,
    budget: int | None = None,
) -> Iterator[NDArray[np.int64]]:
    """`runs` for reading: of few shapes, and with little padding."""
    budget = budget or BATCH_TOKENS[device.type]
    return runs(numbers, lengths, budget, padding=MOST_PADDING[device.type], step=BATCH_STEP)


def pad(tokens: Tokens, sequences: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Ids and mask, both [sequence, token].

    Ids are zero-padded to the longest, and on to a multiple of `LENGTH_STEP`, but not beyond the
    longest of all: there may be no position for more.
    """
    lengths = tokens.lengths[sequences]
    rounded = -(-int(lengths.max()) // LENGTH_STEP) * LENGTH_STEP
    steps = np.arange(min(rounded, tokens.longest))
    mask = steps < lengths[:, None]
    rows = tokens.starts[sequences][:, None] + np.minimum(steps, lengths[:, None] - 1)
    ids = np.where(mask, tokens.ids[rows], 0).astype(np.int64)
    return torch.from_numpy(ids), torch.from_numpy(mask)
