"""A frozen prefix compiled by OpenVINO (Intel), an optional extra: `clinadapt[openvino]`."""

import sys
import threading
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from clinadapt.encoders.boundary import Prefix
from clinadapt.encoders.pretrained import quiet


class OpenVinoReader:
    """Reads ids into states, one stream a core.

    Parameters
    ----------
    prefix : Prefix
        In fp32, on the CPU.
    dtype : torch.dtype
        Of matrix products; also of the states that come out.
    """

    def __init__(self, prefix: Prefix, dtype: torch.dtype) -> None:
        # Without this module the converter uses a stub, and sends no usage data.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino
        import openvino.properties as properties
        from openvino.properties import hint

        model: Any = prefix.model
        model.set_attn_implementation("eager")
        example = torch.ones((2, 8), dtype=torch.int64)
        with quiet(), warnings.catch_warnings():  # the tracer's remarks on Python branches
            warnings.simplefilter("ignore")
            graph = openvino.convert_model(_Traceable(prefix), example_input=(example, example))
        half = dtype == torch.bfloat16
        self.dtype = dtype
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

    def __call__(self, ids: Tensor, mask: Tensor) -> Tensor:
        """States [sequence, token, width] of ids and mask [sequence, token]."""
        if not hasattr(self._requests, "own"):
            self._requests.own = self.compiled.create_infer_request()
        found = self._requests.own.infer([ids.numpy(), mask.numpy().astype(np.int64)])
        return torch.from_numpy(found[0].copy()).to(self.dtype)


class _Traceable(nn.Module):
    """The prefix as the tracer wants it: tensors in, one tensor out, integers for the mask."""

    def __init__(self, prefix: Prefix) -> None:
        super().__init__()
        self.prefix = prefix

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        return self.prefix.states(ids, mask)
