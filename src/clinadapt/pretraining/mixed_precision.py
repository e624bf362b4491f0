"""Weights in 16 bit for the products, and a copy in 32 bit for the optimizer.

Autocast keeps weights in 32 bit and casts them, and features, at every product: a fifth of a
training step on a CPU. Here all runs in 16 bit; changes too small for 16 bit add up in the copy
(Micikevicius et al. 2018, "Mixed precision training", arXiv 1710.03740; bf16 needs no loss scale).
"""

import torch
from torch import Tensor, nn


class MasterWeights:
    """Copies in fp32 of the weights of a module that train.

    Parameters
    ----------
    module : nn.Module
        In any floating type.
    """

    def __init__(self, module: nn.Module) -> None:
        self.weights = [weight for weight in module.parameters() if weight.requires_grad]
        self.copies = [weight.detach().float().clone() for weight in self.weights]

    def take_gradients(self) -> None:
        """Move the gradients of the weights to the copies."""
        for weight, copy in zip(self.weights, self.copies, strict=True):
            copy.grad = None if weight.grad is None else weight.grad.float()
            weight.grad = None

    @torch.no_grad()
    def give(self) -> None:
        """Set the weights to what the copies are."""
        torch._foreach_copy_([*self.weights], self.copies)

    @torch.no_grad()
    def load(self, copies: list[Tensor]) -> None:
        """Set copies and weights to earlier copies."""
        torch._foreach_copy_(self.copies, copies)
        self.give()
