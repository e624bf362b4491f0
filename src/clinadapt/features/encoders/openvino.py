"""A frozen prefix compiled by OpenVINO (Intel), an optional extra: `clinadapt[openvino]`."""

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
    """The library, which then sends no usage data.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    # Without this module the converter uses a stub.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return need("openvino")


class Compiled:
    """A graph compiled for this CPU, one stream a core; several threads may call it at once.

    Parameters
    ----------
    graph : openvino.Model
    dtype : torch.dtype
        Of matrix products.
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
        """First output of the graph."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self.compiled.create_infer_request()
        found: NDArray[Any] = self._requests.own.infer(list(inputs))[0]
        return found.copy()


class OpenVinoReader:
    """Reads ids into features.

    Parameters
    ----------
    prefix : Prefix
        In fp32, on the CPU.
    dtype : torch.dtype
        Of matrix products; also of the features that come out.
    """

    def __init__(self, prefix: Prefix, dtype: torch.dtype) -> None:
        model: Any = prefix.model
        model.set_attn_implementation("eager")
        example = torch.ones((2, 8), dtype=torch.int64)
        with quiet(), warnings.catch_warnings():  # the tracer's remarks on Python branches
            warnings.simplefilter("ignore")
            graph = library().convert_model(_Traceable(prefix), example_input=(example, example))
        self.dtype = dtype
        self.compiled = Compiled(graph, dtype)

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Features [sequence, token, width] of ids and mask [sequence, token]."""
        features = self.compiled(ids.numpy(), mask.numpy().astype(np.int64))
        return torch.from_numpy(features).to(self.dtype)


class _Traceable(nn.Module):
    """The prefix as the tracer wants it: tensors in, one tensor out, integers for the mask."""

    def __init__(self, prefix: Prefix) -> None:
        super().__init__()
        self.prefix = prefix

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.prefix.features(ids, mask)
