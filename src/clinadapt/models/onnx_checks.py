"""Check that an ONNX file of a bundle is a plain graph of standard operators.

ONNX allows external files, operators of other libraries, and loops; an exported network has none
of these.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.core.optional_dependencies import need
from clinadapt.models.onnx_runtime import INPUTS, MOST_BYTES, OUTPUT

STANDARD = ("", "ai.onnx")
KINDS = "fiub"  # kinds of numpy types: floating point, integers, booleans


def problems(path: Path) -> Iterator[str]:
    """Yield the problems of a file; it is read but not run.

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
    except Exception:  # the parser's errors are not specified
        yield "not an ONNX file"
        return
    graph = model.graph
    if model.functions or model.training_info or graph.sparse_initializer:
        yield "it contains more than one plain graph"
    nodes = list(graph.node)
    if odd := sorted({node.domain for node in nodes} - set(STANDARD)):
        yield f"it uses operators of another library ({', '.join(map(repr, odd[:3]))})"
    kinds = onnx.AttributeProto
    attributes = [attribute for node in nodes for attribute in node.attribute]
    allowed = (kinds.INT, kinds.INTS, kinds.FLOAT, kinds.FLOATS, kinds.STRING, kinds.TENSOR)
    if any(attribute.type not in allowed for attribute in attributes):
        yield "it contains loops or branches"
    names = ([given.name for given in graph.input], [result.name for result in graph.output])
    if names != (list(INPUTS), [OUTPUT]):
        yield f"expected the inputs {', '.join(INPUTS)} and the output {OUTPUT}"
    tensors = [a.t for a in attributes if a.type == kinds.TENSOR] + list(graph.initializer)
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL for tensor in tensors):
        yield "it keeps weights in another file"
        return
    yield from sorted({text for tensor in tensors if (text := _weight_problem(onnx, tensor))})


def _weight_problem(onnx: Any, tensor: Any) -> str | None:
    """Return the problem of a weight, if any; a single number may be infinite, for masks."""
    try:
        values = onnx.numpy_helper.to_array(tensor)
    except Exception:  # numpy's errors on inconsistent bytes are not specified
        return "a weight does not match its header"
    if values.dtype.kind not in KINDS:
        return "a weight has a type that exports do not use"
    if values.dtype.kind == "f" and (
        np.isnan(values).any() or (values.size > 1 and not np.isfinite(values).all())
    ):
        return "a weight is not a finite number"
    return None
