r"""Tiny-attention adapter: attention over the note with very narrow queries, keys and values.

$$ h + W_o\,\mathrm{softmax}\!\left(\frac{Q K^\top}{\sqrt{r / n}}\right) V, \qquad
   Q = W_q h,\; K = W_k h,\; V = W_v h $$

for each of $n$ heads of width $r / n$; padding gets no weight.

Zhao et al. 2022, "Tiny-Attention Adapter: Contexts Are More Important Than the Number of
Parameters" (arXiv 2211.01979): heads of width 1, which is what makes them tiny; one such head in
each layer of RoBERTa-large is the 0.05 % of its weights that they train. The output projection is
initialised to zero, so that the adapter starts as the identity. On pooled features there is only
one token to attend to.
"""

from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor, nn

from clinadapt.neural.pooling_head import masked_mean


class TinyAttention(nn.Module):
    """Narrow masked self-attention with a residual path.

    Parameters
    ----------
    width : int
        Width of the features.
    inner : int
        Total width of queries, keys and values over all heads.
    heads : int, optional
        Number of heads, a divisor of `inner`; default: as many as `inner`, each of width 1.
    """

    def __init__(
        self,
        width: Annotated[int, Ge(1)],
        inner: Annotated[int, Ge(1)] = 4,
        heads: Annotated[int, Ge(1)] | None = None,
    ) -> None:
        super().__init__()
        heads = inner if heads is None else heads
        if inner % heads:
            raise ValueError(f"inner={inner} must be a multiple of heads={heads}")
        self.heads = heads
        self.queries_keys_values = nn.Linear(width, 3 * inner)
        self.out = nn.Linear(inner, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Let the tokens of each note [note, token, width] attend to its real tokens."""
        # Padding may contain infinities, and 0 · inf is not 0.
        attention, values = self._attend(hidden.masked_fill(~mask[..., None], 0.0), mask)
        attended = attention @ values  # [note, head, token, r / n]
        return hidden + self.out(attended.transpose(1, 2).flatten(2))

    def mean(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the mean of `forward` over each note's real tokens [note, width].

        The output projection runs once per note, not once per token.
        """
        attention, values = self._attend(hidden, mask)
        shares = mask.to(attention.dtype) / mask.sum(dim=1, keepdim=True)
        attended = (shares[:, None, None] @ attention) @ values  # [note, head, 1, r / n]
        return masked_mean(hidden, mask) + self.out(attended.flatten(1))

    def _attend(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights [note, head, token, token] and values [note, head, token, r / n]."""
        notes, tokens, _ = hidden.shape
        mixed = self.queries_keys_values(hidden).view(notes, tokens, 3, self.heads, -1)
        queries, keys, values = mixed.permute(2, 0, 3, 1, 4)
        # Not the fused kernel: its backward pass is slower for such narrow heads.
        scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5
        scores = scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
        return scores.softmax(dim=-1), values
