"""Conversion of pickled weights to safetensors, reading tensors only."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from clinadapt.core.atomic_files import atomic_path
from clinadapt.core.errors import InputError
from clinadapt.features.encoders.weight_files import (
    PICKLED,
    PICKLED_INDEX,
    WEIGHTS,
    has_safetensors,
    instead,
    listed,
    pieces_of,
)


def convert_to_safetensors(folder: Path) -> Path:
    """Write ``model.safetensors`` from a folder's pickled weights, reading tensors only.

    Parameters
    ----------
    folder : Path
        Folder with ``pytorch_model.bin``, or with its pieces and their index.

    Returns
    -------
    Path
        The new file.

    Raises
    ------
    InputError
        A file is missing, or contains more than tensors.
    """
    weights: dict[str, Tensor] = {}
    for source in _pickles(folder):
        weights |= dict(_tensors(source))
    # Tied weights are copied, because safetensors does not support shared memory.
    plain = {name: tensor.clone().contiguous() for name, tensor in weights.items()}
    target = folder / WEIGHTS
    # Readable like the file that it takes the place of: an encoder is no patient data.
    with atomic_path(target, source.stat().st_mode & 0o777) as partial:
        save_file(plain, partial, metadata={"format": "pt"})
    return target


def _pickles(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"no folder {folder}: expected one with {PICKLED}")
    if has_safetensors(folder):
        raise InputError(f"{folder} has safetensors weights already: nothing to convert")
    if (folder / PICKLED).is_file():
        return [folder / PICKLED]
    if not (folder / PICKLED_INDEX).is_file():
        raise InputError(f"no {PICKLED} in {folder}: nothing to convert. {instead(folder)}")
    pieces, missing = pieces_of(folder, PICKLED_INDEX)
    if missing:
        raise InputError(f"{folder}: {listed(missing)} of {PICKLED_INDEX} missing")
    return pieces


def _tensors(source: Path) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors of a pickle by name."""
    try:
        content: Any = torch.load(source, map_location="cpu", weights_only=True)
        entries = list(content.items())
    except Exception as error:  # a pickle that wants to run code, or a damaged file
        raise InputError(
            f"{source} could not be read as plain tensors ({type(error).__name__})"
        ) from None
    for name, tensor in entries:
        if isinstance(tensor, Tensor):
            yield name, tensor
