"""Batches for training and prediction."""

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from clinadapt.neural.note_network import Batch

IN_MEMORY_BYTES = 2**27


class BatchSource(Protocol):
    """Source of notes that can be batched."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of tokens of each note [note]."""
        ...

    def batch(self, notes: NDArray[np.int64]) -> Batch:
        """Return some notes as a batch, in the given order."""
        ...


class VectorSource:
    """Source of notes with one vector each, which a network sees as notes of one token.

    Parameters
    ----------
    vectors : Tensor or ndarray of float32, shape [note, width]
    """

    def __init__(self, vectors: Tensor | NDArray[np.float32]) -> None:
        self.vectors = torch.as_tensor(vectors)
        self.lengths = np.ones(len(vectors), dtype=np.int64)

    def batch(self, notes: NDArray[np.int64]) -> Batch:
        """Return notes as features [note, 1, width]."""
        return one_token_each(self.vectors[torch.from_numpy(notes)])


class SparseSource:
    """Source of notes as rows of a sparse matrix, which is made dense batch by batch.

    Parameters
    ----------
    matrix : scipy.sparse.csr_matrix, shape [note, feature]
    """

    def __init__(self, matrix: sparse.csr_matrix) -> None:
        self.matrix = matrix
        self.lengths = np.ones(matrix.shape[0], dtype=np.int64)

    def batch(self, notes: NDArray[np.int64]) -> Batch:
        """Return notes as features [note, 1, feature]."""
        dense = self.matrix[notes].toarray().astype(np.float32, copy=False)
        return one_token_each(torch.from_numpy(dense))


def one_token_each(vectors: Tensor) -> Batch:
    """Return vectors [note, width] as a batch of features [note, 1, width]."""
    notes = len(vectors)
    mask = torch.ones(notes, 1, dtype=torch.bool)
    return Batch(vectors[:, None], mask, torch.arange(notes), notes)
