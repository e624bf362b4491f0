"""Runtimes of an exported network: ONNX Runtime or OpenVINO, on the CPU, one batch per core.

Both read the same file. OpenVINO computes matrix products in bf16 on hardware that accelerates it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray

from clinadapt.core.optional_dependencies import need
from clinadapt.features.encoders import openvino

Runtime = Literal["onnx", "openvino"]
Run = Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[Any]]
ERRORS_ONLY = 3
INPUTS = ("ids", "mask", "windows")
OUTPUT = "scores"
MOST_BYTES = 2**31 - 2**20  # an ONNX file is one protobuf message, at most 2 GiB


def open_network(path: Path, runtime: Runtime, dtype: torch.dtype) -> Run:
    """Open a checked file for inference, in several threads if needed.

    Parameters
    ----------
    path : Path
    runtime : {"onnx", "openvino"}
    dtype : torch.dtype
        Type of matrix products, if the runtime offers the choice.

    Returns
    -------
    callable
        From ids and mask [sequence, token] and windows [note, sequence] to scores [note, class].

    Raises
    ------
    MissingExtraError
        The runtime is not installed.
    """
    if runtime == "openvino":
        return openvino.Compiled(openvino.library().Core().read_model(path), dtype)
    library = need("onnxruntime")
    options = library.SessionOptions()
    # By default a session uses all cores; here every core runs its own batch.
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = ERRORS_ONLY
    session = library.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]

    def run(*inputs: NDArray[Any]) -> NDArray[Any]:
        scores: NDArray[Any] = session.run(None, dict(zip(names, inputs, strict=True)))[0]
        return scores

    return run
