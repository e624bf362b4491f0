"""Inference with a frozen encoder: features of token sequences, in batches of similar length.

On a CPU every core runs a batch of its own: matrix products of that size use one core fully,
intermediate results stay in its cache, and no core waits for another after each operation.
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

# Padded tokens per batch: enough to use a core's matrix unit fully, few enough for its cache.
BATCH_TOKENS = {"cpu": 2_048, "cuda": 32_768}
LEAST_TOKENS = 256  # lower limit where batches are made smaller so that every core has one
# Padding tokens accepted per batch: another batch costs about as much as running so many tokens.
MOST_PADDING = {"cpu": 128, "cuda": 2_048}
# The matrix library compiles and caches a kernel for every new shape. Lengths are therefore rounded
# up to steps, and so are numbers of sequences above the first step.
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
    """Yield the token ids of some thousand notes at a time, tokenizing the next ones meanwhile.

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
        following = ahead.submit(chunk, 0)
        for start in range(0, len(texts), CHUNK_NOTES):
            tokens = following.result()
            if start + CHUNK_NOTES < len(texts):
                following = ahead.submit(chunk, start + CHUNK_NOTES)
            yield tokens


def encode(
    read: Reader, tokens: Tokens, sequences: NDArray[np.int64], device: torch.device
) -> Tensor:
    """Return the features of some sequences, concatenated, in 16 bit.

    Parameters
    ----------
    read : callable
        From ids and mask [sequence, token] to features [sequence, token, width].
    tokens : Tokens
    sequences : ndarray of int64
        Numbers of the sequences, sorted by length so that there is little padding.
    device : torch.device

    Returns
    -------
    Tensor, shape [token, width]
        bf16 as computed; fp32 rounded to fp16, or to bf16 if fp16's range is too small.
    """

    def features_of(batch: NDArray[np.int64]) -> Tensor:
        ids, mask = pad(tokens, batch)
        return read(ids.to(device), mask.to(device)).cpu()[mask]

    budget = BATCH_TOKENS[device.type]
    if device.type == "cpu":  # with few sequences, every core gets a share
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
    """Return the results of independent tasks, in order; on a CPU, each core runs one at a time."""
    workers = min(torch.get_num_threads(), MOST_WORKERS, len(items))
    if device.type != "cpu" or workers < 2:
        return map(work, items)
    threads = max(1, torch.get_num_threads() // workers)
    return list(_POOLS.get(workers, threads).map(work, items))


class _Pools(threading.local):
    """Pools of workers for each calling thread, so that callers do not wait for each other.

    The workers are kept, because new ones would allocate memory and compile kernels at every call.
    The number of torch threads is set in each worker; that of the caller does not change.
    """

    def __init__(self) -> None:
        self.made: dict[tuple[int, int], ThreadPoolExecutor] = {}

    def get(self, workers: int, threads: int) -> ThreadPoolExecutor:
        """Return a pool of `workers` workers with `threads` torch threads each."""
        key = workers, threads
        if key not in self.made:
            self.made[key] = ThreadPoolExecutor(
                workers, "encoder", torch.set_num_threads, (threads,)
            )
        return self.made[key]

    def forget(self) -> None:
        """Drop all pools in a forked process, which does not inherit their threads."""
        self.made = {}


_POOLS = _Pools()
os.register_at_fork(after_in_child=_POOLS.forget)


def reading_batches(
    numbers: NDArray[np.int64],
    lengths: NDArray[np.int64],
    device: torch.device,
    budget: int | None = None,
) -> Iterator[NDArray[np.int64]]:
    """Yield batches for inference: like `runs`, with few shapes and little padding."""
    budget = budget or BATCH_TOKENS[device.type]
    return runs(numbers, lengths, budget, padding=MOST_PADDING[device.type], step=BATCH_STEP)


def pad(tokens: Tokens, sequences: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
    """Return padded ids and mask, both [sequence, token].

    Ids are padded with zeros to the longest of the sequences, rounded up to a multiple of
    `LENGTH_STEP`, but not beyond the longest of all sequences: the encoder may have no position
    embeddings for more.
    """
    lengths = tokens.lengths[sequences]
    rounded = -(-int(lengths.max()) // LENGTH_STEP) * LENGTH_STEP
    steps = np.arange(min(rounded, tokens.longest))
    mask = steps < lengths[:, None]
    rows = tokens.starts[sequences][:, None] + np.minimum(steps, lengths[:, None] - 1)
    ids = np.where(mask, tokens.ids[rows], 0).astype(np.int64)
    return torch.from_numpy(ids), torch.from_numpy(mask)
