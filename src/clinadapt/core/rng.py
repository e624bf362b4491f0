"""Seed randomness locally, within a `with` block."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

SEED_SPACE = 2**63


@contextmanager
def local_randomness(seed: int, stream: int) -> Iterator[None]:
    """Seed torch's global generator within a `with` block, and restore its state afterwards."""
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        mixed = np.random.SeedSequence([seed, stream]).generate_state(1, np.uint64)[0]
        torch.manual_seed(int(mixed) % SEED_SPACE)
        yield
