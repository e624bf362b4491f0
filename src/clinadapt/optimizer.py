"""AdamW with two rates, or Adafactor for pretrained weights where memory is short."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

# Adafactor's rate is relative to a weight's root mean square, which is near 1/20 in encoders.
RELATIVE_RATE = 20.0


class Optimizer:
    """New and pretrained weights with a rate each; norms and biases are not decayed.

    Parameters
    ----------
    named : list of (str, nn.Parameter)
        Weights that train.
    pretrained : callable
        Says of a weight's name whether it gets the encoder's rate.
    learning_rate, encoder_learning_rate : float
    weight_decay : float
    lean : bool
        Adafactor (Shazeer & Stern 2018, arXiv 1804.04235) for pretrained weights: no moments,
        which AdamW keeps two of for each weight.
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
        groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
        for name, weight in named:
            groups.setdefault((pretrained(name), weight.ndim >= 2), []).append(weight)
        adamw: list[dict[str, Any]] = []
        adafactor: list[dict[str, Any]] = []
        for (old, matrix), weights in groups.items():
            rate = encoder_learning_rate if old else learning_rate
            factored = lean and old
            (adafactor if factored else adamw).append(
                {
                    "params": weights,
                    "base_rate": rate * RELATIVE_RATE if factored else rate,
                    "weight_decay": weight_decay if matrix else 0.0,
                }
            )
        self.weights = [weight for weights in groups.values() for weight in weights]
        self.parts: list[torch.optim.Optimizer] = []
        if adamw:
            self.parts.append(torch.optim.AdamW(adamw, lr=learning_rate, fused=True))
        if adafactor:
            self.parts.append(torch.optim.Adafactor(adafactor, lr=learning_rate, foreach=False))

    def zero_grad(self) -> None:
        """Forget gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=True)

    def step(self, factor: float, clip: float) -> None:
        """Change the weights, at a share of the base rates, by gradients of bounded norm."""
        nn.utils.clip_grad_norm_(self.weights, clip)
        for part in self.parts:
            for group in part.param_groups:
                group["lr"] = group["base_rate"] * factor
            part.step()

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on."""
        return {str(number): part.state_dict() for number, part in enumerate(self.parts)}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Go on from `state_dict`."""
        for number, part in enumerate(self.parts):
            part.load_state_dict(saved[str(number)])
