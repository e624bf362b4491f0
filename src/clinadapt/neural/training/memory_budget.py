"""Choose the memory savings with which training stays within a memory limit.

Savings are applied in order of their cost: smaller micro-batches cost little, recomputation about a
third more time, an optimiser without moments some accuracy, and frozen embeddings part of the
tuning. The memory needed is measured: weights, gradients, moments, and the tensors that autograd
keeps for one sequence of the greatest length.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clinadapt.core.device import autocast
from clinadapt.core.errors import LimitError
from clinadapt.core.messages import Message
from clinadapt.core.process_memory import give_back_freed, held_bytes
from clinadapt.core.rng import local_randomness
from clinadapt.neural.note_network import Batch

COPIES = 3


@dataclass(frozen=True)
class MemorySavings:
    """Measures that reduce the memory needed for training.

    Attributes
    ----------
    batch_tokens : int
        Tokens per micro-batch, padding included.
    recompute : bool
        Whether layers keep only their input and run again in the backward pass.
    lean_optimizer : bool
        Whether Adafactor (Shazeer & Stern 2018, arXiv 1804.04235), which has no moments, replaces
        AdamW.
    frozen_embeddings : bool
        Whether the embeddings are not trained.
    """

    batch_tokens: int = 8_192
    recompute: bool = False
    lean_optimizer: bool = False
    frozen_embeddings: bool = False

    def words(self) -> list[str]:
        """Return the measures in words, for the results."""
        measures = {
            Message("micro-batches of {n} tokens", n=self.batch_tokens): self.batch_tokens
            != MemorySavings.batch_tokens,
            Message("layers recomputed in the backward pass"): self.recompute,
            Message("Adafactor instead of AdamW"): self.lean_optimizer,
            Message("embeddings frozen"): self.frozen_embeddings,
        }
        return [words for words, applied in measures.items() if applied]


def possible_savings(longest: int) -> Iterator[MemorySavings]:
    """Yield all combinations, cheapest first, down to one sequence of `longest` tokens a batch."""
    sizes = [MemorySavings.batch_tokens]
    while sizes[-1] // 2 >= longest:
        sizes.append(sizes[-1] // 2)
    if sizes[-1] != longest:
        sizes.append(longest)
    # Each further measure starts with large micro-batches again: the memory that it saves may
    # allow a faster step.
    ladder = [
        MemorySavings(),
        MemorySavings(recompute=True),
        MemorySavings(recompute=True, lean_optimizer=True),
        MemorySavings(recompute=True, lean_optimizer=True, frozen_embeddings=True),
    ]
    for savings in ladder:
        for size in sizes:
            yield replace(savings, batch_tokens=size)


@dataclass(frozen=True)
class Footprint:
    """Memory that training needs, in bytes by purpose.

    Attributes
    ----------
    held : int
        Bytes in use before training, including the network's weights.
    trained : int
        Bytes of the trainable weights.
    embeddings : int
        Bytes of the trainable embeddings, which are part of `trained`.
    fixed : int
        Bytes that autograd keeps for any batch: 16-bit copies of weights.
    sequence : int
        Bytes that autograd keeps for one sequence of the greatest length.
    sequence_recomputed : int
        The same if layers keep only their input.
    layers : int
        Number of layers that run in training.
    longest : int
        Tokens of the longest sequence.
    batch : int
        Sequences per step of the optimiser.
    """

    held: int
    trained: int
    embeddings: int
    fixed: int
    sequence: int
    sequence_recomputed: int
    layers: int
    longest: int
    batch: int

    def peak(self, savings: MemorySavings) -> int:
        """Return the peak memory of training with some savings, in bytes."""
        trained = self.trained - self.embeddings * savings.frozen_embeddings
        sequences = min(self.batch, max(1.0, savings.batch_tokens / self.longest))
        # Computing a layer's gradients takes about as much memory again as the layer kept.
        layer = (self.sequence - self.sequence_recomputed) / max(1, self.layers)
        kept = self.sequence_recomputed + layer if savings.recompute else self.sequence
        # Adafactor makes some temporary copies of the largest weight, which is the embeddings.
        update = 0 if savings.frozen_embeddings else COPIES * self.embeddings
        moments = update if savings.lean_optimizer else 2 * trained
        return int(self.held + self.fixed + trained + moments + sequences * (kept + layer))


def choose_savings(
    footprint: Footprint, limit: int | None, batches_only: bool = False
) -> MemorySavings:
    """Return the cheapest savings with which training fits into memory.

    Parameters
    ----------
    footprint : Footprint
    limit : int, optional
        Memory limit in bytes; without it there are no savings.
    batches_only : bool
        Whether only smaller micro-batches are possible, as for networks without pretrained layers.

    Raises
    ------
    LimitError
        Training does not fit even with all savings.
    """
    if limit is None:
        return MemorySavings()
    last = MemorySavings()
    for savings in possible_savings(footprint.longest):
        if batches_only and savings.recompute:
            break
        if footprint.peak(savings) <= limit:
            return savings
        last = savings
    raise LimitError(
        Message(
            "training needs at least {least:size}, with {savings}; the limit is {limit:size}: tune "
            "fewer layers, read fewer tokens or use a smaller encoder",
            least=footprint.peak(last),
            savings=last.words(),
            limit=limit,
        )
    )


def saved_bytes(run: Callable[[], Tensor], weights: set[int]) -> int:
    """Return the bytes that a forward pass keeps for the backward pass.

    Parameters
    ----------
    run : callable
        Forward pass.
    weights : set of int
        Storage addresses that are not counted, because they are in memory anyway.
    """
    kept: dict[int, Tensor] = {}  # references, so that no address is reused meanwhile

    def count(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in weights:
            kept[address] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        run()
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def measure(
    network: nn.Module,
    layers: Sequence[nn.Module],
    embeddings: Sequence[nn.Parameter],
    made_up: Callable[[int], Batch],
    batch: int,
    device: torch.device,
    dtype: torch.dtype,
) -> Footprint:
    """Measure the memory that training a network needs.

    Parameters
    ----------
    network : nn.Module
        Network from a `Batch` to outputs and an auxiliary loss.
    layers : sequence of nn.Module
        Layers of the encoder that run in training and can be recomputed.
    embeddings : sequence of nn.Parameter
        Weights that can be frozen.
    made_up : callable
        Function from a number of notes to a batch of notes of the greatest length.
    batch : int
        Notes per step of the optimiser.
    device : torch.device
    dtype : torch.dtype
        Data type of matrix products.
    """
    network.to(device).train()
    weights = {weight.untyped_storage().data_ptr() for weight in network.parameters()}

    def kept(notes: int) -> int:
        inputs = made_up(notes).to(device)
        with local_randomness(0, 0), autocast(device, dtype):
            return saved_bytes(lambda: network(inputs)[0], weights)

    one, two = kept(1), kept(2)
    for layer in layers:
        set_recompute(layer, True)
    recomputed = kept(2) - kept(1) if layers else two - one
    for layer in layers:
        set_recompute(layer, False)
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    # Measured last, because weights are in a mapped file until the passes above read them.
    gc.collect()  # frees the graphs of these passes
    give_back_freed()
    return Footprint(
        held=held_bytes(device),
        trained=sum(weight.nbytes for weight in trained),
        embeddings=sum(weight.nbytes for weight in embeddings if weight.requires_grad),
        fixed=max(0, 2 * one - two),
        sequence=two - one,
        sequence_recomputed=recomputed,
        layers=len(layers),
        longest=made_up(1).mask.shape[1],
        batch=batch,
    )


def set_recompute(layer: nn.Module, on: bool) -> None:
    """Switch recomputation of a layer: it keeps only its input and runs again in the backward pass.

    Chen et al. 2016 (arXiv 1604.06174). The layer's forward is wrapped, not the layer, so that its
    weights keep their names.
    """
    layer.__dict__.pop("forward", None)
    if not on:
        return
    forward = layer.forward

    def recomputing(*args: Any, **kwargs: Any) -> Any:
        if not (layer.training and torch.is_grad_enabled()):
            return forward(*args, **kwargs)
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    layer.forward = recomputing
