"""Pooling of token features over a note, and the head that computes class scores."""

from typing import Literal

import torch
from torch import Tensor, nn

from clinadapt.neural.dropout import Dropout

Pooling = Literal["mean", "first", "last", "max"]


def pool(hidden: Tensor, mask: Tensor, how: Pooling) -> Tensor:
    """Pool the features of each sequence into one vector.

    Parameters
    ----------
    hidden : Tensor, shape [sequence, token, width]
    mask : Tensor of bool, shape [sequence, token]
        True for real tokens, which precede the padding.
    how : {"mean", "first", "last", "max"}
        "first" is the classification token of BERT-like encoders; "last" suits decoders, in which
        only the last token attends to the entire note.

    Returns
    -------
    Tensor, shape [sequence, width]
    """
    if how == "first":
        return hidden[:, 0]
    if how == "last":
        last = mask.sum(dim=1) - 1
        return hidden[torch.arange(len(hidden), device=hidden.device), last]
    if how == "max":
        return hidden.masked_fill(~mask[..., None], float("-inf")).amax(dim=1)
    return masked_mean(hidden.masked_fill(~mask[..., None], 0.0), mask)


def masked_mean(hidden: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over the real tokens of each sequence.

    Parameters
    ----------
    hidden : Tensor, shape [sequence, token, width]
        Features; those of the padding may have any finite value.
    mask : Tensor of bool, shape [sequence, token]

    Returns
    -------
    Tensor, shape [sequence, width]
        In fp32.
    """
    # A product with zeros and ones reads the features once. Autocast would round it to bf16.
    with torch.autocast(hidden.device.type, enabled=False):
        total = torch.bmm(mask[:, None].float(), hidden.float())[:, 0]
    return total / mask.sum(dim=1, keepdim=True)


def merge_windows(pooled: Tensor, note: Tensor, notes: int) -> Tensor:
    """Return the mean over the windows of each note.

    Parameters
    ----------
    pooled : Tensor, shape [sequence, width]
    note : Tensor of int64, shape [sequence]
        Index of the note that each sequence is a window of.
    notes : int
        Number of notes.

    Returns
    -------
    Tensor, shape [note, width]
    """
    if notes == len(pooled):
        return pooled
    total = pooled.new_zeros(notes, pooled.shape[1]).index_add(0, note, pooled)
    return total / torch.bincount(note, minlength=notes)[:, None]


class Head(nn.Module):
    """Dropout and a linear layer, after a hidden layer of `inner` units if that is not 0.

    Parameters
    ----------
    width : int
        Width of the pooled features.
    classes : int
    inner : int
        Number of units of a ReLU layer before the output; 20 in the Keras example of a small
        Transformer.
    dropout : float
    """

    def __init__(self, width: int, classes: int, inner: int = 0, dropout: float = 0.1) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.hidden = nn.Linear(width, inner) if inner else None
        self.out = nn.Linear(inner or width, classes)

    def forward(self, pooled: Tensor) -> Tensor:
        """Map pooled features [note, width] to class scores (logits) [note, class]."""
        if torch.is_autocast_enabled(pooled.device.type):
            # The input is so small that casts to 16 bit would cost more than they save.
            with torch.autocast(pooled.device.type, enabled=False):
                return self.forward(pooled)
        features = self.dropout(pooled.float())
        if self.hidden is not None:
            features = self.dropout(self.hidden(features).relu())
        return self.out(features)
