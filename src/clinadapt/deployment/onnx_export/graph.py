"""Writes a fitted network as one ONNX graph, from token ids to class scores, in fp32 or int8.

In int8, weights are quantised per output channel, and activations dynamically, so no calibration
notes are needed.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from clinadapt.core.errors import InputError
from clinadapt.core.optional_dependencies import need
from clinadapt.features.encoders.pretrained import quiet
from clinadapt.models.onnx_runtime import INPUTS, MOST_BYTES, OUTPUT
from clinadapt.models.token_network import TokenNetwork

OPSET = 20
QUANTISED = ("MatMul", "Gather")


def write_onnx(network: TokenNetwork, path: Path) -> None:
    """Write a network as ONNX, for any number of notes, sequences and tokens.

    Parameters
    ----------
    network : TokenNetwork
    path : Path

    Raises
    ------
    InputError
        If the network is too large for one file, or the exporter does not support it.
    MissingExtraError
        If onnx or onnxscript is not installed.
    """
    onnx = need("onnx")
    need("onnxscript")
    size = sum(weight.numel() * 4 for weight in network.parameters())
    if size > MOST_BYTES:
        raise InputError(
            f"the network has {size / 1e9:.1f} GB of weights, but an ONNX file holds at most "
            "2.1 GB: use the original bundle"
        )
    # All sizes differ and none is 1, because the exporter would make size 1 constant. Ids and mask
    # are separate tensors, because the exporter would merge one tensor into one input.
    ids, mask = torch.full((3, 5), 2), torch.ones((3, 5), dtype=torch.int64)
    example = (ids, mask, torch.full((2, 3), 1 / 3))
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    try:
        with _silent(), torch.no_grad():
            program = torch.onnx.export(
                network,
                example,
                dynamo=True,
                opset_version=OPSET,
                input_names=list(INPUTS),
                output_names=[OUTPUT],
                dynamic_shapes=(free, free, free),
                verbose=False,
            )
    except Exception as error:
        raise InputError(
            f"this network cannot be exported to ONNX ({type(error).__name__}): use the original "
            "bundle"
        ) from error
    assert program is not None
    onnx.save(_bare(program.model_proto), path)


def quantise(path: Path, out: Path) -> None:
    """Write a network with weights in int8, of which matrix products use seven bits.

    Processors without 8-bit products (VNNI) add two products of activation (0 to 255) and weight in
    16 bits, and saturate. With weights from -64 to 64 the sum always fits (2 x 255 x 64 = 32,640 of
    32,767), so products are exact on every processor.

    Parameters
    ----------
    path : Path
        Network in fp32.
    out : Path
        Network in int8.

    Raises
    ------
    MissingExtraError
        If onnxruntime is not installed.
    """
    onnx, quantization = need("onnx"), need("onnxruntime.quantization")
    with _silent():
        quantization.quantize_dynamic(
            path,
            out,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            reduce_range=True,  # matrix products only; embeddings use all eight bits
        )
    onnx.save(_bare(onnx.load(out, load_external_data=False)), out)


def _bare(model: Any) -> Any:
    """Remove the source locations of operations, which contain paths of this machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")  # intermediate shapes, which no runtime needs
    return model


@contextmanager
def _silent() -> Iterator[None]:
    """Silence exporter and quantiser; their result is measured anyway."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
