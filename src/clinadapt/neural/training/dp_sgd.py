r"""Training with differential privacy: DP-SGD over notes, by opacus (an optional extra).

A step draws each note into its batch $B$ by itself, with probability $q$ (Poisson sampling), clips
the gradient $g_i$ of every note to norm $C$, and adds noise to the sum:

$$ \frac{1}{qn} \Bigl( \sum_{i \in B} g_i \min\bigl(1, C / \lVert g_i \rVert\bigr)
   + \mathcal{N}(0, \sigma^2 C^2 I) \Bigr) $$

Adam takes it for the gradient. Abadi et al. 2016, "Deep Learning with Differential Privacy"
(arXiv 1607.00133). What all steps spend is bounded through Rényi divergences (Mironov, Talwar &
Zhang 2019, arXiv 1908.10530), which never says too little.

Batches and noise come from a secret that is kept nowhere: who could draw the noise again, from a
seed in the bundle say, could take it away.
"""

import math
import secrets
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.optim import Adam

from clinadapt.core.errors import ClinadaptError, InputError, MissingExtraError
from clinadapt.core.run_context import Progress
from clinadapt.neural.note_network import Batch
from clinadapt.neural.training.batch_sources import Source
from clinadapt.neural.training.length_batches import runs
from clinadapt.neural.training.loop import Recipe
from clinadapt.neural.training.losses import Objective

MISSING = (
    "training with differential privacy needs opacus, which is not installed: "
    "pip install 'clinadapt[private]'"
)
# Of the Rényi divergence; the high ones are what a small epsilon needs.
ORDERS = [1 + tenth / 10 for tenth in range(1, 100)] + [*range(12, 64), 96, 128, 192, 256, 384, 512]
# Bytes that the gradients of the notes that go through the network together may take.
GRADIENT_BYTES = 2**27


@dataclass(frozen=True)
class Budget:
    """What training may give away.

    Attributes
    ----------
    epsilon, delta : float
        Of (ε, δ)-differential privacy, between training notes that differ by one note.
    clipping : float
        Largest norm $C$ of the gradient of a note.
    """

    epsilon: float
    delta: float
    clipping: float


@dataclass(frozen=True)
class Guarantee:
    """What training gave away at most.

    Attributes
    ----------
    epsilon, delta : float
        Of (ε, δ)-differential privacy, for one note more or less among the training notes.
    noise_multiplier : float
        Standard deviation of the noise as a multiple of `clipping`.
    clipping : float
        Largest norm of the gradient of a note.
    sampling_rate : float
        Probability that a note is in the batch of a step.
    steps : int
    """

    epsilon: float
    delta: float
    noise_multiplier: float
    clipping: float
    sampling_rate: float
    steps: int

    def of_notes(self, notes: int) -> tuple[float, float]:
        r"""(ε, δ) for so many notes at once, such as all of a patient.

        $(k\varepsilon,\; \delta \sum_{i<k} e^{i\varepsilon})$: Dwork & Roth 2014, "The
        Algorithmic Foundations of Differential Privacy", theorem 2.2, note by note. A δ of 1
        promises nothing.
        """
        last = (notes - 1) * self.epsilon
        if last > 700:  # beyond the range of floats
            return notes * self.epsilon, 1.0
        delta = self.delta * sum(math.exp(number * self.epsilon) for number in range(notes))
        return notes * self.epsilon, min(1.0, delta)


def secret_seed() -> int:
    """Seed of batches and noise, from the operating system."""
    return secrets.randbits(63)


def find_noise(budget: Budget, sampling_rate: float, steps: int) -> float:
    """Least noise multiplier with which all steps together stay within a budget.

    Raises
    ------
    InputError
        No noise is enough.
    MissingExtraError
        opacus is not installed.
    """
    try:
        from opacus.accountants.utils import get_noise_multiplier
    except ImportError:
        raise MissingExtraError(MISSING) from None
    with warnings.catch_warnings():
        # The search tries noises for which the best order lies beyond the list: still a bound.
        warnings.simplefilter("ignore", UserWarning)
        try:
            return float(
                get_noise_multiplier(
                    target_epsilon=budget.epsilon,
                    target_delta=budget.delta,
                    sample_rate=sampling_rate,
                    steps=steps,
                    accountant="rdp",
                    epsilon_tolerance=budget.epsilon / 200,
                    alphas=ORDERS,
                )
            )
        except ValueError:
            raise InputError(
                f"epsilon = {budget.epsilon:g} with delta = {budget.delta:g} is too little for any "
                "noise: give a larger epsilon, or fewer epochs"
            ) from None


