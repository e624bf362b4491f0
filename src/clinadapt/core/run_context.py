"""Where and how a model is fitted, as opposed to which model it is (its settings)."""

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
    """Say nothing."""


@dataclass
class Ledger:
    """What was spent on cached features.

    Attributes
    ----------
    encode_seconds : float
        What the features in use took to compute, whoever computed them first.
    encoded, reused : int
        Sequences computed here, and found in the cache.
    truncated_notes : int
        Notes longer than allowed, summed over all calls.
    backend : str, optional
        Who ran the frozen layers.
    memory_savings : list of str
        What was given up to stay within the memory limit.
    """

    encode_seconds: float = 0.0
    encoded: int = 0
    reused: int = 0
    truncated_notes: int = 0
    backend: str | None = None
    memory_savings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Context:
    """Where a fit keeps its things and whom it tells how far it is.

    Attributes
    ----------
    cache : Path, optional
        Folder of cached features. They reflect patient text: keep it where the notes are kept.
    checkpoint : Path, optional
        File that lets a killed fit go on from its last epoch.
    memory : int, optional
        Bytes that the process (or the GPU) may hold while training.
    progress : callable
        Called with a stage's name, steps done and steps in all.
    ledger : Ledger
    """

    cache: Path | None = None
    checkpoint: Path | None = None
    memory: int | None = None
    progress: Progress = no_progress
    ledger: Ledger = field(default_factory=Ledger)


@cache
def session_cache() -> Path:
    """Folder of cached features of this process, deleted when it ends."""
    # Whose it is stands in the name: what a killed process left can be told from what is in use.
    folder = Path(tempfile.mkdtemp(prefix=f"{SESSION}{os.getpid()}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
