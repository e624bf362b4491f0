"""Checkpoints: files of tensors from which an interrupted training goes on."""

import zipfile
from pathlib import Path
from typing import Any

import torch

from clinadapt.core.atomic_files import atomic_path
from clinadapt.core.machine_faults import machine_error


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    with atomic_path(path) as partial:
        torch.save(state, partial)


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any] | None:
    """Return the content of a checkpoint; None if it is absent or damaged.

    The checksums of all its tensors are compared, which torch does not do.
    """
    if not path.is_file():
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return None
        content = torch.load(path, map_location=device, weights_only=True, mmap=True)
    except Exception as error:  # damage shows in many kinds
        if machine_error(error) is not None:
            raise
        return None
    return content if isinstance(content, dict) else None
