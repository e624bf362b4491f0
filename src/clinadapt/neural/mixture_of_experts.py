r"""A small Mixture-of-Experts Transformer, trained from scratch.

It is the small Transformer, except that each token goes through one of several feed-forward
experts, chosen by a router: Le et al. 2023 (arXiv 2303.12892) on the same notes, after the Switch
Transformer (Fedus et al. 2022, arXiv 2101.03961). A balance loss keeps the router from sending all
tokens to one expert:

$$ \alpha\, N \sum_i f_i P_i $$

with $f_i$ the share of tokens sent to expert $i$ of $N$ and $P_i$ the router's mean probability
for it. Its weight $\alpha$ is 0.01 in the Switch paper (the default) and 1.0 in the Keras example.
Experts have no capacity limit, so no token is dropped: on one machine there is no need for one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import torch
from annotated_types import Ge, Interval
from torch import Tensor, nn

from clinadapt.neural.attention import Block, Embedding
from clinadapt.neural.note_network import Batch
from clinadapt.neural.transformer import FeedForward


class Experts(nn.Module):
    """Feed-forward experts behind a top-1 router.

    Parameters
    ----------
    width, inner : int
        Width of the features, and of the hidden layer of each expert.
    experts : int
        Number of experts.
    """

    def __init__(self, width: int, inner: int, experts: int) -> None:
        super().__init__()
        self.router = nn.Linear(width, experts)
        self.experts = nn.ModuleList(FeedForward(width, inner) for _ in range(experts))
        # Tokens sent to each expert since the count was last read; not a weight.
        self.routed: Tensor
        self.register_buffer("routed", torch.zeros(experts), persistent=False)
        self.held: Tensor | None = None  # fixed expert of each token [sequence · token]

    def forward(self, hidden: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Map features to features [sequence, token, width], and the balance loss (unweighted)."""
        features = hidden.flatten(0, 1)
        real = mask.flatten()
        probabilities = self.router(features).float().softmax(dim=-1)
        confidence, choice = probabilities.max(dim=-1)
        if self.held is not None:
            choice = self.held.repeat(len(choice) // len(self.held))
            confidence = probabilities.gather(1, choice[:, None])[:, 0]
        # One stable sort makes each expert's tokens contiguous and puts the padding last.
        experts = len(self.experts)
        choice = choice.masked_fill(~real, experts)
        sizes = torch.bincount(choice, minlength=experts + 1)[:experts].tolist()
        tokens = sum(sizes)
        order = choice.argsort(stable=True)[:tokens]
        sent = torch.tensor(sizes, dtype=probabilities.dtype, device=hidden.device)
        mean = real.to(probabilities.dtype) @ probabilities / tokens
        balance = experts * (sent / tokens * mean).sum()
        if self.training:
            self.routed += sent
        groups = torch.split(features[order], sizes)
        transformed = torch.cat(
            [expert(group, mask)[0] for expert, group in zip(self.experts, groups, strict=True)]
        )
        weighted = (confidence[order, None] * transformed).to(hidden.dtype)
        mixed = torch.zeros_like(features).index_copy(0, order, weighted)
        return mixed.view_as(hidden), balance


class MoETransformer(nn.Module):
    """Embedding and post-norm blocks with a mixture of experts as feed-forward layer.

    Parameters
    ----------
    vocabulary : int
        Number of token ids.
    max_tokens : int
        Length of the longest sequence.
    width, blocks, heads, feed_forward, experts : int
    balance_weight : float
        Weight of the balance loss.
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
        experts: Annotated[int, Interval(ge=2, le=1024)] = 10,
        balance_weight: Annotated[float, Ge(0)] = 0.01,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1,
    ) -> None:
        super().__init__()
        self.width = width
        self.balance_weight = balance_weight
        self.embedding = Embedding(vocabulary, max_tokens, width)
        self.mixtures = [Experts(width, feed_forward, experts) for _ in range(blocks)]
        self.blocks = nn.ModuleList(
            Block(width, heads, mixture, dropout) for mixture in self.mixtures
        )
        self.register_buffer("balance", torch.zeros(()), persistent=False)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return features [sequence, token, width], mask and weighted balance loss."""
        hidden = self.embedding(batch.inputs)
        total = hidden.new_zeros((), dtype=torch.float32)
        for block in self.blocks:
            hidden, balance = block(hidden, batch.mask)
            total = total + balance
        self.balance = total.detach()
        return hidden, batch.mask, self.balance_weight * total

    @contextmanager
    def routing_held(self, batch: Batch) -> Iterator[None]:
        """Fix the expert of each token of a batch within a `with` block.

        Batches inside the block must be repetitions of this one. With its routing fixed, the
        network is a continuous function of its features, which attribution methods need.
        """
        choices: list[Tensor] = []
        with torch.no_grad():
            hooks = [
                mixture.router.register_forward_hook(
                    lambda module, args, scores: choices.append(scores.argmax(dim=-1))
                )
                for mixture in self.mixtures
            ]
            self(batch)
        for hook, mixture, choice in zip(hooks, self.mixtures, choices, strict=True):
            hook.remove()
            mixture.held = choice
        try:
            yield
        finally:
            for mixture in self.mixtures:
                mixture.held = None

    def take_report(self) -> dict[str, object]:
        """Return each expert's share of the tokens since the last call, and the last balance loss.

        Shares are over all blocks. The best possible balance loss is 1 per block.
        """
        counts = torch.stack([mixture.routed for mixture in self.mixtures]).sum(dim=0)
        for mixture in self.mixtures:
            mixture.routed.zero_()
        share = counts / counts.sum().clamp(min=1)
        return {"router_load": share.tolist(), "balance_loss": float(self.balance)}
