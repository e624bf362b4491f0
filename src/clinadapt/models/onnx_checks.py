"""Whether an ONNX file of a bundle is a plain graph of known operators and nothing else.

ONNX can name files elsewhere, operators of other libraries, and loops; an exported network has
none of these.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.core.optional_dependencies import need
from clinadapt.models.onnx_runtime import INPUTS, MOST_BYTES, OUTPUT

STANDARD = ("", "ai.onnx")
KINDS = "fiub"  # of numpy: floating point, integers, truth values


def problems(path: Path) -> Iterator[str]:
    """Say what is wrong with a file; it is read, nothing of it is run.

    Raises
    ------
    MissingExtraError
        onnx is not installed.
    """
    onnx = need("onnx")
    if path.stat().st_size > MOST_BYTES:
        yield f"expected at most {MOST_BYTES:,} bytes"
        return
    try:
        model = onnx.load(path, load_external_data=False)
    except Exception:  # whatever a parser says of what is no ONNX
        yield "not an ONNX file"
        return
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer:
        yield "it holds more than one plain graph"
    nodes = list(graph.node)
    if odd := sorted({node.domain for node in nodes} - set(STANDARD)):
        yield f"operators of another library ({', '.join(map(repr, odd[:3]))})"
    kinds = onnx.AttributeProto
    attributes = [attribute for node in nodes for attribute in node.attribute]
    allowed = (kinds.INT, kinds.INTS, kinds.FLOAT, kinds.FLOATS, kinds.STRING, kinds.TENSOR)
    if any(attribute.type not in allowed for attribute in attributes):
        yield "loops or branches"
    names = ([given.name for given in graph.input], [found.name for found in graph.output])
    if names != (list(INPUTS), [OUTPUT]):
        yield f"expected the inputs {', '.join(INPUTS)} and the output {OUTPUT}"
    tensors = [a.t for a in attributes if a.type == kinds.TENSOR] + list(graph.initializer)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
        yield "weights in another file"
        return
    yield from sorted({found for tensor in tensors if (found := _unfit(onnx, tensor))})


def _unfit(onnx: Any, tensor: Any) -> str | None:
    """What is wrong with a weight; a single number may be infinite, as masks have it."""
    try:
        values = onnx.numpy_helper.to_array(tensor)
    except Exception:  # whatever numpy says of bytes that do not fit their header
        return "a weight is not what its header says"
    if values.dtype.kind not in KINDS:
        return "weights of a type that no export writes"
    if values.dtype.kind == "f" and (
        np.isnan(values).any() or (values.size > 1 and not np.isfinite(values).all())
    ):
        return "a weight is not a finite number"
    return None
