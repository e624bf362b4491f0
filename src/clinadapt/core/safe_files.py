"""Files that somebody else may have written: JSON and tensors, looked at before they are believed.

Nothing here runs what it reads. Sizes and shapes are known before memory is taken.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from clinadapt.core import old_names
from clinadapt.core.errors import InputError

HEADER_BYTES = 2**24  # some hundred thousand tensors
SHOWN = 3
FLOATS = ("F64", "F32", "F16", "BF16")
WHOLE = ("I64", "I32", "I16", "I8", "U8", "BOOL")  # of masks and positions in older encoders

Headers = dict[str, tuple[str, tuple[int, ...]]]


def read_json(path: Path, most_bytes: int) -> Any:
    """Content of a JSON file.

    Parameters
    ----------
    path : Path
    most_bytes : int
        A larger file is not opened.

    Raises
    ------
    InputError
        Too large, nested too deeply, no JSON, or with numbers that are not finite.
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
    """Type and shape of every tensor of a safetensors file; no tensor is read.

    Raises
    ------
    InputError
        A header that is too large or says other things than the file holds.
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
        raise InputError(f"{path.name}: not a whole safetensors file ({error})") from None


def read_arrays(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[Any]]:
    """Arrays of a file that must hold just these, as floats.

    Parameters
    ----------
    path : Path
    shapes : mapping of str to tuple of int

    Raises
    ------
    InputError
        Other names, shapes or types.
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
    """Raise unless a file holds just the weights of a network, by name and shape.

    Parameters
    ----------
    network : nn.Module
        May be on the device "meta", where it takes no memory.
    path : Path
    needed : set of str, optional
        Names that must be there; default all of the network's.
    further : mapping of str to tuple of int, optional
        Shapes of tensors that stand beside the weights.

    Raises
    ------
    InputError
        A tensor is missing, left over, or of another shape or type.
    """
    state = network.state_dict()
    names = set(state) if needed is None else needed
    shapes = {name: tuple(state[name].shape) for name in names} | dict(further or {})
    saved = {old_names.weight(name): entry for name, entry in headers(path).items()}
    _compare(path, shapes, saved)


def require_room(folder: Path, network: nn.Module) -> None:
    """Raise if a network, on the device "meta", has more weights than a folder's files hold.

    What is built to be filled from files may not be larger than they are; nor may its buffers
    (positions, masks), which are not in the files.
    """
    weights = sum(weight.numel() for weight in network.parameters())
    wanted = max(weights, sum(buffer.numel() for buffer in network.buffers()))
    held = sum(
        math.prod(shape)
        for path in folder.rglob("*.safetensors")
        for _, shape in headers(path).values()
    )
    if wanted > held:
        raise InputError(
            f"the settings imply {wanted:,} numbers, but the files hold {held:,}: the bundle is "
            "damaged or not to be trusted"
        )


def _compare(path: Path, expected: Mapping[str, tuple[int, ...]], found: Headers) -> None:
    if odd := sorted(set(expected) ^ set(found)):
        raise InputError(
            f"{path.name}: {len(odd)} weights do not fit this model (first: {odd[0]!r}): the "
            "bundle is damaged or was made by another version"
        )
    wrong = [
        f"{name!r} has the type {found[name][0]} and the shape {found[name][1]}, expected floats "
        f"of shape {shape}"
        for name, shape in sorted(expected.items())
        if found[name][1] != shape or found[name][0] not in FLOATS
    ]
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise InputError(
            f"{path.name}: weights do not fit this model: {'; '.join(wrong[:SHOWN])}{more}"
        )


def all_finite(path: Path) -> bool:
    """Whether no number of a safetensors file is NaN or infinite; one tensor at a time is read."""
    with safe_open(path, framework="pt") as tensors:
        return all(_is_finite(tensors.get_tensor(name)) for name in tensors.keys())  # noqa: SIM118


def _is_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    ends = torch.stack(torch.aminmax(tensor))  # one pass, a NaN goes through: isfinite takes four
    return bool(torch.isfinite(ends).all())
