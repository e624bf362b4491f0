"""A frozen prefix compiled by Intel's OpenVINO (optional dependency `clinadapt[openvino]`)."""

import sys
import threading
import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clinadapt.core.optional_dependencies import need
from clinadapt.features.encoders.layer_split import Prefix
from clinadapt.features.encoders.pretrained import quiet


def library() -> Any:
    """Import OpenVINO, with its usage statistics disabled.

    Raises
    ------
    MissingExtraError
        OpenVINO is not installed.
    """
    # Without this module the converter uses a stub that sends nothing.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return need("openvino")


class Compiled:
    """A graph compiled for this CPU, with one stream per core; safe to call from several threads.

    Parameters
    ----------
    graph : openvino.Model
    dtype : torch.dtype
        Type of the matrix products.
    """

    def __init__(self, graph: Any, dtype: torch.dtype) -> None:
        openvino = library()
        import openvino.properties as properties
        from openvino.properties import hint

        half = dtype == torch.bfloat16
        self.compiled = openvino.Core().compile_model(
            graph,
            "CPU",
            {
                hint.inference_precision: openvino.Type.bf16 if half else openvino.Type.f32,
                properties.num_streams: torch.get_num_threads(),
                properties.inference_num_threads: torch.get_num_threads(),
            },
        )
        self._requests = threading.local()

    def __call__(self, *inputs: NDArray[Any]) -> NDArray[Any]:
        """Return the first output of the graph."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self.compiled.create_infer_request()
        output: NDArray[Any] = self._requests.own.infer(list(inputs))[0]
        return output.copy()


class OpenVinoReader:
    """Computes features of token ids.

    Parameters
    ----------
    prefix : Prefix
        In fp32, on the CPU.
    dtype : torch.dtype
        Type of the matrix products and of the features.
    """

    def __init__(self, prefix: Prefix, dtype: torch.dtype) -> None:
        model: Any = prefix.model
        model.set_attn_implementation("eager")
        example = torch.ones((2, 8), dtype=torch.int64)
        with quiet(), warnings.catch_warnings():  # the tracer warns of Python branches
            warnings.simplefilter("ignore")
            graph = library().convert_model(_Traceable(prefix), example_input=(example, example))
        self.dtype = dtype
        self.compiled = Compiled(graph, dtype)

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return features [sequence, token, width] of ids and mask [sequence, token]."""
        features = self.compiled(ids.numpy(), mask.numpy().astype(np.int64))
        return torch.from_numpy(features).to(self.dtype)


class _Traceable(nn.Module):
    """The prefix in a form that can be traced: tensors in, one tensor out, an integer mask."""

    def __init__(self, prefix: Prefix) -> None:
        super().__init__()
        self.prefix = prefix

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.prefix.features(ids, mask)
