r"""Lightweight adapter: a bottleneck with its own layer norm.

The norm is at the input (the default) or at the output of the branch:

$$ h + W_{up}\,\mathrm{ReLU}(W_{down}\,\mathrm{LayerNorm}(h)) $$
$$ h + \mathrm{LayerNorm}(W_{up}\,\mathrm{ReLU}(W_{down}\,h)) $$

Le et al. 2021, "Lightweight Adapter Tuning for Multilingual Speech Translation"
(arXiv 2106.01463), use the first form. A description of the method of the clinical paper (arXiv
2407.19299) has the norm last, hence the option. Both forms start as the identity, because the
up-projection or the norm's gain is initialised to zero.
"""

from typing import Annotated, Literal

from annotated_types import Ge
from torch import Tensor, nn
from torch.nn import functional

from clinadapt.neural.pooling_head import masked_mean


class Lightweight(nn.Module):
    """Layer norm, down-projection, ReLU, up-projection, residual.

    Parameters
    ----------
    width : int
        Width of the features.
    inner : int
        Width of the bottleneck.
    norm : {"in", "out"}
        Position of the layer norm: before the down-projection or after the up-projection.
    """

    def __init__(
        self,
        width: Annotated[int, Ge(1)],
        inner: Annotated[int, Ge(1)] = 64,
        norm: Literal["in", "out"] = "in",
    ) -> None:
        super().__init__()
        self.down = nn.Linear(width, inner)
        self.up = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width)
        self.norm_first = norm == "in"
        if self.norm_first:
            nn.init.zeros_(self.up.weight)
            nn.init.zeros_(self.up.bias)
        else:
            nn.init.zeros_(self.norm.weight)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Map features [note, token, width] to features of the same shape, token by token."""
        if self.norm_first:
            return hidden + self.up(self.down(self.norm(hidden)).relu())
        return hidden + self.norm(self.up(self.down(hidden).relu()))

    def mean(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the mean of `forward` over each note's real tokens [note, width].

        With the norm at the input, the up-projection runs once per note, not once per token.
        """
        if not self.norm_first:  # a norm does not commute with the mean
            return masked_mean(self(hidden, mask), mask)
        # Folding the norm's gain and shift into the projection saves a pass over the features.
        normed = functional.layer_norm(hidden, hidden.shape[-1:], eps=self.norm.eps)
        weight = self.down.weight * self.norm.weight
        bias = self.down.bias + self.down.weight @ self.norm.bias
        narrow = functional.linear(normed, weight, bias).relu()
        return masked_mean(hidden, mask) + self.up(masked_mean(narrow, mask))
