"""Dropout whose random bits are cheap on a CPU.

PyTorch draws one number an element there, on one core: an eighth of a training step of a base
encoder. Four elements can share one 64-bit draw, 16 bits each.
"""

import numpy as np
import torch
from torch import Tensor, nn

STEPS = 2**16


class Dropout(nn.Dropout):
    """As `torch.nn.Dropout`, with its probability rounded to a multiple of 2⁻¹⁶.

    Parameters
    ----------
    p : float
        Probability that an element is set to zero in training; the others are scaled by
        ``1 / (1 - p)``.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Drop elements of a tensor of any shape, in training."""
        dropped = round(self.p * STEPS)
        if not self.training or not dropped:
            return input
        if input.device.type != "cpu" or dropped >= STEPS:
            return super().forward(input)
        # Torch's generator decides, so that a seed decides; a faster one draws.
        seed = int(torch.empty((), dtype=torch.int64).random_())
        words = np.random.SFC64(seed).random_raw(-(-input.numel() // 4)).view(np.int16)
        kept = (words[: input.numel()] >= dropped - STEPS // 2).view(np.int8)
        # A product, forwards and backwards, is several times faster than a choice.
        factors = torch.from_numpy(kept).view(input.shape).to(input.dtype)
        return input * factors.mul_(STEPS / (STEPS - dropped))


def replace_dropout(module: nn.Module) -> None:
    """Put `Dropout` in the place of every `torch.nn.Dropout` of a module, in place."""
    for name, child in module.named_children():
        if type(child) is nn.Dropout:
            setattr(module, name, Dropout(child.p))
        else:
            replace_dropout(child)
