"""Batches of notes, and the network that classifies them: encoder, adapter, pooling, head."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from clinadapt.neural.pooling_head import Head, Pooling, merge_windows, pool


@dataclass(frozen=True, eq=False)
class Batch:
    """Input of a network for several notes.

    Attributes
    ----------
    inputs : Tensor
        Token ids [sequence, token] or features [sequence, token, width].
    mask : Tensor of bool, shape [sequence, token]
        True for real tokens, which precede the padding.
    note : Tensor of int64, shape [sequence]
        Index, within the batch, of the note that each sequence belongs to.
    notes : int
        Number of notes.
    """

    inputs: Tensor
    mask: Tensor
    note: Tensor
    notes: int

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("inputs", "mask", "note")}
        return replace(self, **moved)


class FeaturesAsTheyAre(nn.Module):
    """Encoder of a network with frozen layers only: it returns the precomputed features."""

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return features [sequence, token, width], mask and an auxiliary loss of zero."""
        features = batch.inputs
        # Where matrix products run in bf16, a 32-bit copy of bf16 features would be wasted.
        if not torch.is_autocast_enabled(features.device.type) or features.dtype != torch.bfloat16:
            features = features.float()
        return features, batch.mask, features.new_zeros((), dtype=torch.float32)


class NoteNetwork(nn.Module):
    """Sequence of encoder, adapter, pooling and head.

    Parameters
    ----------
    encoder : nn.Module
        Module from a `Batch` to ``(hidden [sequence, token, width], mask, auxiliary_loss)``.
    adapter : nn.Module
        Module from ``(hidden, mask)`` to features of the same shape as ``hidden``.
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
        """Return one vector per sequence [sequence, width] and the auxiliary loss."""
        hidden, mask, auxiliary_loss = self.encoder(batch)
        mean = getattr(self.adapter, "mean", None)
        if self.pooling == "mean" and callable(mean):
            # Linear steps commute with the mean: once per note is cheaper than once per token.
            return mean(hidden, mask), auxiliary_loss
        return pool(self.adapter(hidden, mask), mask, self.pooling), auxiliary_loss
