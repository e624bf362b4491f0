"""Modules that both from-scratch encoders use: embedding, self-attention, block."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from clinadapt.neural.dropout import Dropout


class Embedding(nn.Module):
    """Sum of learned token and position embeddings.

    Parameters
    ----------
    vocabulary : int
        Number of token ids.
    max_tokens : int
        Length of the longest sequence.
    width : int
    """

    def __init__(self, vocabulary: int, max_tokens: int, width: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary, width)
        self.position = nn.Embedding(max_tokens, width)
        # The range that Keras uses: PyTorch's unit variance is too large for so narrow a model.
        nn.init.uniform_(self.token.weight, -0.05, 0.05)
        nn.init.uniform_(self.position.weight, -0.05, 0.05)

    def forward(self, ids: Tensor) -> Tensor:
        """Map ids [sequence, token] to features [sequence, token, width]."""
        positions = torch.arange(ids.shape[1], device=ids.device)
        return self.token(ids) + self.position(positions)


class SelfAttention(nn.Module):
    """Multi-head self-attention over the real tokens of each sequence (Vaswani et al. 2017).

    Parameters
    ----------
    width, heads : int
    head_width : int, optional
        Width of each head; default ``width // heads``.
    """

    def __init__(self, width: int, heads: int, head_width: int | None = None) -> None:
        super().__init__()
        inner = heads * (head_width or width // heads)
        self.heads = heads
        self.queries_keys_values = nn.Linear(width, 3 * inner)
        self.out = nn.Linear(inner, width)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Map features [sequence, token, width] to attended features of the same shape."""
        sequences, tokens, _ = hidden.shape
        mixed = self.queries_keys_values(hidden).view(sequences, tokens, 3, self.heads, -1)
        queries, keys, values = mixed.permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask[:, None, None, :]
        )
        return self.out(attended.transpose(1, 2).reshape(sequences, tokens, -1))


class Block(nn.Module):
    """Post-norm block: attention and feed-forward, each with dropout, residual and layer norm.

    Parameters
    ----------
    width, heads : int
        Each head has width `width`, as in the Keras example.
    feed_forward : nn.Module
        Module from ``(hidden, mask)`` to ``(hidden, auxiliary_loss)``.
    dropout : float
    """

    def __init__(self, width: int, heads: int, feed_forward: nn.Module, dropout: float) -> None:
        super().__init__()
        self.attention = SelfAttention(width, heads, head_width=width)
        self.feed_forward = feed_forward
        self.norm_attention = nn.LayerNorm(width, eps=1e-6)
        self.norm_feed_forward = nn.LayerNorm(width, eps=1e-6)
        self.dropout = Dropout(dropout)

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return features [sequence, token, width] and the feed-forward's auxiliary loss."""
        attended = self.dropout(self.attention(hidden, mask))
        hidden = self.norm_attention(hidden + attended)
        transformed, auxiliary_loss = self.feed_forward(hidden, mask)
        return self.norm_feed_forward(hidden + self.dropout(transformed)), auxiliary_loss
