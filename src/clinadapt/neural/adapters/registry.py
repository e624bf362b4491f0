"""Registry of adapters: small trainable modules between frozen token features and the head.

The contract is a signature, not a base class::

    forward(hidden: [note, token, width], mask: [note, token]) -> [note, token, width]

The constructor takes ``width`` first; every other parameter has a default, and ``inner`` is the
inner width if there is one. The content of the padding never changes the result. An adapter may
offer ``mean(hidden, mask) -> [note, width]``, the mean of its forward over each note's real tokens,
if that costs less than the forward; it may assume finite padding. To add an adapter, write its file
and add one line to `ADAPTERS`; the contract tests cover the entire registry.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from clinadapt.core import param_validation
from clinadapt.neural.adapters.bottleneck import Bottleneck
from clinadapt.neural.adapters.gated_residual import GatedResidual
from clinadapt.neural.adapters.identity import Identity
from clinadapt.neural.adapters.lightweight import Lightweight
from clinadapt.neural.adapters.tiny_attention import TinyAttention

ADAPTERS: dict[str, Callable[..., nn.Module]] = {
    "none": Identity,
    "bottleneck": Bottleneck,
    "lightweight": Lightweight,
    "tiny_attention": TinyAttention,
    "gated_residual": GatedResidual,
}


def option_problems(name: str, options: Mapping[str, Any]) -> list[str]:
    """Return the problems of the options of an adapter of the registry."""
    adapter = ADAPTERS[name]
    assert isinstance(adapter, type)
    return param_validation.problems(adapter, {"width": 1, **options})


def count_parameters(module: nn.Module) -> int:
    """Return the number of weights of a module."""
    return sum(weight.numel() for weight in module.parameters())


def match_inner(name: str, width: int, parameters: int, **options: Any) -> int:
    """Return the inner width at which an adapter's number of weights is nearest to a given one.

    Parameters
    ----------
    name : str
        Adapter with an ``inner`` parameter.
    width : int
        Width of the features.
    parameters : int
        Desired number of weights.
    **options
        Further options of the adapter.

    Returns
    -------
    int
        Inner width, at least 1, found by bisection: sizes grow with the inner width.
    """

    def size(inner: int) -> int:
        with torch.device("meta"):
            return count_parameters(ADAPTERS[name](width, inner=inner, **options))

    low, high = 1, 2
    while size(high) < parameters:
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) < parameters else (low, middle)
    return min((low, high), key=lambda inner: abs(size(inner) - parameters))
