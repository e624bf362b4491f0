"""The one training loop: every network of every family goes through `train`.

All randomness of an epoch comes from its seed and number, through local generators. So a fit that
was killed and goes on from the last epoch's checkpoint ends with the very weights of one that was
not, and the caller's random state is left alone.
"""

import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clinadapt.core import old_names
from clinadapt.core.atomic_files import atomic_path
from clinadapt.core.device import autocast
from clinadapt.core.errors import ClinadaptError
from clinadapt.core.rng import local_randomness
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.neural.note_network import Batch
from clinadapt.neural.training.batch_sources import Source
from clinadapt.neural.training.length_batches import runs
from clinadapt.neural.training.losses import Objective
from clinadapt.neural.training.optimizer import Optimizer

# Notes are shuffled, then sorted by length within pools of this many batches: little padding,
# and still another order each epoch.
POOL_BATCHES = 50
NOTES_AT_ONCE = 256
BEST = ".best"


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
        Of new weights (adapter, head, from-scratch encoder).
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
    lean_optimizer : bool
        See `clinadapt.neural.training.optimizer.Optimizer`.
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
    lean_optimizer: bool = False
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
    optimizer = Optimizer(
        named,
        pretrained,
        recipe.learning_rate,
        recipe.encoder_learning_rate,
        recipe.weight_decay,
        recipe.lean_optimizer,
    )
    with tempfile.TemporaryDirectory(prefix="clinadapt-") as folder:
        state = _State(dict(named), optimizer, checkpoint or Path(folder) / "checkpoint.pt")
        if checkpoint is not None and checkpoint.is_file():
            state.load()
        while state.epoch < recipe.epochs and state.stale < recipe.patience:
            epoch = state.epoch
            with local_randomness(recipe.seed, epoch):
                loss = _one_epoch(
                    network, source, objective, recipe, device, optimizer, epoch, progress
                )
            entry: dict[str, Any] = {"epoch": epoch + 1, "loss": loss, **report()}
            if validation is not None:
                entry |= _judge(network, validation, recipe, device)
            state.finish_epoch(entry)
            if checkpoint is not None:
                state.save()
        state.restore_best()
    return state.history


def run(
    network: nn.Module,
    source: Source,
    device: torch.device,
    dtype: torch.dtype,
    max_batch_tokens: int = Recipe.max_batch_tokens,
    each: Callable[[NDArray[np.int64], Tensor, Batch], None] = lambda notes, output, batch: None,
) -> Tensor:
    """Outputs of a network for all notes of a source, in its order, fp32 on the CPU.

    Parameters
    ----------
    network : nn.Module
    source : Source
    device : torch.device
    dtype : torch.dtype
        Of matrix products.
    max_batch_tokens : int
        Padded tokens that go through the network at once.
    each : callable
        Called with the notes, the outputs and the batch of each micro-batch.

    Returns
    -------
    Tensor, shape [note, ...]
    """
    network.to(device).eval()
    order = np.argsort(source.lengths, kind="stable")
    outputs: list[Tensor] = []
    with torch.inference_mode(), autocast(device, dtype):
        for notes in runs(order, source.lengths, max_batch_tokens, NOTES_AT_ONCE):
            batch = source.batch(notes).to(device)
            output, _ = network(batch)
            each(notes, output, batch)
            outputs.append(output.float().cpu())
    joined = torch.cat(outputs)
    result = torch.empty_like(joined)
    result[torch.from_numpy(order)] = joined
    return result


def _judge(
    network: nn.Module, validation: Validation, recipe: Recipe, device: torch.device
) -> dict[str, float]:
    """Loss and score on validation notes, in one pass."""
    total = 0.0

    def add(notes: NDArray[np.int64], output: Tensor, batch: Batch) -> None:
        nonlocal total
        total += float(validation.objective(output, torch.from_numpy(notes), batch))

    source = validation.source
    outputs = run(network, source, device, recipe.dtype, recipe.max_batch_tokens, add)
    return {
        "validation_loss": total / len(outputs),
        "validation_score": validation.score(outputs),
    }


