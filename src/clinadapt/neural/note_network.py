"""A batch of notes, and the network that classifies it: encoder, structure, pooling, head."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from clinadapt.neural.pooling_head import Head, Pooling, merge_windows, pool


@dataclass(frozen=True, eq=False)
class Batch:
    """Notes ready for a network.

    Attributes
    ----------
    inputs : Tensor
        Token ids [sequence, token] or states [sequence, token, width].
    mask : Tensor of bool, shape [sequence, token]
        True at real tokens, which come first.
    note : Tensor of int64, shape [sequence]
        Number, within the batch, of the note that each sequence belongs to.
    notes : int
    """

    inputs: Tensor
    mask: Tensor
    note: Tensor
    notes: int

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("inputs", "mask", "note")}
        return replace(self, **moved)


class StatesAsTheyAre(nn.Module):
    """The encoder of a wholly frozen network: its states were computed before."""

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return states [sequence, token, width], mask and an auxiliary loss of zero."""
        states = batch.inputs
        # Where products run in bf16, states of 16 bit go in as they are: no wider copy.
        if not torch.is_autocast_enabled(states.device.type) or states.dtype != torch.bfloat16:
            states = states.float()
        return states, batch.mask, states.new_zeros((), dtype=torch.float32)


class NoteNetwork(nn.Module):
    """Encoder, adapter structure, pooling and head in a row.

    Parameters
    ----------
    encoder : nn.Module
        From a `Batch` to ``(hidden [sequence, token, width], mask, auxiliary_loss)``.
    structure : nn.Module
        From ``(hidden, mask)`` to hidden of the same shape.
    head : Head
    pooling : {"mean", "first", "last", "max"}
    """

    def __init__(
        self, encoder: nn.Module, structure: nn.Module, head: Head, pooling: Pooling
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.structure = structure
        self.head = head
        self.pooling: Pooling = pooling

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return class scores [note, class] and the auxiliary loss."""
        pooled, auxiliary_loss = self.pooled(batch)
        return self.head(merge_windows(pooled, batch.note, batch.notes)), auxiliary_loss

    def pooled(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return one state a sequence [sequence, width] and the auxiliary loss."""
        hidden, mask, auxiliary_loss = self.encoder(batch)
        mean = getattr(self.structure, "mean", None)
        if self.pooling == "mean" and callable(mean):
            # What is linear after a mean is done once a note, not once a token.
            return mean(hidden, mask), auxiliary_loss
        return pool(self.structure(hidden, mask), mask, self.pooling), auxiliary_loss
