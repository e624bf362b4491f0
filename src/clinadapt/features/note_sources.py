"""Sources of a network's batches: token ids, cached features, or one vector per note.

A source has the length of each note, for batching, and returns a `Batch` of any of its notes
without a Python loop over notes.
"""

import tempfile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clinadapt.features.encoder_inference import pad
from clinadapt.features.feature_cache import Features
from clinadapt.features.tokenization import Tokens
from clinadapt.neural.note_network import Batch
from clinadapt.neural.pooling_head import Pooling, merge_windows, pool
from clinadapt.neural.training.batch_sources import IN_MEMORY_BYTES, VectorSource

NOTES_AT_ONCE = 256


def _sequences(
    first: NDArray[np.int64], notes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Tensor]:
    """Return the sequences of some notes, and the position of each sequence's note in `notes`."""
    counts = first[notes + 1] - first[notes]
    owner = np.repeat(np.arange(len(notes)), counts)
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    return first[notes][owner] + within, torch.from_numpy(owner)


def _note_lengths(lengths: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.add.reduceat(lengths, first[:-1])


class TokenSource:
    """Notes as token ids.

    Parameters
    ----------
    tokens : Tokens
    """

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.lengths = _note_lengths(tokens.lengths, tokens.first)

    def batch(self, notes: NDArray[np.int64]) -> Batch:
        """Return notes as padded ids [sequence, token]."""
        sequences, owner = _sequences(self.tokens.first, notes)
        ids, mask = pad(self.tokens, sequences)
        return Batch(ids, mask, owner, len(notes))


class FeatureSource:
    """Notes as cached features.

    Parameters
    ----------
    features : Features
        Features of all sequences.
    first : ndarray of int64, shape [note + 1]
        First sequence of each note.
    """

    def __init__(self, features: Features, first: NDArray[np.int64]) -> None:
        self.features = features
        self.first = first
        self.lengths = _note_lengths(features.length, first)

    def batch(self, notes: NDArray[np.int64]) -> Batch:
        """Return notes as padded features [sequence, token, width]."""
        sequences, owner = _sequences(self.first, notes)
        hidden, mask = self.features.gather(sequences)
        return Batch(hidden, mask, owner, len(notes))

    def pooled(self, how: Pooling) -> "VectorSource":
        """Return one vector per note, for models that need no tokens after pooling."""
        order = np.argsort(self.lengths, kind="stable")
        vectors = _room_for(len(order), self.features.width)
        for start in range(0, len(order), NOTES_AT_ONCE):
            notes = order[start : start + NOTES_AT_ONCE]
            batch = self.batch(notes)
            pooled = pool(batch.inputs.float(), batch.mask, how)
            vectors[notes] = merge_windows(pooled, batch.note, batch.notes).numpy()
        return VectorSource(vectors)


def _room_for(notes: int, width: int) -> NDArray[np.float32]:
    """Allocate vectors; large arrays are in a temporary file that ends with the process."""
    shape = (notes, width)
    if 4 * notes * width < IN_MEMORY_BYTES:
        return np.empty(shape, dtype=np.float32)
    return np.memmap(tempfile.TemporaryFile(), dtype=np.float32, mode="w+", shape=shape)
