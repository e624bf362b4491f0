"""Training for a given number of minutes, with resumption if it is killed.

A few steps are timed first, and the available time is converted into a number of steps, so that
the schedule depends only on the step. What a step reads and masks depends on the seed and the
step, so that a training that was killed and resumed reaches the same losses.
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from clinadapt.core.checkpoint_files import read_checkpoint, write_checkpoint
from clinadapt.core.device import compute_dtype, pick_device
from clinadapt.core.rng import local_randomness
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.pretraining.mixed_precision import MasterWeights

Sequences = NDArray[np.uint16 | np.uint32]
WARM_UP = 0.06
PROBED_STEPS = 4
LOOKS = 20  # evaluations on held-out sequences in a training
HELD_OUT_SEQUENCES = 256
CHECKPOINT_SECONDS = 60.0
HELD_OUT_SEED = 2**40  # no step has this number


@dataclass(frozen=True)
class PretrainingRecipe:
    """Hyperparameters of a pre-training.

    Attributes
    ----------
    batch_tokens : int
        Number of tokens of a step.
    learning_rate : float
        Maximum; the rate rises over the first 6 % of the steps and falls to zero at the end.
    weight_decay : float
    seed : int
    device : str
    """

    batch_tokens: int = 4096
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    seed: int = 0
    device: str = "auto"


class Trainer:
    """Training of an objective on packed sequences.

    Parameters
    ----------
    objective : torch.nn.Module
        From ids [sequence, token] and a generator to a dict with ``loss`` and, outside training,
        ``accuracy``.
    train, held_out : ndarray [sequence, token]
    recipe : PretrainingRecipe
    folder : Path
        Folder of the checkpoint, the plan and the log.
    progress : callable
    """

    def __init__(
        self,
        objective: nn.Module,
        train: Sequences,
        held_out: Sequences,
        recipe: PretrainingRecipe,
        folder: Path,
        progress: Progress = no_progress,
    ) -> None:
        self.objective, self.recipe, self.folder, self.progress = (
            objective,
            recipe,
            folder,
            progress,
        )
        self.train, self.held_out = train, held_out[:HELD_OUT_SEQUENCES]
        self.device = pick_device(recipe.device)
        self.objective.to(self.device)
        self.masters = MasterWeights(objective)  # before the weights are rounded
        self.objective.to(compute_dtype("auto", self.device))
        self.optimizer = torch.optim.AdamW(
            _groups(self.masters.copies, recipe.weight_decay),
            lr=recipe.learning_rate,
            betas=(0.9, 0.98),
        )
        self.sequences = max(1, recipe.batch_tokens // train.shape[1])

    # ------------------------------------------------------------------ the run

    def run(self, minutes: float, steps: int | None = None) -> dict[str, Any]:
        """Train for about a number of minutes, or for a number of steps.

        Parameters
        ----------
        minutes : float
            Training time on this machine, including that of an earlier run that was killed.
        steps : int, optional
            Number of steps, instead of `minutes`.

        Returns
        -------
        dict
            Steps, tokens, seconds, tokens per second, and the last held-out loss and accuracy.
        """
        self.objective.train()  # a model from disk is in evaluation mode
        total = self._planned(minutes, steps)
        step, seconds = self._restore()
        every = max(1, total // LOOKS)
        started = saved = time.perf_counter()
        while step < total:
            losses = self._step(step, total)
            step += 1
            self.progress("pretraining", step, total)
            now = time.perf_counter()
            if step % every == 0 or step == total:
                self._log(step, total, seconds + now - started, losses)
            if now - saved > CHECKPOINT_SECONDS or step == total:
                self._save(step, seconds + time.perf_counter() - started)
                saved = time.perf_counter()
        return {**self.log()[-1], "steps": total, "recipe": asdict(self.recipe)}

    def _step(self, step: int, total: int) -> dict[str, float]:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate * share_of_rate(step, total)
        ids = self._batch(step)
        with local_randomness(self.recipe.seed, step):  # for dropout
            measures = self.objective(ids, self._generator(step))
            measures["loss"].backward()
        self.masters.take_gradients()
        nn.utils.clip_grad_norm_(self.masters.copies, 1.0)
        self.optimizer.step()
        self.masters.give()
        return {name: float(value.detach()) for name, value in measures.items()}

    def _batch(self, step: int) -> torch.Tensor:
        """Return the token ids of a step; every sequence is read once before any is repeated."""
        start, count = step * self.sequences, len(self.train)
        rows = [
            self._order((start + at) // count)[(start + at) % count] for at in range(self.sequences)
        ]
        ids = self.train[np.sort(np.array(rows))].astype(np.int64)
        return torch.from_numpy(ids).to(self.device)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        if getattr(self, "_epoch", None) != epoch:
            self._epoch = epoch
            generator = np.random.default_rng([self.recipe.seed, epoch])
            self._shuffled = generator.permutation(len(self.train))
        return self._shuffled

    def _generator(self, step: int) -> torch.Generator:
        seed = np.random.SeedSequence([self.recipe.seed, step]).generate_state(1, np.uint64)[0]
        return torch.Generator(self.device).manual_seed(int(seed) % 2**63)

    @torch.no_grad()
    def look(self) -> dict[str, float]:
        """Return loss and accuracy on held-out sequences, masked the same each time."""
        self.objective.eval()
        losses, weights = [], []
        for number, rows in enumerate(_chunks(len(self.held_out), self.sequences)):
            ids = torch.from_numpy(self.held_out[rows].astype(np.int64)).to(self.device)
            measures = self.objective(ids, self._generator(HELD_OUT_SEED + number))
            losses.append([float(measures["loss"]), float(measures["accuracy"])])
            weights.append(len(ids))
        self.objective.train()
        if not losses:
            return {"held_out_loss": float("nan"), "held_out_accuracy": float("nan")}
        loss, accuracy = np.average(losses, axis=0, weights=weights).tolist()
        return {"held_out_loss": loss, "held_out_accuracy": accuracy}

    # ------------------------------------------------------------------ files

    def _planned(self, minutes: float, steps: int | None) -> int:
        """Return the number of steps, decided once so that a resumed run keeps its schedule."""
        path = self.folder / "plan.json"
        if path.is_file():
            return int(json.loads(path.read_text(encoding="utf-8"))["steps"])
        if steps is None:
            steps = max(1, int(60 * minutes / self._seconds_a_step()))
        path.write_text(json.dumps({"steps": steps}), encoding="utf-8")
        return steps

    def _seconds_a_step(self) -> float:
        """Measure the time of a step by running some and restoring the weights afterwards."""
        kept = [copy.clone() for copy in self.masters.copies]
        times = []
        for step in range(PROBED_STEPS):
            started = time.perf_counter()
            self._step(step, PROBED_STEPS)
            times.append(time.perf_counter() - started)
        self.masters.load(kept)
        self.optimizer.state.clear()
        return float(np.median(times[1:]))

    def _save(self, step: int, seconds: float) -> None:
        state = {
            "step": step,
            "seconds": seconds,
            "weights": self.masters.copies,
            "optimizer": self.optimizer.state_dict(),
        }
        write_checkpoint(self.folder / "checkpoint.pt", state)

    def _restore(self) -> tuple[int, float]:
        state = read_checkpoint(self.folder / "checkpoint.pt", self.device)
        if state is None:
            (self.folder / "log.jsonl").unlink(missing_ok=True)
            return 0, 0.0
        self.masters.load(state["weights"])
        self.optimizer.load_state_dict(state["optimizer"])
        kept = [entry for entry in self.log() if entry["step"] <= state["step"]]
        lines = "".join(json.dumps(entry) + "\n" for entry in kept)
        (self.folder / "log.jsonl").write_text(lines, encoding="utf-8")
        return state["step"], state["seconds"]

    def _log(self, step: int, total: int, seconds: float, losses: dict[str, float]) -> None:
        tokens = step * self.sequences * self.train.shape[1]
        entry = {
            "step": step,
            "tokens": tokens,
            "seconds": round(seconds, 3),
            "tokens_per_second": round(tokens / seconds) if seconds else 0,
            "learning_rate": self.recipe.learning_rate * share_of_rate(step - 1, total),
            **losses,
            **self.look(),
        }
        with (self.folder / "log.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")

    def log(self) -> list[dict[str, Any]]:
        """Return the log so far: losses and speed at regular steps."""
        path = self.folder / "log.jsonl"
        if not path.is_file():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def share_of_rate(step: int, total: int) -> float:
    """Return the learning rate of a step relative to the maximum: a rise, then half a cosine."""
    warm = max(1, round(WARM_UP * total))
    if step < warm:
        return (step + 1) / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))


def _groups(weights: list[torch.Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """Return parameter groups: weight decay for matrices, none for norms and biases."""
    return [
        {"params": [w for w in weights if w.ndim > 1], "weight_decay": weight_decay},
        {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
    ]


def _chunks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))