def spent_epsilon(noise: float, sampling_rate: float, steps: int, delta: float) -> float:
    """Epsilon that so many steps spend, at most."""
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(noise, sampling_rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return float(accountant.get_epsilon(delta=delta, alphas=ORDERS))


def note_gradients(
    network: nn.Module, objective: Objective, batch: Batch, notes: Tensor
) -> dict[str, Tensor]:
    """Gradient of each note's loss in each trainable weight.

    Every note goes through the network alone (`torch.func.vmap`), so its gradient is exact
    whatever the network is made of, and no other note can have a part in it.

    Parameters
    ----------
    network : nn.Module
        Without randomness: in ``eval`` mode.
    objective : Objective
    batch : Batch
        One sequence a note.
    notes : Tensor of int64, shape [note]
        Numbers of the notes in the source.

    Returns
    -------
    dict of str to Tensor, shape [note, *weight]
    """
    weights = {n: w.detach() for n, w in network.named_parameters() if w.requires_grad}

    def loss(weights: dict[str, Tensor], inputs: Tensor, mask: Tensor, note: Tensor) -> Tensor:
        alone = Batch(inputs[None], mask[None], torch.zeros(1, dtype=torch.int64), 1)
        output, _ = functional_call(network, weights, (alone,))
        return objective(output, note[None], alone)

    gradients: Callable[..., dict[str, Tensor]] = vmap(grad(loss), in_dims=(None, 0, 0, 0))
    return gradients(weights, batch.inputs, batch.mask, notes)


def train(
    network: nn.Module,
    source: Source,
    objective: Objective,
    recipe: Recipe,
    budget: Budget,
    device: torch.device,
    progress: Progress,
) -> tuple[Guarantee, list[dict[str, Any]]]:
    """Train a network in place, privately: all epochs, without dropout, and no note to stop it.

    Parameters
    ----------
    network : nn.Module
        From a `Batch` to ``(output [note, ...], auxiliary_loss)``; the latter is left out.
    source : Source
        Training notes, one sequence each.
    objective : Objective
    recipe : Recipe
        Its epochs, batch size (as it is expected), learning rate and tokens at once. The rate
        falls linearly to zero, which evens out the noise of the last steps.
    budget : Budget
    device : torch.device
    progress : callable

    Returns
    -------
    guarantee : Guarantee
    history : list of dict
        Of each epoch: ``epoch``, and ``epsilon`` spent until its end. No loss: it is not private.

    Raises
    ------
    InputError
        No noise is enough for the budget.
    MissingExtraError
        opacus is not installed.
    ClinadaptError
        The weights stopped being numbers.
    """
    total = len(source.lengths)
    batch_size = min(recipe.batch_size, total)
    rate, each = batch_size / total, math.ceil(total / batch_size)
    steps = recipe.epochs * each
    noise = find_noise(budget, rate, steps)
    from opacus.optimizers import DPOptimizer

    network.to(device).eval()  # noise is regularisation enough; and dropout has no per-note form
    weights = {name: w for name, w in network.named_parameters() if w.requires_grad}
    generator = torch.Generator(device).manual_seed(secret_seed())
    inner = Adam(weights.values(), lr=recipe.learning_rate)
    optimizer = DPOptimizer(
        inner,
        noise_multiplier=noise,
        max_grad_norm=budget.clipping,
        expected_batch_size=batch_size,
        generator=generator,
    )
    at_once = max(1, GRADIENT_BYTES // (4 * sum(w.numel() for w in weights.values())))
    history: list[dict[str, Any]] = []
    for step in range(steps):
        drawn = torch.rand(total, dtype=torch.float64, device=device, generator=generator) < rate
        notes = np.flatnonzero(drawn.cpu().numpy())
        notes = notes[np.argsort(source.lengths[notes], kind="stable")]
        for group in inner.param_groups:
            group["lr"] = recipe.learning_rate * (1 - step / steps)
        # A step without notes is noise alone: that nothing was drawn must not show.
        parts = list(runs(notes, source.lengths, recipe.max_batch_tokens, at_once)) or [notes]
        for number, part in enumerate(parts, start=1):
            optimizer.zero_grad()
            gradients = (
                note_gradients(
                    network, objective, source.batch(part).to(device), torch.from_numpy(part)
                )
                if len(part)
                else {name: w.new_zeros(0, *w.shape) for name, w in weights.items()}
            )
            for name, weight in weights.items():
                weight.grad_sample = gradients[name]  # type: ignore[attr-defined]
            optimizer.signal_skip_step(do_skip=number < len(parts))  # clipped sums are kept
            optimizer.step()
        epoch, place = divmod(step, each)
        progress(f"epoch {epoch + 1}/{recipe.epochs}", place + 1, each)
        if place + 1 == each:
            epsilon = spent_epsilon(noise, rate, step + 1, budget.delta)
            history.append({"epoch": epoch + 1, "epsilon": epsilon})
    optimizer.zero_grad(set_to_none=True)
    if not all(bool(weight.isfinite().all()) for weight in weights.values()):
        raise ClinadaptError(
            f"the weights stopped being numbers: lower learning_rate (now {recipe.learning_rate})"
        )
    spent = history[-1]["epsilon"]
    return Guarantee(spent, budget.delta, noise, budget.clipping, rate, steps), history
