r"""Gated attention over the notes of a patient, and the network that classifies patients by it.

With the vector $h_k$ of note $k$, a patient's vector is

$$ \sum_k a_k h_k, \qquad
   a = \operatorname{softmax}_k\bigl(w^\top (\tanh(V h_k) \odot \sigma(U h_k))\bigr). $$

Ilse, Tomczak & Welling 2018, "Attention-based deep multiple instance learning" (arXiv 1802.04712),
equation 9. The weights tell which notes decided, and all notes together get one decision.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clinadapt.neural.note_network import Batch
from clinadapt.neural.pooling_head import Head


class GatedAttention(nn.Module):
    """Weighted mean of the notes of each patient; the weights depend on the notes.

    Parameters
    ----------
    width : int
        Width of the notes' vectors.
    inner : int
        Units of the two layers that the weights are computed from.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.content = nn.Linear(width, inner)
        self.gate = nn.Linear(width, inner)
        self.score = nn.Linear(inner, 1, bias=False)

    def weights(self, notes: Tensor, mask: Tensor) -> Tensor:
        """Return the weight of each note [patient, note]; they sum to 1, those of padding are 0."""
        scores = self.score(torch.tanh(self.content(notes)) * torch.sigmoid(self.gate(notes)))
        return scores[..., 0].float().masked_fill(~mask, float("-inf")).softmax(dim=1)

    def forward(self, notes: Tensor, mask: Tensor) -> Tensor:
        """Map notes [patient, note, width] to patients [patient, width]."""
        return torch.bmm(self.weights(notes, mask)[:, None], notes)[:, 0]


class PatientNetwork(nn.Module):
    """Normalised vectors of notes, gated attention over them, and a head.

    Parameters
    ----------
    attention : GatedAttention
    head : Head
    width : int
        Width of the notes' vectors.
    """

    def __init__(self, attention: GatedAttention, head: Head, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attention = attention
        self.head = head

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return class scores [patient, class] and an auxiliary loss of zero.

        Parameters
        ----------
        batch : Batch
            Patients as sequences of notes: its inputs are vectors [patient, note, width].
        """
        # The input is so small that casts to 16 bit would cost more than they save.
        with torch.autocast(batch.inputs.device.type, enabled=False):
            patients = self.attention(self.norm(batch.inputs.float()), batch.mask)
        return self.head(patients), patients.new_zeros(())


class PatientSource:
    """Source of patients as sequences of one vector per note.

    Parameters
    ----------
    vectors : Tensor of float32, shape [note, width]
    first : ndarray of int64, shape [patient + 1]
        First note of each patient.
    """

    def __init__(self, vectors: Tensor, first: NDArray[np.int64]) -> None:
        self.vectors, self.first = vectors, first
        self.lengths = np.diff(first)

    def batch(self, patients: NDArray[np.int64]) -> Batch:
        """Return patients as padded vectors [patient, note, width]."""
        counts = torch.from_numpy(self.lengths[patients])
        place = torch.arange(int(counts.max()))
        mask = place < counts[:, None]
        rows = torch.from_numpy(self.first[patients])[:, None] + torch.where(mask, place, 0)
        owner = torch.arange(len(patients))
        return Batch(self.vectors[rows], mask, owner, len(patients))