def forget(checkpoint: Path) -> None:
    """Delete what `train` keeps at a checkpoint's path."""
    checkpoint.unlink(missing_ok=True)
    checkpoint.with_suffix(BEST).unlink(missing_ok=True)


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


def _one_epoch(
    network: nn.Module,
    source: Source,
    objective: Objective,
    recipe: Recipe,
    device: torch.device,
    optimizer: Optimizer,
    epoch: int,
    progress: Progress,
) -> float:
    network.train()
    batches = epoch_batches(source.lengths, recipe.batch_size, recipe.seed, epoch)
    steps = recipe.epochs * len(batches)

    def loss_of(part: NDArray[np.int64], size: int) -> Tensor:
        batch = source.batch(part).to(device)
        with autocast(device, recipe.dtype):
            output, auxiliary_loss = network(batch)
        loss = objective(output, torch.from_numpy(part), batch) / size
        return loss + auxiliary_loss * (len(part) / size)

    total = 0.0
    for number, notes in enumerate(batches):
        optimizer.zero_grad()
        step_loss = 0.0
        for part in runs(notes, source.lengths, recipe.max_batch_tokens):
            loss = loss_of(part, len(notes))
            loss.backward()  # type: ignore[no-untyped-call]
            step_loss += float(loss.detach())
        done = epoch * len(batches) + number
        optimizer.step(_schedule(done, steps, recipe.warmup), recipe.clip)
        total += step_loss * len(notes)
        progress(f"epoch {epoch + 1}/{recipe.epochs}", number + 1, len(batches))
    if not math.isfinite(total):
        raise ClinadaptError(
            f"the loss became {total} in epoch {epoch + 1}: lower learning_rate "
            f"(now {recipe.learning_rate}) or set precision to fp32"
        )
    return total / len(source.lengths)


def _schedule(step: int, steps: int, warmup: float) -> float:
    """Factor of the learning rate: up linearly, then down linearly to zero."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (steps - step) / max(1, steps - rising))


class _State:
    """Everything that a fit must remember between epochs; the best weights are on disk."""

    def __init__(self, weights: dict[str, nn.Parameter], optimizer: Optimizer, path: Path) -> None:
        self.weights = weights
        self.optimizer = optimizer
        self.path = path
        self.best = path.with_suffix(BEST)
        self.history: list[dict[str, Any]] = []
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
        if rank <= self.best_rank:
            self.stale += 1
            return
        self.best_rank, self.stale = rank, 0
        # Before the checkpoint that tells of it. After a kill between the two, the epoch is run
        # again and writes the same.
        with atomic_path(self.best) as partial:
            torch.save({name: w.detach() for name, w in self.weights.items()}, partial)

    def restore_best(self) -> None:
        if self.best_rank[0] == -math.inf:
            return
        self.optimizer.zero_grad()  # room for the weights that are read
        saved = _by_todays_names(
            torch.load(self.best, map_location="cpu", weights_only=True, mmap=True)
        )
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(saved[name])

    def save(self) -> None:
        state = {
            "weights": {name: w.detach() for name, w in self.weights.items()},
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "best_rank": list(self.best_rank),
            "stale": self.stale,
        }
        with atomic_path(self.path) as partial:
            torch.save(state, partial)

    def load(self) -> None:
        saved = torch.load(self.path, map_location="cpu", weights_only=True, mmap=True)
        kept = _by_todays_names(saved["weights"])
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(kept[name])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.history = saved["history"]
        self.best_rank = (saved["best_rank"][0], saved["best_rank"][1])
        self.stale = saved["stale"]


def _by_todays_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of a checkpoint, which a fit of version 0.1 may have left."""
    return {old_names.weight(name): tensor for name, tensor in weights.items()}
