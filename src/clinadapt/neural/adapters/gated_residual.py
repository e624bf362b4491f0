r"""Gated residual network: a gated dense branch with a residual path and a layer norm.

$$ \mathrm{LayerNorm}(h + \mathrm{GLU}(\mathrm{drop}(\eta_1))), \qquad
   \eta_1 = W_1\,\mathrm{ELU}(W_2 h + b_2) + b_1 $$
$$ \mathrm{GLU}(x) = \sigma(W_4 x + b_4) \odot (W_5 x + b_5) $$

Lim et al. 2021, "Temporal Fusion Transformers" (arXiv 1912.09363), equations 2-5. At $d = 768$ and
full inner width it has 2.36 M weights, twenty-four times as many as a bottleneck of 64. Compare at
equal size (`match_parameters`) before attributing a difference to the gate. The value path of the
gate is initialised to zero, so that the adapter starts as ``LayerNorm(h)``.
"""

from typing import Annotated

from annotated_types import Ge, Interval
from torch import Tensor, nn
from torch.nn import functional

from clinadapt.neural.dropout import Dropout
from clinadapt.neural.pooling_head import masked_mean


class GatedResidual(nn.Module):
    r"""Dense, ELU, dense, dropout, gated linear unit, residual, layer norm.

    Parameters
    ----------
    width : int
        Width $d$ of the features.
    inner : int, optional
        Width of $\eta_1$ and of the hidden layer; default `width`, as in the source.
    dropout : float
        Applied before the gate.
    """

    def __init__(
        self,
        width: Annotated[int, Ge(1)],
        inner: Annotated[int, Ge(1)] | None = None,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__()
        inner = width if inner is None else inner
        self.dense_in = nn.Linear(width, inner)  # W_2
        self.dense_out = nn.Linear(inner, inner)  # W_1
        self.value_and_gate = nn.Linear(inner, 2 * width)  # W_5, W_4
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(width)
        nn.init.zeros_(self.value_and_gate.weight[:width])
        nn.init.zeros_(self.value_and_gate.bias[:width])

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Map features [note, token, width] to features of the same shape, token by token."""
        return self.norm(self._gated(hidden))

    def mean(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the mean of `forward` over each note's real tokens [note, width].

        The norm's gain and shift are applied once per note, not once per token.
        """
        gated = self._gated(hidden)
        normed = functional.layer_norm(gated, gated.shape[-1:], eps=self.norm.eps)
        return self.norm.weight * masked_mean(normed, mask) + self.norm.bias

    def _gated(self, hidden: Tensor) -> Tensor:
        branch = self.dropout(self.dense_out(functional.elu(self.dense_in(hidden))))
        return hidden + functional.glu(self.value_and_gate(branch))
