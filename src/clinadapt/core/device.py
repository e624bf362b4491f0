"""Describe this machine: device, precision, memory and library versions."""

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch

from clinadapt.core.errors import InputError

Precision = Literal["auto", "fp32", "bf16"]
VERSIONED = ("clinadapt", "torch", "transformers", "tokenizers", "peft", "scikit-learn", "polars")


def pick_device(name: str = "auto") -> torch.device:
    """Return the torch device with a given name; "auto" means CUDA if available, else the CPU.

    Raises
    ------
    InputError
        The device is not available on this machine.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError):
        raise InputError(
            f"device {name!r} is not available on this machine; use auto or cpu"
        ) from None
    return torch.device(name)


@cache
def has_fast_bf16(device_type: str) -> bool:
    """Return whether matrix products are faster in bf16 than in fp32 on this type of device."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device_type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))
    return False


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """Return the data type in which matrix products run."""
    fast = precision == "bf16" or (precision == "auto" and has_fast_bf16(device.type))
    return torch.bfloat16 if fast else torch.float32


@contextmanager
def autocast(device: torch.device, dtype: torch.dtype) -> Iterator[None]:
    """Run matrix products in a given data type within a `with` block."""
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16):
        yield


def environment() -> dict[str, Any]:
    """Return machine, versions, commit and start time, which every result records."""
    import psutil

    versions = {name: importlib.metadata.version(name) for name in VERSIONED}
    return {
        "machine": {
            "cpu": _cpu_name(),
            "cores": psutil.cpu_count(logical=False) or os.cpu_count(),
            "threads": torch.get_num_threads(),
            "memory_bytes": psutil.virtual_memory().total,
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "bf16": has_fast_bf16("cuda" if torch.cuda.is_available() else "cpu"),
        },
        "versions": {"python": platform.python_version(), **versions},
        "commit": _commit(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # not Linux
        pass
    return platform.processor() or platform.machine()


@cache
def _commit() -> str | None:
    """Return the commit of clinadapt's checkout, or None if it was installed from a package."""
    here = Path(__file__).resolve().parent
    if not any((parent / ".git").exists() for parent in here.parents[:3]):
        return None
    try:
        described = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None
