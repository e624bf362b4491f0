"""A batch of notes, and the network that classifies it: encoder, adapter, pooling, head."""

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
        Token ids [sequence, token] or features [sequence, token, width].
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


class FeaturesAsTheyAre(nn.Module):
    """The encoder of a wholly frozen network: its features were computed before."""

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return features [sequence, token, width], mask and an auxiliary loss of zero."""
        features = batch.inputs
        # Where products run in bf16, features of 16 bit go in as they are: no wider copy.
        if not torch.is_autocast_enabled(features.device.type) or features.dtype != torch.bfloat16:
            features = features.float()
        return features, batch.mask, features.new_zeros((), dtype=torch.float32)


class NoteNetwork(nn.Module):
    """Encoder, adapter, pooling and head in a row.

    Parameters
    ----------
    encoder : nn.Module
        From a `Batch` to ``(hidden [sequence, token, width], mask, auxiliary_loss)``.
    adapter : nn.Module
        From ``(hidden, mask)`` to hidden of the same shape.
    head : Head
    pooling : {"mean", "first", "last", "max"}
    """

    def __init__(
        self, encoder: nn.Module, adapter: nn.Module, head: Head, pooling: Pooling
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.adapter = adapter
        self.head = head
        self.pooling: Pooling = pooling

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return class scores [note, class] and the auxiliary loss."""
        pooled, auxiliary_loss = self.pooled(batch)
        return self.head(merge_windows(pooled, batch.note, batch.notes)), auxiliary_loss

    def pooled(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return one state a sequence [sequence, width] and the auxiliary loss."""
        hidden, mask, auxiliary_loss = self.encoder(batch)
        mean = getattr(self.adapter, "mean", None)
        if self.pooling == "mean" and callable(mean):
            # What is linear after a mean is done once a note, not once a token.
            return mean(hidden, mask), auxiliary_loss
        return pool(self.adapter(hidden, mask), mask, self.pooling), auxiliary_loss
