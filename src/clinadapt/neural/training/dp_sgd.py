r"""Training with differential privacy: DP-SGD over notes, with opacus (an optional extra).

Each step draws every note into its batch $B$ independently, with probability $q$ (Poisson
sampling), clips the gradient $g_i$ of each note to norm $C$, and adds noise to the sum:

$$ \frac{1}{qn} \Bigl( \sum_{i \in B} g_i \min\bigl(1, C / \lVert g_i \rVert\bigr)
   + \mathcal{N}(0, \sigma^2 C^2 I) \Bigr) $$

Adam uses it as the gradient. Abadi et al. 2016, "Deep Learning with Differential Privacy"
(arXiv 1607.00133). The privacy loss of all steps is bounded from above through Rényi divergences
(Mironov, Talwar & Zhang 2019, arXiv 1908.10530).

Batches and noise are drawn from a secret seed that is not stored: anyone who could reproduce the
noise, for example from a seed in the bundle, could subtract it.
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
from clinadapt.neural.training.batch_sources import BatchSource
from clinadapt.neural.training.length_batches import runs
from clinadapt.neural.training.losses import Objective
from clinadapt.neural.training.recipe import Recipe

MISSING = (
    "training with differential privacy needs opacus, which is not installed: "
    "pip install 'clinadapt[private]'"
)
# Orders of the Rényi divergence; a small epsilon needs the high ones.
ORDERS = [1 + tenth / 10 for tenth in range(1, 100)] + [*range(12, 64), 96, 128, 192, 256, 384, 512]
# Memory limit of the per-note gradients of a micro-batch.
GRADIENT_BYTES = 2**27


@dataclass(frozen=True)
class PrivacyBudget:
    """Privacy budget of training.

    Attributes
    ----------
    epsilon, delta : float
        Parameters of (ε, δ)-differential privacy, for training sets that differ by one note.
    clipping : float
        Largest norm $C$ of the gradient of a note.
    """

    epsilon: float
    delta: float
    clipping: float


@dataclass(frozen=True)
class Guarantee:
    """Privacy guarantee of a finished training.

    Attributes
    ----------
    epsilon, delta : float
        Parameters of (ε, δ)-differential privacy, for training sets that differ by one note.
    noise_multiplier : float
        Standard deviation of the noise as a multiple of `clipping`.
    clipping : float
        Largest norm of the gradient of a note.
    sampling_rate : float
        Probability that a note is in the batch of a step.
    steps : int
        Number of steps.
    """

    epsilon: float
    delta: float
    noise_multiplier: float
    clipping: float
    sampling_rate: float
    steps: int

    def of_notes(self, notes: int) -> tuple[float, float]:
        r"""Return (ε, δ) for a number of notes at once, such as all notes of a patient.

        $(k\varepsilon,\; \delta \sum_{i<k} e^{i\varepsilon})$ for $k$ notes, by repeated
        application of theorem 2.2 of Dwork & Roth 2014, "The Algorithmic Foundations of
        Differential Privacy". A δ of 1 guarantees nothing.
        """
        last = (notes - 1) * self.epsilon
        if last > 700:  # beyond the range of floats
            return notes * self.epsilon, 1.0
        delta = self.delta * sum(math.exp(number * self.epsilon) for number in range(notes))
        return notes * self.epsilon, min(1.0, delta)


def secret_seed() -> int:
    """Return a seed for batches and noise from the operating system."""
    return secrets.randbits(63)


def find_noise(budget: PrivacyBudget, sampling_rate: float, steps: int) -> float:
    """Return the smallest noise multiplier with which all steps stay within a budget.

    Raises
    ------
    InputError
        The budget is too small for any amount of noise.
    MissingExtraError
        opacus is not installed.
    """
    try:
        from opacus.accountants.utils import get_noise_multiplier
    except ImportError:
        raise MissingExtraError(MISSING) from None
    with warnings.catch_warnings():
        # opacus warns if the best order is not in the list; the result is still an upper bound.
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
                f"epsilon = {budget.epsilon:g} with delta = {budget.delta:g} cannot be reached "
                "with any amount of noise: use a larger epsilon or fewer epochs"
            ) from None


def spent_epsilon(noise: float, sampling_rate: float, steps: int, delta: float) -> float:
    """Return an upper bound of the epsilon that a number of steps spend."""
    from opacus.accountants import RDPAccountant

    accountant = RDPAccountant()
    accountant.history = [(noise, sampling_rate, steps)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return float(accountant.get_epsilon(delta=delta, alphas=ORDERS))


def note_gradients(
    network: nn.Module, objective: Objective, batch: Batch, notes: Tensor
) -> dict[str, Tensor]:
    """Return the gradient of each note's loss with respect to each trainable weight.

    Every note goes through the network alone (`torch.func.vmap`). Its gradient is therefore exact
    for any architecture, and no other note can influence it.

    Parameters
    ----------
    network : nn.Module
        Network in ``eval`` mode, so that it has no randomness.
    objective : Objective
    batch : Batch
        Batch with one sequence per note.
    notes : Tensor of int64, shape [note]
        Indices of the notes in the source.

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
    source: BatchSource,
    objective: Objective,
    recipe: Recipe,
    budget: PrivacyBudget,
    device: torch.device,
    progress: Progress,
) -> tuple[Guarantee, list[dict[str, Any]]]:
    """Train a network in place with differential privacy, without dropout or early stopping.

    Parameters
    ----------
    network : nn.Module
        Network from a `Batch` to ``(output [note, ...], auxiliary_loss)``; the auxiliary loss is
        ignored.
    source : BatchSource
        Training notes with one sequence each.
    objective : Objective
    recipe : Recipe
        Hyperparameters, of which only the epochs, the expected batch size, the learning rate and
        the tokens per micro-batch are used. The learning rate falls linearly to zero, which
        averages out the noise of the last steps.
    budget : PrivacyBudget
    device : torch.device
    progress : callable
        Called after each step.

    Returns
    -------
    guarantee : Guarantee
    history : list of dict
        For each epoch: ``epoch``, and the ``epsilon`` spent until its end. The loss is left out,
        because it is not private.

    Raises
    ------
    InputError
        The budget is too small for any amount of noise.
    MissingExtraError
        opacus is not installed.
    ClinadaptError
        Weights are no longer finite.
    """
    total = len(source.lengths)
    batch_size = min(recipe.batch_size, total)
    rate, each = batch_size / total, math.ceil(total / batch_size)
    steps = recipe.epochs * each
    noise = find_noise(budget, rate, steps)
    from opacus.optimizers import DPOptimizer

    network.to(device).eval()  # dropout has no per-note form, and the noise regularises enough
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
        # A step without notes still adds noise, so that an empty draw cannot be detected.
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
            optimizer.signal_skip_step(do_skip=number < len(parts))  # accumulates clipped sums
            optimizer.step()
        epoch, place = divmod(step, each)
        progress(f"epoch {epoch + 1}/{recipe.epochs}", place + 1, each)
        if place + 1 == each:
            epsilon = spent_epsilon(noise, rate, step + 1, budget.delta)
            history.append({"epoch": epoch + 1, "epsilon": epsilon})
    optimizer.zero_grad(set_to_none=True)
    if not all(bool(weight.isfinite().all()) for weight in weights.values()):
        raise ClinadaptError(
            "the weights are no longer finite: lower learning_rate (currently "
            f"{recipe.learning_rate})"
        )
    spent = history[-1]["epsilon"]
    return Guarantee(spent, budget.delta, noise, budget.clipping, rate, steps), history
