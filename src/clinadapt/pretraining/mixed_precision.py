"""Weights in 16 bit for matrix products, with copies in 32 bit for the optimizer.

Autocast keeps weights in 32 bit and casts them and the features at every product, which takes a
fifth of a training step on a CPU. Here everything runs in 16 bit, and changes too small for 16 bit
accumulate in the copies (Micikevicius et al. 2018, "Mixed precision training", arXiv 1710.03740;
bf16 needs no loss scaling).
"""

import torch
from torch import Tensor, nn


class MasterWeights:
    """Copies in fp32 of the trainable weights of a module.

    Parameters
    ----------
    module : nn.Module
        Module of any floating-point type.
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
        """Set the weights to the values of the copies."""
        torch._foreach_copy_([*self.weights], self.copies)

    @torch.no_grad()
    def load(self, copies: list[Tensor]) -> None:
        """Set copies and weights to saved copies."""
        torch._foreach_copy_(self.copies, copies)
        self.give()
