"""Measure what a run costs: seconds and peak memory."""

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
    """Measure the seconds spent in named stages.

    Attributes
    ----------
    seconds : dict of str to float
        Seconds by stage.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the duration of a `with` block to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            elapsed = time.perf_counter() - started
            self.seconds[name] = self.seconds.get(name, 0.0) + elapsed


def reset_peak_memory() -> int:
    """Start a new measurement of peak memory, where the system allows it.

    Freed memory is returned to the system first, so that the peak depends little on earlier work.

    Returns
    -------
    int
        Bytes of resident memory in use now.
    """
    give_back_freed()
    with suppress(OSError):
        (PROCESS / "clear_refs").write_text("5")  # Linux: resets the high-water mark
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    return held_bytes(torch.device("cpu"))


def peak_memory() -> dict[str, Any]:
    """Return the process's peak resident memory since the reset, and that of the GPU.

    Where the high-water mark cannot be reset (macOS, Windows), the peak counts from the start of
    the process, which ``peak_memory_since`` states.
    """
    peak: dict[str, Any] = {}
    try:
        for line in (PROCESS / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peak["peak_memory_bytes"] = int(line.split()[1]) * 1024
        peak["peak_memory_since"] = "run"
    except OSError:
        import resource

        unit = 1 if os.uname().sysname == "Darwin" else 1024
        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak |= {"peak_memory_bytes": usage * unit, "peak_memory_since": "process start"}
    if torch.cuda.is_available():
        peak["peak_gpu_memory_bytes"] = torch.cuda.max_memory_allocated()
    return peak


def folder_bytes(folder: Path) -> int:
    """Return the total size in bytes of all files under a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
