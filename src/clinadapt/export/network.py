"""A fitted network as one graph: from token ids to class scores, in fp32 or int8.

What was frozen and what was trained, which fitting keeps apart, are put together again. In int8,
weights are quantised by output channel, activations as they come (dynamically, no notes needed).
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from clinadapt.encoders.boundary import Prefix
from clinadapt.encoders.moe import MoETransformer
from clinadapt.encoders.pretrained import quiet
from clinadapt.errors import InputError
from clinadapt.extras import need
from clinadapt.families.pretrained import PretrainedModel
from clinadapt.families.scratch import ScratchModel
from clinadapt.head import Pooling, pool
from clinadapt.network import Batch, NoteNetwork
from clinadapt.sources import one_token_each

OPSET = 20
INPUTS = ("ids", "mask", "windows")
OUTPUT = "scores"
MOST_BYTES = 2**31 - 2**20  # an ONNX file is one message of protobuf
QUANTISED = ("MatMul", "Gather")


class WholeNetwork(nn.Module):
    """A fitted network from ids to scores.

    Parameters
    ----------
    network : NoteNetwork
    prefix : Prefix, optional
        The frozen layers below it.
    pooling : {"mean", "first", "last", "max"}, optional
        If the network was fitted on pooled states of the prefix: how they were pooled.
    """

    def __init__(
        self, network: NoteNetwork, prefix: Prefix | None, pooling: Pooling | None
    ) -> None:
        super().__init__()
        self.network = network
        self.prefix = prefix
        self.pooling: Pooling | None = pooling

    @classmethod
    def of(cls, model: PretrainedModel | ScratchModel) -> "WholeNetwork":
        """Network of a fitted model, on the CPU.

        Raises
        ------
        InputError
            A mixture of experts.
        """
        if isinstance(model, ScratchModel):
            if isinstance(model.network_.encoder, MoETransformer):
                raise InputError(
                    "a mixture of experts cannot be exported: which expert reads a token hangs on "
                    "the note, and a graph is fixed. Use the bundle as it is"
                )
            return cls(model.network_, None, None).cpu().eval()
        prefix = None
        if model.boundary_:
            encoder = model.encoder_
            prefix = Prefix(encoder.load(), encoder.layers, model.boundary_)
        pooling = model.pooling_ if model.after_pooling else None
        whole = cls(model.network_, prefix, pooling).cpu().eval()
        for module in whole.modules():
            # Written out, attention is what runtimes know how to fuse.
            choose = getattr(module, "set_attn_implementation", None)
            if choose is not None:
                choose("eager")
        return whole

    def forward(self, ids: Tensor, mask: Tensor, windows: Tensor) -> Tensor:
        """Class scores [note, class].

        Parameters
        ----------
        ids, mask : Tensor of int64, shape [sequence, token]
        windows : Tensor of float32, shape [note, sequence]
            Share of each sequence in a note: the rows sum to 1.
        """
        real = mask.bool()
        states = ids if self.prefix is None else self.prefix.states(ids, mask)
        if self.pooling is None:
            note = torch.arange(ids.shape[0], device=ids.device)
            pooled, _ = self.network.pooled(Batch(states, real, note, ids.shape[0]))
            return self.network.head(windows @ pooled)
        vectors = windows @ pool(states, real, self.pooling)
        return self.network(one_token_each(vectors))[0]


def write_onnx(network: WholeNetwork, path: Path) -> None:
    """Write a network as ONNX, for any number of notes, sequences and tokens.

    Raises
    ------
    InputError
        The network is too large for one file, or the exporter does not know what it does.
    MissingExtraError
        onnx or onnxscript is not installed.
    """
    onnx = need("onnx")
    need("onnxscript")
    size = sum(weight.numel() * 4 for weight in network.parameters())
    if size > MOST_BYTES:
        raise InputError(
            f"the network has {size / 1e9:.1f} GB of weights, an ONNX file at most 2.1 GB: use the "
            "bundle as it is"
        )
    # Numbers that are unlike each other, and none of them 1: the exporter would fix it. Two tensors
    # for ids and mask: one would be one input.
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
            f"this network cannot be exported to ONNX ({type(error).__name__}): use the bundle as "
            "it is"
        ) from error
    assert program is not None
    onnx.save(_bare(program.model_proto), path)


def quantise(path: Path, out: Path) -> None:
    """Write a network with its weights in int8, those of matrix products in seven of its bits.

    Processors without 8-bit products of their own (VNNI) add two products of activation (0 to 255)
    and weight in 16 bit, and cut off what does not fit: with weights of -64 to 64 all of it fits
    (2 x 255 x 64 = 32,640 of 32,767), so the products are exact wherever the file is run.

    Parameters
    ----------
    path, out : Path

    Raises
    ------
    MissingExtraError
        onnxruntime is not installed.
    """
    onnx, quantization = need("onnx"), need("onnxruntime.quantization")
    with _silent():
        quantization.quantize_dynamic(
            path,
            out,
            op_types_to_quantize=list(QUANTISED),
            per_channel=True,
            reduce_range=True,  # of what is multiplied; embeddings keep their eight bits
        )
    onnx.save(_bare(onnx.load(out, load_external_data=False)), out)


def _bare(model: Any) -> Any:
    """Take out where in whose source code each operation came from: paths of this machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    graph.ClearField("value_info")  # shapes in between, of use to nobody
    return model


@contextmanager
def _silent() -> Iterator[None]:
    """Keep remarks of exporter and quantiser off the terminal; what they made is measured."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
