"""Training loop of all networks.

All randomness of an epoch depends only on the seed and the epoch's number, through local
generators. A fit that is resumed from the last epoch's checkpoint therefore ends with exactly the
same weights as an uninterrupted one, and the caller's random state is not changed.
"""

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clinadapt.core import old_names
from clinadapt.core.checkpoint_files import read_checkpoint, write_checkpoint
from clinadapt.core.device import autocast
from clinadapt.core.errors import ClinadaptError, MachineError
from clinadapt.core.rng import local_randomness
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.neural.note_network import Batch
from clinadapt.neural.training.batch_sources import BatchSource
from clinadapt.neural.training.length_batches import runs
from clinadapt.neural.training.losses import Objective
from clinadapt.neural.training.optimizer import Optimizer
from clinadapt.neural.training.recipe import Recipe

# Notes are shuffled, then sorted by length within pools of this many batches. This keeps padding
# low and the order different in each epoch.
POOL_BATCHES = 50
NOTES_AT_ONCE = 256
BEST = ".best"


@dataclass(frozen=True)
class Validation:
    """Notes and scores for the evaluation after each epoch.

    Attributes
    ----------
    source : BatchSource
        Validation notes.
    objective : Objective
        Validation loss, which breaks ties of the score.
    score : callable
        Function from outputs [note, ...] to a score; higher is better.
    """

    source: BatchSource
    objective: Objective
    score: Callable[[Tensor], float]


def train(
    network: nn.Module,
    source: BatchSource,
    objective: Objective,
    recipe: Recipe,
    device: torch.device,
    validation: Validation | None = None,
    pretrained: Callable[[str], bool] = lambda name: False,
    checkpoint: Path | None = None,
    progress: Progress = no_progress,
    report: Callable[[], dict[str, Any]] = dict,
) -> list[dict[str, Any]]:
    """Train a network in place and keep the weights of its best epoch.

    Parameters
    ----------
    network : nn.Module
        Network from a `Batch` to ``(output [note, ...], auxiliary_loss)``.
    source : BatchSource
        Training notes.
    objective : Objective
    recipe : Recipe
    device : torch.device
    validation : Validation, optional
        Evaluation after each epoch. Without it there is no early stopping and the last epoch's
        weights are kept.
    pretrained : callable
        Function that returns True for the names of weights with the encoder's learning rate.
    checkpoint : Path, optional
        File that is written after every epoch, and read at the start if it exists.
    progress : callable
        Called after each step.
    report : callable
        Called after each epoch; returns further entries of the history.

    Returns
    -------
    list of dict
        History with one entry per epoch: ``epoch``, ``loss``, ``validation_loss``,
        ``validation_score`` and the entries from `report`.

    Raises
    ------
    ClinadaptError
        The loss is no longer finite.
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
        if checkpoint is not None:
            state.load()
        last = min(recipe.epochs, recipe.stop_after or recipe.epochs)
        while state.epoch < last and state.stale < recipe.patience:
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
    source: BatchSource,
    device: torch.device,
    dtype: torch.dtype,
    max_batch_tokens: int = Recipe.max_batch_tokens,
    each: Callable[[NDArray[np.int64], Tensor, Batch], None] = lambda notes, output, batch: None,
) -> Tensor:
    """Return the outputs of a network for all notes of a source.

    Parameters
    ----------
    network : nn.Module
    source : BatchSource
    device : torch.device
    dtype : torch.dtype
        Data type of matrix products.
    max_batch_tokens : int
        Tokens per micro-batch, padding included.
    each : callable
        Called with the notes, the outputs and the batch of each micro-batch.

    Returns
    -------
    Tensor, shape [note, ...]
        Outputs in the order of the source, fp32 on the CPU.
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
    """Return the loss and score on the validation notes, in one pass."""
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


def _rank(entry: Mapping[str, Any]) -> tuple[float, float]:
    return entry["validation_score"], -entry["validation_loss"]


def best_epoch(history: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of the epoch whose weights `train` keeps, from 1; 0 if there is none."""
    if not history or "validation_score" not in history[0]:
        return len(history)
    return 1 + max(range(len(history)), key=lambda epoch: _rank(history[epoch]))


def forget(checkpoint: Path) -> None:
    """Delete the files that `train` keeps for a checkpoint."""
    checkpoint.unlink(missing_ok=True)
    checkpoint.with_suffix(BEST).unlink(missing_ok=True)


def epoch_batches(
    lengths: NDArray[np.int64], batch_size: int, seed: int, epoch: int
) -> list[NDArray[np.int64]]:
    """Return the notes of each batch of an epoch, shuffled, with similar lengths within a batch."""
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
    source: BatchSource,
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
            f"(currently {recipe.learning_rate}) or set precision to fp32"
        )
    return total / len(source.lengths)


def _schedule(step: int, steps: int, warmup: float) -> float:
    """Return the factor of the learning rate, which rises linearly, then falls linearly to zero."""
    rising = max(1, round(warmup * steps))
    if step < rising:
        return (step + 1) / rising
    return max(0.0, (steps - step) / max(1, steps - rising))


class _State:
    """State of a fit between epochs; the best weights are stored on disk."""

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
        rank = _rank(entry)
        if rank <= self.best_rank:
            self.stale += 1
            return
        self.best_rank, self.stale = rank, 0
        # Written before the checkpoint that refers to it. If the process is killed in between, the
        # epoch runs again and writes the same weights.
        write_checkpoint(self.best, {name: w.detach() for name, w in self.weights.items()})

    def restore_best(self) -> None:
        if self.best_rank[0] == -math.inf:
            return
        self.optimizer.zero_grad()  # frees memory for the weights that are read
        saved = read_checkpoint(self.best)
        if saved is None:
            raise MachineError(
                f"{self.best} was lost or damaged while a model was trained. Give the same command "
                "again: what was finished is kept"
            )
        self._take(_by_current_names(saved))

    def save(self) -> None:
        state = {
            "weights": {name: w.detach() for name, w in self.weights.items()},
            "optimizer": self.optimizer.state_dict(),
            "history": self.history,
            "best_rank": list(self.best_rank),
            "stale": self.stale,
        }
        write_checkpoint(self.path, state)

    def load(self) -> None:
        """Go on from the checkpoint, or from the start if it is absent, damaged or does not fit."""
        saved = read_checkpoint(self.path)
        if saved is None or not self._fits(saved):
            forget(self.path)
            return
        self._take(_by_current_names(saved["weights"]))
        self.optimizer.load_state_dict(saved["optimizer"])
        self.history = saved["history"]
        self.best_rank = (saved["best_rank"][0], saved["best_rank"][1])
        self.stale = saved["stale"]

    def _fits(self, saved: Mapping[str, Any]) -> bool:
        """Return whether a checkpoint is of this network and optimiser, and its best epoch kept."""
        if not {"weights", "optimizer", "history", "best_rank", "stale"} <= saved.keys():
            return False
        weights = _by_current_names(saved["weights"])
        if {name: w.shape for name, w in weights.items()} != {
            name: w.shape for name, w in self.weights.items()
        }:
            return False
        # With another memory limit, the optimiser may be another one.
        kept, own = saved["optimizer"], self.optimizer.state_dict()
        if kept.keys() != own.keys() or len(kept["adamw"]) != len(own["adamw"]):
            return False
        return saved["best_rank"][0] == -math.inf or read_checkpoint(self.best) is not None

    def _take(self, weights: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, weight in self.weights.items():
                weight.copy_(weights[name])


def _by_current_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of a checkpoint, which version 0.1 may have written, by current names."""
    return {old_names.weight(name): tensor for name, tensor in weights.items()}
