"""Common code of all contestants: reads the task, measures times, writes the results.

Scripts import it in environments with different libraries, so it may only need NumPy and polars.
``TASK/spec.json`` lists the runs; the results are ``TASK/result.json`` and
``TASK/probabilities-N.npy``.
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
    """Notes and encoder of a part, the same for all contestants.

    Attributes
    ----------
    folder : Path
        Working folder of this contestant.
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
        """Return the texts of "train", "validation" or "test"."""
        return self._notes.filter(pl.col("part") == part)["text"].to_list()

    def labels(self, part: str) -> NDArray[np.int64]:
        """Return the class codes of a part, shape [note]."""
        return self._notes.filter(pl.col("part") == part)["label"].to_numpy()


class Clock:
    """Times of a run, in seconds since its start.

    Attributes
    ----------
    marks : list of float
        Ends of the units: epochs, or steps if an epoch is too long. The time between two marks is
        one complete unit, validation included.
    trained : float
        End of training and start of the prediction of the test notes.
    """

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self.marks: list[float] = []
        self.trained = 0.0

    @property
    def now(self) -> float:
        """Current time."""
        return time.perf_counter() - self._started

    def mark(self) -> None:
        """Record the end of a unit."""
        self.marks.append(self.now)

    def training_ended(self) -> None:
        """Record the end of training."""
        self.trained = self.now


Run = Callable[[Task, dict[str, Any], Clock], dict[str, Any]]


def main(run: Run, packages: Sequence[str]) -> None:
    """Run the task given on the command line.

    Parameters
    ----------
    run : callable
        Executes one run, given the task, the options and a clock. Returns ``planned``, the number
        of units of a complete run, ``probabilities`` of the test notes (shape [note, class]) if
        there are any, and further values to record.
    packages : sequence of str
        Packages whose versions are recorded.
    """
    task = Task(Path(sys.argv[1]))
    results = []
    for number, options in enumerate(task.runs):
        _reset_peak_memory()
        clock = Clock()
        try:
            if "gpu_memory_bytes" in options:
                _cap_gpu_memory(options["gpu_memory_bytes"])
            values = run(task, options, clock)
        except Exception as error:
            traceback.print_exc()
            results.append({"failed": type(error).__name__})
            continue
        seconds = clock.now
        probabilities = values.pop("probabilities", None)
        if probabilities is not None:
            np.save(task.folder / f"probabilities-{number}.npy", np.asarray(probabilities))
        results.append(
            {
                "seconds": seconds,
                "marks": clock.marks,
                "evaluate_seconds": seconds - clock.trained if clock.trained else None,
                **_peak_memory(),
                **values,
            }
        )
    versions = {name: importlib.metadata.version(name) for name in packages}
    content = {"runs": results, "versions": {"python": sys.version.split()[0], **versions}}
    (task.folder / "result.json").write_text(json.dumps(content), encoding="utf-8")


def softmax(scores: NDArray[Any]) -> NDArray[np.float64]:
    """Return the softmax over the classes of scores, shape [note, class]."""
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
    peaks = {"peak_memory_bytes": int(peak.split()[1]) * 1024}
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        peaks["peak_gpu_memory_bytes"] = torch.cuda.max_memory_reserved()
    return peaks
