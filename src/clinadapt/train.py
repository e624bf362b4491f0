"""The one training loop: every network of every family goes through `train`.

All randomness of an epoch comes from its seed and number, through local generators. So a fit that
was killed and goes on from the last epoch's checkpoint ends with the very weights of one that was
not, and the caller's random state is left alone.
"""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clinadapt.context import Progress, no_progress
from clinadapt.errors import ClinadaptError
from clinadapt.objective import Objective
from clinadapt.sources import Source

# Notes are shuffled, then sorted by length within pools of this many batches: little padding,
# and still another order each epoch.
POOL_BATCHES = 50
SEED_SPACE = 2**63


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes
    ----------
    epochs : int
        At most; early stopping may end sooner.
    batch_size : int
        Notes a step of the optimiser.
    learning_rate : float
        Of new weights (structure, head, from-scratch encoder).
    encoder_learning_rate : float
        Of pretrained weights.
    weight_decay : float
        AdamW's.
    warmup : float
        Share of all steps in which the rate rises linearly; it then falls linearly to zero.
    patience : int
        Epochs without a better validation score before training stops.
    max_batch_tokens : int
        Padded tokens that go through the network at once; larger batches are accumulated.
    clip : float
        Largest norm of the gradient.
    seed : int
    dtype : torch.dtype
        Of matrix products; weights and their updates are fp32.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    encoder_learning_rate: float = 5e-5
    weight_decay: float = 0.01
    warmup: float = 0.1
    patience: int = 3
    max_batch_tokens: int = 8_192
    clip: float = 1.0
    seed: int = 0
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Validation:
    """How a network is judged after each epoch.

    Attributes
    ----------
    source : Source
    objective : Objective
        Gives the validation loss, which breaks ties.
    score : callable
        From outputs [note, ...] to a number; higher is better.
    """

    source: Source
    objective: Objective
    score: Callable[[Tensor], float]


def train(
    network: nn.Module,
    source: Source,
    objective: Objective,
    recipe: Recipe,
    device: torch.device,
    validation: Validation | None = None,
    pretrained: Callable[[str], bool] = lambda name: False,
    checkpoint: Path | None = None,
    progress: Progress = no_progress,
    report: Callable[[], dict[str, Any]] = dict,
) -> list[dict[str, Any]]:
    """Train a network in place; it ends with the weights of its best epoch.

    Parameters
    ----------
    network : nn.Module
        From a `Batch` to ``(output [note, ...], auxiliary_loss)``.
    source : Source
        Training notes.
    objective : Objective
    recipe : Recipe
    device : torch.device
    validation : Validation, optional
        Without it there is no early stopping and the last epoch's weights are kept.
    pretrained : callable
        Says of a weight's name whether it gets the encoder's learning rate.
    checkpoint : Path, optional
        Written after every epoch, and read at the start if it is there.
    progress : callable
    report : callable
        Called after each epoch; its entries go into the history.

    Returns
    -------
    list of dict
        Of each epoch: ``epoch``, ``loss``, ``validation_loss``, ``validation_score`` and what
        `report` adds.

    Raises
    ------
    ClinadaptError
        The loss stopped being a number.
    """
    network.to(device)
    named = [(name, weight) for name, weight in network.named_parameters() if weight.requires_grad]
    optimizer = _optimizer(named, pretrained, recipe)
    state = _State(dict(named), optimizer)
    if checkpoint is not None and checkpoint.is_file():
        state.load(checkpoint)
    steps = recipe.epochs * math.ceil(len(source.lengths) / recipe.batch_size)
    while state.epoch < recipe.epochs and state.stale < recipe.patience:
        epoch = state.epoch
        with local_randomness(recipe.seed, epoch):
            loss = _one_epoch(
                network, source, objective, recipe, device, optimizer, epoch, steps, progress
            )
        entry: dict[str, Any] = {"epoch": epoch + 1, "loss": loss, **report()}
        if validation is not None:
            outputs = run(network, validation.source, device, recipe.dtype)
            entry["validation_loss"] = _mean_loss(validation, outputs)
            entry["validation_score"] = validation.score(outputs)
        state.finish_epoch(entry)
        if checkpoint is not None:
            state.save(checkpoint)
    state.restore_best()
    return state.history


