"""Choice of the inference backend: PyTorch, or OpenVINO where it is installed and faster.

The choice is made by timing each backend once on some of the user's own notes, and is remembered
for the machine. Both agree within `TOLERANCE`, and their cached features are kept separately.
"""

import hashlib
import importlib.metadata
import importlib.util
import json
import os
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn

from clinadapt.core.atomic_files import atomic_path
from clinadapt.core.device import environment
from clinadapt.core.errors import InputError, MachineError
from clinadapt.features.encoder_inference import Reader, encode
from clinadapt.features.encoders.layer_split import Prefix
from clinadapt.features.encoders.pretrained import PretrainedEncoder
from clinadapt.features.tokenization import Tokens

Backend = Literal["torch", "openvino"]
BackendChoice = Literal["auto", "torch", "openvino"]
# Largest relative distance ‖a − b‖ / ‖b‖ between the features of two backends.
TOLERANCE = 0.03
# Required speed-up: another backend must be worth another set of cached features.
WORTH = 1.1
PROBE_TOKENS = 4_096
# Timing takes about ten seconds, and OpenVINO some seconds to start: not worth it for less work.
WORTHWHILE_TOKENS = 200_000
SHAPE = ("model_type", "num_hidden_layers", "hidden_size", "intermediate_size")


def choose(
    wanted: BackendChoice,
    encoder: PretrainedEncoder,
    split_layer: int,
    dtype: torch.dtype,
    device: torch.device,
    sample: Tokens,
    cached: Backend | None = None,
) -> Backend:
    """Choose the fastest backend on this machine.

    Parameters
    ----------
    wanted : {"auto", "torch", "openvino"}
        "auto" stands for the value of the variable ``CLINADAPT_BACKEND``, or else for the backend
        measured to be fastest. With few notes this is PyTorch, which starts sooner.
    encoder : PretrainedEncoder
    split_layer : int
    dtype : torch.dtype
    device : torch.device
    sample : Tokens
        Notes for the timing.
    cached : {"torch", "openvino"}, optional
        Backend of the features that are already cached; another would compute them again.

    Raises
    ------
    InputError
        OpenVINO is requested but not installed, or the device is not the CPU.
    """
    installed = importlib.util.find_spec("openvino") is not None
    if wanted == "auto":
        wanted = os.environ.get("CLINADAPT_BACKEND", "auto")  # type: ignore[assignment]
    if wanted not in get_args(BackendChoice):
        raise InputError(f"CLINADAPT_BACKEND: expected auto, torch or openvino, got {wanted!r}")
    if wanted == "openvino":
        if not installed:
            raise InputError(
                "backend 'openvino' is not installed: pip install 'clinadapt[openvino]'"
            )
        if device.type != "cpu":
            raise InputError(f"backend 'openvino' runs only on the CPU, but the device is {device}")
    if wanted != "auto":
        return wanted
    if not installed or device.type != "cpu":
        return "torch"
    if cached is not None:
        return cached
    if sample.lengths.sum() < WORTHWHILE_TOKENS:
        return "torch"
    known = _Memory(_memory_file())
    key = _key(encoder, split_layer, dtype)
    remembered = known.get(key)
    if remembered is None:
        remembered = _measure(encoder, split_layer, dtype, device, sample)
        known.put(key, remembered)
    return "openvino" if remembered["chosen"] == "openvino" else "torch"


def make_reader(
    backend: Backend,
    encoder: PretrainedEncoder,
    split_layer: int,
    dtype: torch.dtype,
    device: torch.device,
) -> Reader:
    """Load an encoder's prefix as a function of ids and mask [sequence, token]."""
    prefix = Prefix(encoder.load(), encoder.layers, split_layer)
    if backend == "openvino":
        from clinadapt.features.encoders.openvino import OpenVinoReader

        return OpenVinoReader(prefix, dtype)
    prefix = prefix.to(device=device, dtype=dtype)
    if device.type == "cpu":
        lay_out_for_reading(prefix)
    return prefix


def lay_out_for_reading(module: nn.Module) -> None:
    """Store the weight of each linear layer so that its transpose is contiguous.

    Shapes and values do not change. Otherwise the matrix library would transpose the weight at
    every call, which for small batches costs as much as the product.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.data = layer.weight.data.t().contiguous().t()


def _measure(
    encoder: PretrainedEncoder,
    split_layer: int,
    dtype: torch.dtype,
    device: torch.device,
    sample: Tokens,
) -> dict[str, Any]:
    """Measure the tokens per second of each backend, and the distance between their features."""
    order = np.argsort(sample.lengths, kind="stable")
    step = max(1, int(sample.lengths.sum()) // PROBE_TOKENS)
    probe = order[::step]
    features: dict[str, Tensor] = {}
    seconds: dict[str, float] = {}
    for backend in get_args(Backend):
        read = make_reader(backend, encoder, split_layer, dtype, device)
        encode(read, sample, probe[:: len(probe) // 8 or 1], device)  # warms up
        started = time.perf_counter()
        features[backend] = encode(read, sample, probe, device)
        seconds[backend] = time.perf_counter() - started
    reference = features["torch"].double()
    distance = float((features["openvino"].double() - reference).norm() / reference.norm())
    agree = distance <= TOLERANCE
    if not agree:
        warnings.warn(
            f"OpenVINO's features differ by {distance:.3f} from PyTorch's (allowed: {TOLERANCE}); "
            "PyTorch is used",
            RuntimeWarning,
            stacklevel=2,
        )
    faster = seconds["torch"] > WORTH * seconds["openvino"]
    tokens = int(sample.lengths[probe].sum())
    return {
        "chosen": "openvino" if agree and faster else "torch",
        "tokens_per_second": {name: tokens / value for name, value in seconds.items()},
        "relative_distance": distance,
    }


def _key(encoder: PretrainedEncoder, split_layer: int, dtype: torch.dtype) -> str:
    """Return a hash of all that the speed depends on: machine, versions, architecture."""
    about = environment()["machine"] | {
        "torch": torch.__version__,
        "openvino": importlib.metadata.version("openvino"),
        "encoder": {name: getattr(encoder.config, name, None) for name in SHAPE},
        "split_layer": split_layer,
        "dtype": str(dtype),
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()[:24]


def _memory_file() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "clinadapt" / "backends.json"


class _Memory:
    """Earlier measurements, in a file; if it cannot be used, the backends are timed again."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def _read(self) -> dict[str, Any]:
        try:
            content = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def get(self, key: str) -> Mapping[str, Any] | None:
        entry = self._read().get(key)
        return entry if isinstance(entry, dict) and "chosen" in entry else None

    def put(self, key: str, entry: Mapping[str, Any]) -> None:
        content = self._read() | {key: dict(entry)}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(self.path) as partial:
                partial.write_text(json.dumps(content, indent=1), encoding="utf-8")
        except (OSError, MachineError):
            warnings.warn(
                f"{self.path} cannot be written: the backends will be timed again next time",
                RuntimeWarning,
                stacklevel=2,
            )
