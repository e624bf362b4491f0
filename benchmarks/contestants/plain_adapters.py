"""The four adapters in plain PyTorch, for the peers.

Not named ``adapters``: scripts in this folder would then import it in place of the library of that
name.

The formulas and the number of weights are those of clinadapt's adapters; see there for
sources. All take token features [note, token, width] and a mask [note, token].
"""

import torch
from torch import Tensor, nn

DROPOUT = 0.1


class Bottleneck(nn.Module):
    """``h + up(drop(relu(down(h))))``."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)
        self.dropout = nn.Dropout(DROPOUT)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return features of the same shape."""
        return hidden + self.up(self.dropout(self.down(hidden).relu()))


class Lightweight(nn.Module):
    """``h + up(relu(down(norm(h))))``."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.down, self.up = nn.Linear(width, inner), nn.Linear(inner, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return features of the same shape."""
        return hidden + self.up(self.down(self.norm(hidden)).relu())


class TinyAttention(nn.Module):
    """``h + out(attention(h))``, with one very narrow head."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.queries_keys_values = nn.Linear(width, 3 * inner)
        self.out = nn.Linear(inner, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return features of the same shape."""
        queries, keys, values = self.queries_keys_values(hidden).chunk(3, dim=-1)
        scores = queries @ keys.transpose(1, 2) / queries.shape[-1] ** 0.5
        scores = scores.masked_fill(~mask[:, None], torch.finfo(scores.dtype).min)
        return hidden + self.out(scores.softmax(dim=-1) @ values)


class GatedResidual(nn.Module):
    """``norm(h + sigmoid(gate(x)) * value(x))`` with ``x = drop(dense_out(elu(dense_in(h))))``."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.dense_in, self.dense_out = nn.Linear(width, inner), nn.Linear(inner, inner)
        self.gate, self.value = nn.Linear(inner, width), nn.Linear(inner, width)
        self.dropout, self.norm = nn.Dropout(DROPOUT), nn.LayerNorm(width)
        nn.init.zeros_(self.value.weight)
        nn.init.zeros_(self.value.bias)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Return features of the same shape."""
        branch = self.dropout(self.dense_out(nn.functional.elu(self.dense_in(hidden))))
        return self.norm(hidden + self.gate(branch).sigmoid() * self.value(branch))


ADAPTERS = {
    "bottleneck": Bottleneck,
    "lightweight": Lightweight,
    "tiny_attention": TinyAttention,
    "gated_residual": GatedResidual,
}