def run(network: nn.Module, source: Source, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Outputs of a network for all notes of a source, in its order, fp32 on the CPU.

    Parameters
    ----------
    network : nn.Module
    source : Source
    device : torch.device
    dtype : torch.dtype
        Of matrix products.

    Returns
    -------
    Tensor, shape [note, ...]
    """
    network.to(device).eval()
    order = np.argsort(source.lengths, kind="stable")
    outputs: list[Tensor] = []
    with torch.inference_mode(), _autocast(device, dtype):
        for notes in _micro_batches(order, source.lengths, Recipe.max_batch_tokens, 256):
            output, _ = network(source.batch(notes).to(device))
            outputs.append(output.float().cpu())
    joined = torch.cat(outputs)
    result = torch.empty_like(joined)
    result[torch.from_numpy(order)] = joined
    return result


@contextmanager
def local_randomness(seed: int, stream: int) -> Iterator[None]:
    """Seed torch's global generator within a `with` block, and put it back as it was after."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        mixed = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(mixed) % SEED_SPACE)
        yield


def epoch_batches(
    lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Notes of each batch of an epoch: shuffled, of like length within a batch."""
    generator = np.random.default_rng([seed, epoch])
    order = generator.permutation(len(lengths))
    batches = []
    for start in range(0, len(order), batch_size * POOL_BATCHES):
        group = order[start : start + batch_size * POOL_BATCHES]
        group = group[np.argsort(lengths[group], kind="stable")]
        batches += [group[i : i + batch_size] for i in range(0, len(group), batch_size)]
    return [batches[number] for number in generator.permutation(len(batches))]


def _micro_batches(
    notes: NDArray[np.int64], lengths: NDArray[np.int64], max_tokens: int, max_notes: int
) -> Iterator[NDArray[np.int64]]:
    """Cut notes, sorted by length, into runs of at most so many padded tokens and notes."""
    start = 0
    while start < len(notes):
        end = start + 1
        while (
            end < len(notes)
            and end - start < max_notes
            and (end - start + 1) * lengths[notes[end]] <= max_tokens
        ):
            end += 1
        yield notes[start:end]
        start = end


def _one_epoch(
    network: nn.Module,
    source: Source,
    objective: Objective,
    recipe: Recipe,
    device: torch.device,
    optimizer: torch.optim.Optimizer,
    epoch: int,
    steps: int,
    progress: Progress,
) -> float:
    network.train()
    batches = epoch_batches(source.lengths, recipe.batch_size, recipe.seed, epoch)
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    total = 0.0
    for number, notes in enumerate(batches):
        factor = _schedule(epoch * len(batches) + number, steps, recipe.warmup)
        for group in optimizer.param_groups:
            group["lr"] = group["base_rate"] * factor
        optimizer.zero_grad(set_to_none=True)
        step_loss = torch.zeros((), device=device)
        for part in _micro_batches(notes, source.lengths, recipe.max_batch_tokens, len(notes)):
            batch = source.batch(part).to(device)
            with _autocast(device, recipe.dtype):
                output, auxiliary_loss = network(batch)
            loss = objective(output, torch.from_numpy(part), batch) / len(notes)
            loss = loss + auxiliary_loss * (len(part) / len(notes))
            loss.backward()
            step_loss += loss.detach()
        nn.utils.clip_grad_norm_(weights, recipe.clip)
        optimizer.step()
        total += float(step_loss) * len(notes)
        progress(f"epoch {epoch + 1}/{recipe.epochs}", number + 1, len(batches))
    if not math.isfinite(total):
        raise ClinadaptError(
            f"the loss became {total} in epoch {epoch + 1}: lower learning_rate "
            f"(now {recipe.learning_rate}) or set precision to fp32"
        )
    return total / len(source.lengths)


def _mean_loss(validation: Validation, outputs: Tensor) -> float:
    source = validation.source
    total = 0.0
    for start in range(0, len(outputs), 256):
        notes = np.arange(start, min(start + 256, len(outputs)))
        rows = torch.from_numpy(notes)
        total += float(validation.objective(outputs[rows], rows, source.batch(notes)))
    return total / len(outputs)


def _schedule(step: int, steps: int, warmup: float) -> float:
    """Factor of the learning rate: up linearly, then down linearly to zero."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (steps - step) / max(1, steps - rising))


def _optimizer(
    named: list[tuple[str, nn.Parameter]], pretrained: Callable[[str], bool], recipe: Recipe
) -> torch.optim.AdamW:
    """AdamW with two rates; norms and biases are not decayed."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, weight in named:
        groups.setdefault((pretrained(name), weight.ndim >= 2), []).append(weight)
    return torch.optim.AdamW(
        [
            {
                "params": weights,
                "base_rate": recipe.encoder_learning_rate if old else recipe.learning_rate,
                "weight_decay": recipe.weight_decay if matrix else 0.0,
            }
            for (old, matrix), weights in groups.items()
        ],
        lr=recipe.learning_rate,
        fused=True,
    )


@contextmanager
def _autocast(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        yield


class _State:
    """Everything that a fit must remember between epochs."""

    def __init__(self, weights: dict[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
        self.weights = weights
        self.optimizer = optimizer
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Tensor] = {}
        self.best_rank = (-math.inf, -math.inf)
        self.stale = 0

    @property
    def epoch(self) -> int:
        return len(self.history)

    def finish_epoch(self, entry: dict[str, Any]) -> None:
        self.history.append(entry)
        if "validation_score" not in entry:
            return
        rank = (entry["validation_score"], -entry["validation_loss"])
        if rank > self.best_rank:
            self.best_rank, self.stale = rank, 0
            self.best = {name: w.detach().cpu().clone() for name, w in self.weights.items()}
        else:
            self.stale += 1

    def restore_best(self) -> None:
        with torch.no_grad():
            for name, tensor in self.best.items():
                self.weights[name].copy_(tensor)

    def save(self, path: Path) -> None:
        partial = path.with_suffix(".tmp")
        torch.save(
            {
                "weights": {name: w.detach() for name, w in self.weights.items()},
                "optimizer": self.optimizer.state_dict(),
                "history": self.history,
                "best": self.best,
                "best_rank": list(self.best_rank),
                "stale": self.stale,
            },
            partial,
        )
        os.replace(partial, path)

    def load(self, path: Path) -> None:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(saved["weights"][name])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.history = saved["history"]
        self.best = saved["best"]
        self.best_rank = (saved["best_rank"][0], saved["best_rank"][1])
        self.stale = saved["stale"]
