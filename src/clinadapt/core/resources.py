"""What a run cost: seconds, and the largest memory that the process held meanwhile."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from clinadapt.core.process_memory import give_back_freed, held_bytes

PROCESS = Path("/proc/self")


class Stopwatch:
    """Seconds spent in named stages.

    Attributes
    ----------
    seconds : dict of str to float
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a `with` block to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            passed = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + passed


def reset_peak_memory() -> int:
    """Begin a new peak: the next `peak_memory` counts from here, where the system allows it.

    What was freed is given back to the system first, so that a peak depends little on what ran
    before.

    Returns
    -------
    int
        Bytes of resident memory that are held now.
    """
    give_back_freed()
    with suppress(OSError):
        (PROCESS / "clear_refs").write_text("5")  # Linux: resets the high-water mark
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    return held_bytes(torch.device("cpu"))


def peak_memory() -> dict[str, Any]:
    """Peak of resident memory since the reset, of the whole process, and of the GPU's.

    Where the high-water mark cannot be reset (macOS, Windows) it is the process's since its
    start, and ``peak_memory_since`` says so.
    """
    found: dict[str, Any] = {}
    try:
        for line in (PROCESS / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                found["peak_memory_bytes"] = int(line.split()[1]) * 1024
        found["peak_memory_since"] = "run"
    except OSError:
        import resource

        unit = 1 if os.uname().sysname == "Darwin" else 1024
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        found |= {"peak_memory_bytes": usage * unit, "peak_memory_since": "process start"}
    if torch.cuda.is_available():
        found["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated()
    return found


def folder_bytes(folder: Path) -> int:
    """Bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
