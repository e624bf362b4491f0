"""Read JSON and tensor files from untrusted sources, with checks before any use.

Nothing that is read is executed. Sizes and shapes are checked before memory is allocated. torch is
needed, and loaded, only to read weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from clinadapt.core import old_names
from clinadapt.core.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

HEADER_BYTES = 2**24  # enough for some hundred thousand tensors
SHOWN = 3
FLOATS = ("F64", "F32", "F16", "BF16")
WHOLE = ("I64", "I32", "I16", "I8", "U8", "BOOL")  # for masks and positions in older encoders

Headers = dict[str, tuple[str, tuple[int, ...]]]


def read_json(path: Path, most_bytes: int) -> Any:
    """Read a JSON file.

    Parameters
    ----------
    path : Path
    most_bytes : int
        Largest size of a file that is opened.

    Raises
    ------
    InputError
        The file is too large, nested too deeply, not JSON, or has numbers that are not finite.
    """
    size = path.stat().st_size
    if size > most_bytes:
        raise InputError(f"{path.name}: expected at most {most_bytes:,} bytes, got {size:,}")
    try:
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_not_finite)
    except RecursionError:
        raise InputError(f"{path.name}: nested too deeply") from None
    except ValueError as error:
        raise InputError(f"{path.name}: not JSON ({type(error).__name__})") from None


def _not_finite(name: str) -> NoReturn:
    raise ValueError(name)


def headers(path: Path) -> Headers:
    """Return the type and shape of every tensor of a safetensors file, without reading tensors.

    Raises
    ------
    InputError
        The header is too large or does not match the content of the file.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > HEADER_BYTES:
        raise InputError(
            f"{path.name}: expected a header of at most {HEADER_BYTES:,} bytes, got {length:,}"
        )
    try:
        with safe_open(path, framework="np") as tensors:
            parts = {name: tensors.get_slice(name) for name in tensors.keys()}  # noqa: SIM118
            return {
                name: (part.get_dtype(), tuple(part.get_shape())) for name, part in parts.items()
            }
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path.name}: not a complete safetensors file ({error})") from None


def read_arrays(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
    """Read a file that must contain exactly the named arrays, as floats.

    Parameters
    ----------
    path : Path
    shapes : mapping of str to tuple of int
        Expected shape of each array.

    Raises
    ------
    InputError
        The names, shapes or types differ from those expected.
    """
    _compare(path, dict(shapes), headers(path))
    with safe_open(path, framework="np") as tensors:
        return {name: tensors.get_tensor(name) for name in shapes}


def require(
    network: nn.Module,
    path: Path,
    needed: set[str] | None = None,
    further: Mapping[str, tuple[int, ...]] | None = None,
) -> None:
    """Raise unless a file contains exactly the weights of a network, by name and shape.

    Parameters
    ----------
    network : nn.Module
        Network that may be on the device "meta", where it takes no memory.
    path : Path
    needed : set of str, optional
        Names of the required weights; default: all of the network's.
    further : mapping of str to tuple of int, optional
        Shapes of required tensors in addition to the weights.

    Raises
    ------
    InputError
        A tensor is missing, unexpected, or of another shape or type.
    """
    state = network.state_dict()
    names = set(state) if needed is None else needed
    shapes = {name: tuple(state[name].shape) for name in names} | dict(further or {})
    saved = {old_names.weight(name): entry for name, entry in headers(path).items()}
    _compare(path, shapes, saved)


def require_room(folder: Path, network: nn.Module) -> None:
    """Raise if a network on the device "meta" has more weights than the files of a folder.

    This bounds the memory of a network that is built from untrusted settings. Its buffers
    (positions, masks), which are not in the files, are bounded likewise.
    """
    weights = sum(weight.numel() for weight in network.parameters())
    wanted = max(weights, sum(buffer.numel() for buffer in network.buffers()))
    stored = sum(
        math.prod(shape)
        for path in folder.rglob("*.safetensors")
        for _, shape in headers(path).values()
    )
    if wanted > stored:
        raise InputError(
            f"the settings imply {wanted:,} numbers, but the files contain {stored:,}: the bundle "
            "is damaged or cannot be trusted"
        )


def _compare(path: Path, expected: Mapping[str, tuple[int, ...]], saved: Headers) -> None:
    if odd := sorted(set(expected) ^ set(saved)):
        raise InputError(
            f"{path.name}: {len(odd)} weights do not fit this model (first: {odd[0]!r}): the "
            "bundle is damaged or was made by another version"
        )
    wrong = [
        f"{name!r} has the type {saved[name][0]} and the shape {saved[name][1]}, expected floats "
        f"of shape {shape}"
        for name, shape in sorted(expected.items())
        if saved[name][1] != shape or saved[name][0] not in FLOATS
    ]
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise InputError(
            f"{path.name}: weights do not fit this model: {'; '.join(wrong[:SHOWN])}{more}"
        )


def all_finite(path: Path) -> bool:
    """Return whether all numbers of a safetensors file are finite, reading a tensor at a time."""
    with safe_open(path, framework="pt") as tensors:
        return all(_is_finite(tensors.get_tensor(name)) for name in tensors.keys())  # noqa: SIM118


def _is_finite(tensor: Tensor) -> bool:
    import torch

    if not tensor.is_floating_point() or not tensor.numel():
        return True
    # aminmax propagates NaN and takes one pass over the data, where isfinite takes four.
    ends = torch.stack(torch.aminmax(tensor))
    return bool(torch.isfinite(ends).all())
