"""What every contestant does alike: read the task, take the times, write the results.

Imported by scripts in environments of which none has the same libraries: only NumPy and polars
may be needed here. ``TASK/spec.json`` lists the runs; ``TASK/result.json`` and
``TASK/probabilities-N.npy`` are what they leave.
"""

import importlib.metadata
import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

PROCESS = Path("/proc/self")


class Task:
    """Notes and encoder that all contestants of a part get.

    Attributes
    ----------
    folder : Path
        Of this contestant alone.
    encoder : Path
        Folder of the pretrained encoder.
    max_tokens, classes : int
    """

    def __init__(self, folder: Path) -> None:
        spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
        self.folder = folder
        self.encoder = Path(spec["encoder"])
        self.max_tokens: int = spec["max_tokens"]
        self.classes: int = spec["classes"]
        self.runs: list[dict[str, Any]] = spec["runs"]
        self._notes = pl.read_parquet(spec["notes"])

    def texts(self, part: str) -> list[str]:
        """Notes of "train", "validation" or "test"."""
        return self._notes.filter(pl.col("part") == part)["text"].to_list()

    def labels(self, part: str) -> NDArray[np.int64]:
        """Class codes [note] of a part."""
        return self._notes.filter(pl.col("part") == part)["label"].to_numpy()


class Clock:
    """Seconds since a run began.

    Attributes
    ----------
    marks : list of float
        Ends of the units (epochs; steps where an epoch is too long). From one mark to the next
        is one complete unit, validation included.
    trained : float
        When training was over and prediction of the test notes began.
    """

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.marks: list[float] = []
        self.trained = 0.0

    @property
    def now(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._started

    def mark(self) -> None:
        """A unit ended."""
        self.marks.append(self.now)

    def training_ended(self) -> None:
        """Training ended."""
        self.trained = self.now


Run = Callable[[Task, dict[str, Any], Clock], dict[str, Any]]


def main(run: Run, packages: Sequence[str]) -> None:
    """Do the runs of the task named on the command line.

    Parameters
    ----------
    run : callable
        Does one run, given the task, the run's options and a clock. It returns
        ``probabilities`` of the test notes [note, class] (where there are any), ``planned``, the
        units of a complete run, and whatever else is worth keeping.
    packages : sequence of str
        Whose versions the results name.
    """
    task = Task(Path(sys.argv[1]))
    results = []
    for number, options in enumerate(task.runs):
        _reset_peak_memory()
        clock = Clock()
        try:
            if "gpu_memory_bytes" in options:
                _cap_gpu_memory(options["gpu_memory_bytes"])
            found = run(task, options, clock)
        except Exception as error:
            traceback.print_exc()
            results.append({"failed": type(error).__name__})
            continue
        seconds = clock.now
        probabilities = found.pop("probabilities", None)
        if probabilities is not None:
            np.save(task.folder / f"probabilities-{number}.npy", np.asarray(probabilities))
        results.append(
            {
                "seconds": seconds,
                "marks": clock.marks,
                "evaluate_seconds": seconds - clock.trained if clock.trained else None,
                **_peak_memory(),
                **found,
            }
        )
    versions = {name: importlib.metadata.version(name) for name in packages}
    content = {"runs": results, "versions": {"python": sys.version.split()[0], **versions}}
    (task.folder / "result.json").write_text(json.dumps(content), encoding="utf-8")


def softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Probabilities [note, class] of scores [note, class]."""
    powers = np.exp(scores - scores.max(axis=1, keepdims=True), dtype=np.float64)
    return powers / powers.sum(axis=1, keepdims=True)


def _reset_peak_memory() -> None:
    (PROCESS / "clear_refs").write_text("5")
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _cap_gpu_memory(size: int) -> None:
    import torch

    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(size / total)


def _peak_memory() -> dict[str, int]:
    status = (PROCESS / "status").read_text().splitlines()
    peak = next(line for line in status if line.startswith("VmHWM:"))
    found = {"peak_memory_bytes": int(peak.split()[1]) * 1024}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        found["peak_gpu_memory_bytes"] = torch.cuda.max_memory_reserved()
    return found
