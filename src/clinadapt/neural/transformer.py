"""A small Transformer, trained from scratch.

The clinical paper (arXiv 2407.19299) gives no sizes. The defaults are those of the Keras example
"Text classification with Transformer": token and position embeddings of width 32, one post-norm
block, two heads, feed-forward width 32, dropout 0.1. Unlike that example, padding is masked.
"""

from typing import Annotated

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from clinadapt.neural.attention import Block, Embedding
from clinadapt.neural.note_network import Batch


class FeedForward(nn.Module):
    """Feed-forward layers: dense, ReLU, dense.

    Parameters
    ----------
    width, inner : int
        Width of the features, and of the hidden layer.
    """

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.inner = nn.Linear(width, inner)
        self.out = nn.Linear(inner, width)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return features [sequence, token, width] and an auxiliary loss of zero."""
        return self.out(self.inner(hidden).relu()), hidden.new_zeros((), dtype=torch.float32)


class Transformer(nn.Module):
    """Embedding and post-norm blocks.

    Parameters
    ----------
    vocabulary : int
        Number of token ids.
    max_tokens : int
        Length of the longest sequence.
    width, blocks, heads, feed_forward : int
    dropout : float
    """

    def __init__(
        self,
        vocabulary: Annotated[int, Ge(1)],
        max_tokens: Annotated[int, Ge(1)],
        width: Annotated[int, Ge(1)] = 32,
        blocks: Annotated[int, Interval(ge=1, le=256)] = 1,
        heads: Annotated[int, Ge(1)] = 2,
        feed_forward: Annotated[int, Ge(1)] = 32,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        self.embedding = Embedding(vocabulary, max_tokens, width)
        self.blocks = nn.ModuleList(
            Block(width, heads, FeedForward(width, feed_forward), dropout) for _ in range(blocks)
        )

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return features [sequence, token, width], mask and an auxiliary loss of zero."""
        hidden = self.embedding(batch.inputs)
        for block in self.blocks:
            hidden, _ = block(hidden, batch.mask)
        return hidden, batch.mask, hidden.new_zeros((), dtype=torch.float32)
