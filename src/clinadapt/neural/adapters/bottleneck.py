r"""Bottleneck adapter: a narrow branch parallel to a residual path.

$$ h + s \cdot W_{up}\,\mathrm{drop}(\mathrm{ReLU}(W_{down} h + b_{down})) + b_{up} $$

with $W_{down} \in \mathbb{R}^{r \times d}$ and $W_{up} \in \mathbb{R}^{d \times r}$.

Houlsby et al. 2019, "Parameter-Efficient Transfer Learning for NLP" (arXiv 1902.00751); the scale
$s$ and the ReLU follow AdaptFormer (Chen et al. 2022, arXiv 2205.13535). The up-projection is
initialised to zero, so that the adapter starts as the identity.
"""

from typing import Annotated

from annotated_types import Ge, Gt, Interval
from torch import Tensor, nn

from clinadapt.neural.dropout import Dropout
from clinadapt.neural.pooling_head import masked_mean


class Bottleneck(nn.Module):
    """Down-projection, ReLU, dropout, up-projection, residual.

    Parameters
    ----------
    width : int
        Width $d$ of the features.
    inner : int
        Width $r$ of the bottleneck.
    scale : float
        Factor $s$ of the branch.
    dropout : float
    """

    def __init__(
        self,
        width: Annotated[int, Ge(1)],
        inner: Annotated[int, Ge(1)] = 64,
        scale: Annotated[float, Gt(0)] = 1.0,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__()
        self.down = nn.Linear(width, inner)
        self.up = nn.Linear(inner, width)
        self.dropout = Dropout(dropout)
        self.scale = scale
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Map features [note, token, width] to features of the same shape, token by token."""
        branch = self.up(self.dropout(self.down(hidden).relu()))
        return hidden + self.scale * branch

    def mean(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return the mean of `forward` over each note's real tokens [note, width].

        The up-projection runs once per note, not once per token.
        """
        branch = self.dropout(self.down(hidden).relu())
        widened = self.up(masked_mean(branch, mask))
        return masked_mean(hidden, mask) + self.scale * widened
