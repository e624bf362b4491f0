"""Context of a fit: where and how a model is fitted, as opposed to its settings."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

SESSION = "clinadapt-features-"
Progress = Callable[[str, int, int], None]
Finished = Callable[[dict[str, Any]], None]


def no_progress(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


@dataclass
class Ledger:
    """Record of what a fit spent on features and gave up for memory.

    Attributes
    ----------
    encode_seconds : float
        Seconds that computing the features took, including those reused from the cache.
    encoded, reused : int
        Number of sequences computed in this fit, and read from the cache.
    truncated_notes : int
        Number of notes longer than allowed, summed over all calls.
    backend : str, optional
        Name of the library that ran the frozen layers.
    memory_savings : list of str
        Measures taken to stay within the memory limit.
    """

    encode_seconds: float = 0.0
    encoded: int = 0
    reused: int = 0
    truncated_notes: int = 0
    backend: str | None = None
    memory_savings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Context:
    """Files, memory limit and callbacks of a fit.

    Attributes
    ----------
    cache : Path, optional
        Folder of cached features. They reflect patient text: keep it where the notes are kept.
    checkpoint : Path, optional
        File from which an interrupted fit resumes after its last complete epoch.
    memory : int, optional
        Bytes that the process (or the GPU) may use while training.
    progress : callable
        Called with the stage's name, the steps done and the total number of steps.
    ledger : Ledger
        Record that the fit fills in.
    """

    cache: Path | None = None
    checkpoint: Path | None = None
    memory: int | None = None
    progress: Progress = no_progress
    ledger: Ledger = field(default_factory=Ledger)


@cache
def session_cache() -> Path:
    """Return the folder of this process's cached features, which is deleted at exit."""
    # The name contains the process id, so that leftovers of killed processes can be recognised.
    folder = Path(tempfile.mkdtemp(prefix=f"{SESSION}{os.getpid()}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
