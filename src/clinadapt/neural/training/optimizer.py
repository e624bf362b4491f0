"""AdamW with two learning rates, or Adafactor for pretrained weights to save memory."""

from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

BETAS, EPSILON = (0.9, 0.999), 1e-8
# Adafactor's rate is relative to a weight's root mean square, which is about 1/20 in encoders.
RELATIVE_RATE = 20.0


class Optimizer:
    """Optimiser with separate learning rates of new and pretrained weights.

    Weight decay applies to matrices only, not to norms and biases.

    Parameters
    ----------
    named : list of (str, nn.Parameter)
        Trainable weights by name.
    pretrained : callable
        Function that returns True for the names of weights with the encoder's learning rate.
    learning_rate, encoder_learning_rate : float
    weight_decay : float
    lean : bool
        Whether to use Adafactor (Shazeer & Stern 2018, arXiv 1804.04235) for pretrained weights.
        It does without the two moments per weight that AdamW keeps.
    """

    def __init__(
        self,
        named: list[tuple[str, nn.Parameter]],
        pretrained: Callable[[str], bool],
        learning_rate: float,
        encoder_learning_rate: float,
        weight_decay: float,
        lean: bool = False,
    ) -> None:
        self.weights = [weight for _, weight in named]
        self.adamw: list[_AdamW] = []
        factored: list[dict[str, Any]] = []
        for old, matrix in product((False, True), repeat=2):
            weights = [w for n, w in named if pretrained(n) == old and (w.ndim >= 2) == matrix]
            rate = encoder_learning_rate if old else learning_rate
            decay = weight_decay if matrix else 0.0
            if weights and old and lean:
                base = rate * RELATIVE_RATE
                factored.append({"params": weights, "base_rate": base, "weight_decay": decay})
            elif weights:
                self.adamw.append(_AdamW(weights, rate, decay))
        self.adafactor: torch.optim.Optimizer | None = None
        if factored:
            self.adafactor = torch.optim.Adafactor(factored, foreach=False)

    def zero_grad(self) -> None:
        """Delete all gradients."""
        for weight in self.weights:
            weight.grad = None

    def step(self, factor: float, clip: float) -> None:
        """Update the weights by gradients of bounded norm, with the base rates times a factor."""
        nn.utils.clip_grad_norm_(self.weights, clip)
        for part in self.adamw:
            part.step(factor)
        if self.adafactor is not None:
            for group in self.adafactor.param_groups:
                group["lr"] = group["base_rate"] * factor
            self.adafactor.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state that is needed to resume."""
        state: dict[str, Any] = {"adamw": [part.moments for part in self.adamw]}
        if self.adafactor is not None:
            state["adafactor"] = self.adafactor.state_dict()
        return state

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Resume from a saved state."""
        for part, moments in zip(self.adamw, saved["adamw"], strict=True):
            part.load(moments)
        if self.adafactor is not None:
            self.adafactor.load_state_dict(saved["adafactor"])


class _AdamW:
    """AdamW by torch's function, because importing its class loads a compiler for seconds."""

    def __init__(self, weights: list[nn.Parameter], rate: float, decay: float) -> None:
        self.weights: list[Tensor] = [*weights]
        self.rate = rate
        self.decay = decay
        # Both moments and the step count, by the weight's number, from its first gradient on.
        self.moments: dict[int, tuple[Tensor, ...]] = {}

    @torch.no_grad()
    def step(self, factor: float) -> None:
        numbers = [n for n, weight in enumerate(self.weights) if weight.grad is not None]
        if not numbers:
            return
        weights = [self.weights[number] for number in numbers]
        for number, weight in zip(numbers, weights, strict=True):
            if number not in self.moments:
                steps = torch.zeros((), device=weight.device)
                self.moments[number] = (torch.zeros_like(weight), torch.zeros_like(weight), steps)
        mean, square, steps_done = zip(*(self.moments[number] for number in numbers), strict=True)
        adamw(
            weights,
            [weight.grad for weight in weights if weight.grad is not None],
            list(mean),
            list(square),
            [],
            list(steps_done),
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=self.rate * factor,
            weight_decay=self.decay,
            eps=EPSILON,
            maximize=False,
        )

    def load(self, moments: Mapping[int, tuple[Tensor, ...]]) -> None:
        for number, kept in moments.items():
            device = self.weights[number].device
            self.moments[number] = tuple(tensor.to(device, copy=True) for tensor in kept)
