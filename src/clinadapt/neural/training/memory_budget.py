"""Train within a memory limit: what is given up for it, in which order, and what is left.

The order is that of their price: smaller micro-batches cost little, recomputation about a third
more time, an optimiser without moments some accuracy, frozen embeddings some of the tuning.
Bytes are counted, not guessed: weights, gradients, moments, and what autograd keeps of one real
sequence of the greatest length.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from clinadapt.core import formatting
from clinadapt.core.device import autocast
from clinadapt.core.errors import LimitError
from clinadapt.core.process_memory import give_back_freed, held_bytes
from clinadapt.core.rng import local_randomness
from clinadapt.neural.note_network import Batch

COPIES = 3


@dataclass(frozen=True)
class MemorySavings:
    """What is given up to fit into memory.

    Attributes
    ----------
    batch_tokens : int
        Padded tokens that go through the network at once.
    recompute : bool
        Layers keep their input only, and run again in the backward pass.
    lean_optimizer : bool
        Adafactor (Shazeer & Stern 2018, arXiv 1804.04235) in the place of AdamW: no moments.
    frozen_embeddings : bool
    """

    batch_tokens: int = 8_192
    recompute: bool = False
    lean_optimizer: bool = False
    frozen_embeddings: bool = False

    def words(self) -> list[str]:
        """What is given up, for a result's reader."""
        given = {
            f"micro-batches of {self.batch_tokens} tokens": self.batch_tokens
            != MemorySavings.batch_tokens,
            "layers recomputed in the backward pass": self.recompute,
            "Adafactor instead of AdamW": self.lean_optimizer,
            "embeddings frozen": self.frozen_embeddings,
        }
        return [words for words, is_given in given.items() if is_given]


def possible_savings(longest: int) -> Iterator[MemorySavings]:
    """All of them, cheapest first; micro-batches go down to one sequence of `longest` tokens."""
    sizes = [MemorySavings.batch_tokens]
    while sizes[-1] // 2 >= longest:
        sizes.append(sizes[-1] // 2)
    if sizes[-1] != longest:
        sizes.append(longest)
    # Once micro-batches are small, the other memory_savings come with the larger ones again: what a
    # dearer savings saves may go into a faster step.
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
    """Bytes that training needs, by what they are for.

    Attributes
    ----------
    held : int
        What the process holds before training, the network's weights among it.
    trained : int
        Of the weights that train.
    embeddings : int
        Of the embeddings among these.
    fixed : int
        What autograd keeps whatever the batch: weights in 16 bit.
    sequence : int
        What it keeps of one sequence of the greatest length.
    sequence_recomputed : int
        The same if layers keep their input only.
    layers : int
        That run in training.
    longest : int
        Tokens of that sequence.
    batch : int
        Sequences of a step of the optimiser.
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
        """Bytes at the worst moment of training under an savings."""
        trained = self.trained - self.embeddings * savings.frozen_embeddings
        sequences = min(self.batch, max(1.0, savings.batch_tokens / self.longest))
        # While a layer's gradients are computed, it holds about as much again as it kept.
        layer = (self.sequence - self.sequence_recomputed) / max(1, self.layers)
        kept = self.sequence_recomputed + layer if savings.recompute else self.sequence
        # Adafactor computes in some copies of the largest weight, which the embeddings are.
        update = 0 if savings.frozen_embeddings else COPIES * self.embeddings
        moments = update if savings.lean_optimizer else 2 * trained
        return int(self.held + self.fixed + trained + moments + sequences * (kept + layer))


def choose_savings(
    footprint: Footprint, limit: int | None, batches_only: bool = False
) -> MemorySavings:
    """Give up as little as possible.

    Parameters
    ----------
    footprint : Footprint
    limit : int, optional
        Bytes.
    batches_only : bool
        Nothing but smaller micro-batches: for networks without pretrained layers.

    Raises
    ------
    LimitError
        With everything given up it still does not fit.
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
        f"training needs at least {formatting.size(footprint.peak(last))}, with "
        f"{', '.join(last.words())}; the limit is {formatting.size(limit)}: tune fewer layers, "
        "read fewer tokens or take a smaller encoder"
    )


def saved_bytes(run: Callable[[], Tensor], weights: set[int]) -> int:
    """Bytes that autograd keeps for the backward pass of a forward pass.

    Parameters
    ----------
    run : callable
        The forward pass.
    weights : set of int
        Storage addresses that do not count: they are there anyway.
    """
    kept: dict[int, Tensor] = {}  # held on to, so that no address is used twice

    def note(tensor: Tensor) -> Tensor:
        address = tensor.untyped_storage().data_ptr()
        if address not in weights:
            kept[address] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
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
    """Count the bytes that training a network needs.

    Parameters
    ----------
    network : nn.Module
        From a `Batch` to outputs and an auxiliary loss.
    layers : sequence of nn.Module
        Layers of an encoder that run in training, which can be recomputed.
    embeddings : sequence of nn.Parameter
        Weights that can be frozen.
    made_up : callable
        A batch of so many notes of the greatest length.
    batch : int
        Notes of a step of the optimiser.
    device : torch.device
    dtype : torch.dtype
        Of matrix products.
    """
    network.to(device).train()
    there = {weight.untyped_storage().data_ptr() for weight in network.parameters()}

    def kept(notes: int) -> int:
        given = made_up(notes).to(device)
        with local_randomness(0, 0), autocast(device, dtype):
            return saved_bytes(lambda: network(given)[0], there)

    one, two = kept(1), kept(2)
    for layer in layers:
        set_recompute(layer, True)
    recomputed = kept(2) - kept(1) if layers else two - one
    for layer in layers:
        set_recompute(layer, False)
    trained = [weight for weight in network.parameters() if weight.requires_grad]
    # Only now: until they are read, weights are a mapped file that is not in memory yet.
    gc.collect()  # graphs of the passes above
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
    """Let a layer keep its input only in training, and run again in the backward pass.

    Chen et al. 2016 (arXiv 1604.06174). The layer's forward is wrapped, not the layer, so that
    its weights keep their names.
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
