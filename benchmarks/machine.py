"""Measures the current speed of the machine: matrix products in bf16 and fp32, and copies."""

import os
import time
from collections.abc import Callable
from typing import Any

import torch

# Rows of a batch of notes times the feed-forward matrix of a base-size encoder.
ROWS, INNER, COLUMNS = 2048, 768, 3072
COPIED_BYTES = 2**28
SECONDS = 1.0


def measure() -> dict[str, Any]:
    """Return the rates of the device that contestants use, and the load of the machine.

    Returns
    -------
    dict
        ``bf16_flops``, ``fp32_flops`` [1/s], ``copy_bytes`` [1/s, bytes read and written],
        ``load``: mean number of runnable processes in the last minute.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    flops = 2 * ROWS * INNER * COLUMNS
    rates: dict[str, Any] = {"load": os.getloadavg()[0]}
    for name, dtype in (("bf16_flops", torch.bfloat16), ("fp32_flops", torch.float32)):
        left = torch.randn(ROWS, INNER, device=device, dtype=dtype)
        right = torch.randn(INNER, COLUMNS, device=device, dtype=dtype)
        out = torch.empty(ROWS, COLUMNS, device=device, dtype=dtype)
        rates[name] = flops / _shortest(lambda a=left, b=right, o=out: torch.mm(a, b, out=o))
    source = torch.ones(COPIED_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    rates["copy_bytes"] = 2 * COPIED_BYTES / _shortest(lambda: target.copy_(source))
    return rates


def _shortest(action: Callable[[], Any]) -> float:
    """Return the shortest time of an action, repeated for about a second."""
    best, end = float("inf"), time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        started = time.perf_counter()
        action()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return best
