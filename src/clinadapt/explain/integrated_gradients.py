r"""Integrated gradients: contribution of each input to a score, relative to a baseline.

$$ (x_i - b_i) \int_0^1 \frac{\partial F}{\partial x_i}\bigl(b + t\,(x - b)\bigr)\,dt $$

They sum to $F(x) - F(b)$ (completeness), up to the error of the numerical integral, which is
reported. Sundararajan, Taly & Yan 2017, "Axiomatic Attribution for Deep Networks"
(arXiv 1703.01365); computed by the library captum, an optional extra.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from clinadapt.core.errors import MissingExtraError
from clinadapt.data.labels import Task

STEPS = 32
SMALL_STEPS = 128  # for small networks
# Numbers that go through the network at once, over all steps of a batch.
AT_ONCE = 2**19


def integrate(
    logit: Callable[[Tensor], Tensor], inputs: Tensor, baseline: Tensor, steps: int
) -> tuple[Tensor, float, float]:
    """Attribute the logit of one note to its inputs.

    Parameters
    ----------
    logit : callable
        From inputs [step, ...] to logits [step], each independent of the others.
    inputs, baseline : Tensor, shape [1, ...]
    steps : int
        Steps of the integral (Gauss-Legendre).

    Returns
    -------
    attributions : Tensor of float64, shape [...]
        On the CPU.
    logit, baseline_logit : float

    Raises
    ------
    MissingExtraError
        captum is not installed.
    """
    try:
        from captum.attr import IntegratedGradients
    except ImportError:
        raise MissingExtraError(
            "explanations of this model need captum, which is not installed: "
            "pip install 'clinadapt[explain]'"
        ) from None
    with torch.no_grad():
        ends = [float(logit(point).double()) for point in (inputs, baseline)]
    at_once = min(steps, max(1, AT_ONCE // inputs.numel()))
    contributions = IntegratedGradients(logit).attribute(
        inputs.detach(), baseline.detach(), n_steps=steps, internal_batch_size=at_once
    )
    return contributions[0].detach().double().cpu(), ends[0], ends[1]


def pick(task: Task, outputs: Tensor, column: int) -> Tensor:
    """Return the logits of a class [note], from a network's outputs [note, class].

    In a binary task they are the log-odds of the class, so that the sigmoid is its probability.
    """
    if task == "binary":
        return outputs[:, column] - outputs[:, 1 - column]
    return outputs[:, column]
