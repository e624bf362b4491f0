"""An encoder split at a layer into a frozen prefix and a trained suffix.

Any architecture with a list of layers is supported. The library's own forward runs on a model in
which some layers are replaced by stand-ins. In the prefix, the layers above the split layer are
replaced: they pass features through, and the first one records its input. In the suffix, those
below are replaced, and the first one returns the recorded features. Masks, positions and local or
global attention remain those of the model, also where it pads a batch to the width of its attention
windows (Longformer): what it adds is cut off what is recorded, and added again to what is given.
"""

import threading
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from clinadapt.core.errors import InputError
from clinadapt.neural.note_network import Batch

# Types of layer attributes that a model's forward may read (ModernBERT chooses its mask by one).
PLAIN = (str, int, float, bool)


def _copy_plain(layer: nn.Module, onto: nn.Module) -> None:
    for name, value in vars(layer).items():
        if isinstance(value, PLAIN) and name != "training":
            setattr(onto, name, value)


class Handed:
    """A tensor that is passed to a layer, or from it, in addition to its arguments.

    In inference each thread has its own, since several threads may share a network. In training
    all threads share one, because the thread of the backward pass may compute layers again.
    """

    def __init__(self) -> None:
        self._own = threading.local()
        self._trained: Tensor | None = None

    @property
    def value(self) -> Tensor | None:
        """The last tensor that was set, or None."""
        return self._trained if torch.is_grad_enabled() else getattr(self._own, "value", None)

    @value.setter
    def value(self, value: Tensor | None) -> None:
        if torch.is_grad_enabled():
            self._trained = value
        else:
            self._own.value = value


def _lengthened(values: Tensor, length: int) -> Tensor:
    """Return values [sequence, token, ...] with zeros for tokens that the model itself added."""
    added = length - values.shape[1]
    return pad(values, (0, 0) * (values.dim() - 2) + (0, added)) if added else values


class StandIn(nn.Module):
    """Replacement of a layer that passes features through, or returns given ones.

    Parameters
    ----------
    layer : nn.Module
        The replaced layer; its plain attributes are kept, its weights are not.
    outputs : int
        0 if such layers return a tensor, else the length of the tuple that they return.
    """

    def __init__(self, layer: nn.Module, outputs: int) -> None:
        super().__init__()
        _copy_plain(layer, self)
        self.outputs = outputs
        self.given = Handed()
        self.seen = Handed()

    def forward(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Return the given features if there are any, else the input."""
        self.seen.value = hidden_states
        given = self.given.value
        features = hidden_states
        if given is not None:
            features = _lengthened(given, hidden_states.shape[1])
        return (features,) + (None,) * (self.outputs - 1) if self.outputs else features


class AdaptedLayer(nn.Module):
    """A layer of the encoder with an adapter after it.

    Parameters
    ----------
    layer, adapter : nn.Module
    """

    def __init__(self, layer: nn.Module, adapter: nn.Module) -> None:
        super().__init__()
        _copy_plain(layer, self)
        self.layer = layer
        self.adapter = adapter
        self.mask = Handed()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the layer, then the adapter on its features [sequence, token, width]."""
        output = self.layer(*args, **kwargs)
        features = output[0] if isinstance(output, tuple) else output
        mask = self.mask.value
        if mask is not None:
            mask = _lengthened(mask, features.shape[1])
        adapted = self.adapter(features, mask)
        return (adapted, *output[1:]) if isinstance(output, tuple) else adapted


def layer_list(model: nn.Module, count: int) -> tuple[str, nn.ModuleList]:
    """Return the path and the module of the model's list of `count` layers.

    Raises
    ------
    InputError
        The model has no such list.
    """
    for path, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == count:
            return path, module
    raise InputError(
        f"{type(model).__name__} has no list of {count} layers that could be tuned or adapted one "
        "by one: its layers share their weights, or are not a single stack"
    )


def _outputs_of_layers(model: nn.Module, layers: nn.ModuleList) -> int:
    """Return 0 if the layers return a tensor, else the length of their tuple, by a tiny input."""
    lengths: list[int] = []
    hook = layers[0].register_forward_hook(
        lambda module, args, output: lengths.append(len(output) if isinstance(output, tuple) else 0)
    )
    ids = torch.ones((1, 2), dtype=torch.int64, device=next(model.parameters()).device)
    with hook, torch.inference_mode():
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    return lengths[0]


class Prefix(nn.Module):
    """The frozen part of an encoder, below a split layer.

    Parameters
    ----------
    model : nn.Module
        A complete model; modified in place.
    layers : int
        Number of its layers.
    split_layer : int
        Number of layers in the prefix, from 1 to `layers`. With all of them, the features are the
        model's own output, after any final norm.
    """

    def __init__(self, model: nn.Module, layers: int, split_layer: int) -> None:
        super().__init__()
        self.model = model.requires_grad_(False).eval()
        self.recorder: StandIn | None = None
        if split_layer < layers:
            _, stack = layer_list(model, layers)
            outputs = _outputs_of_layers(model, stack)
            for number in range(split_layer, layers):
                stack[number] = StandIn(stack[number], outputs)
            recorder = stack[split_layer]
            assert isinstance(recorder, StandIn)
            self.recorder = recorder

    @torch.inference_mode()
    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return features [sequence, token, width] at the split layer from ids and mask."""
        return self.features(ids, mask.long())

    def features(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Return the same as `forward`, by plain tensor operations on an integer mask."""
        output = self.model(input_ids=ids, attention_mask=mask).last_hidden_state
        if self.recorder is None:
            return output
        assert self.recorder.seen.value is not None
        return self.recorder.seen.value[:, : ids.shape[1]]


class Suffix(nn.Module):
    """The part of an encoder above a split layer, with features as input; or all of it, with ids.

    Parameters
    ----------
    model : nn.Module
        A complete model; modified in place.
    layers : int
        Number of its layers.
    split_layer : int
        Number of layers computed before; 0 if the input is token ids.
    """

    def __init__(self, model: nn.Module, layers: int, split_layer: int) -> None:
        super().__init__()
        self.model = model
        path, self.stack = layer_list(model, layers)
        self.path = path
        self.split_layer = split_layer
        self.source: StandIn | None = None
        if split_layer:
            outputs = _outputs_of_layers(model, self.stack)
            for number in range(split_layer):
                self.stack[number] = StandIn(self.stack[number], outputs)
            source = self.stack[0]
            assert isinstance(source, StandIn)
            self.source = source
            self._idle_below()

    def _idle_below(self) -> None:
        """Disable dropout outside the layers, since the embeddings' output is discarded."""
        inside = {module for layer in self.stack for module in layer.modules()}
        for module in self.model.modules():
            if isinstance(module, nn.Dropout) and module not in inside:
                module.p = 0.0

    def adapt(self, adapters: list[nn.Module]) -> None:
        """Insert one adapter after each of the top layers, the last one after the last layer."""
        start = len(self.stack) - len(adapters)
        for number, adapter in enumerate(adapters, start=start):
            self.stack[number] = AdaptedLayer(self.stack[number], adapter)

    def tune(self, layers: int) -> None:
        """Freeze all but the top `layers` layers and the weights after them.

        With all layers, the embeddings are trained as well. Adapter weights inserted before, also
        low-rank ones, do not change.
        """
        inserted = {
            id(weight)
            for layer in self.stack
            if isinstance(layer, AdaptedLayer)
            for weight in layer.adapter.parameters()
        }
        top = list(self.stack)[len(self.stack) - layers :]
        tuned = {id(weight) for layer in top for weight in layer.parameters()}
        # Weights are listed in the order of the forward pass: those after the last layer (a final
        # norm) are tuned with it, those before the first (embeddings) only with all layers.
        after_first = layers == len(self.stack)
        for weight in self.model.parameters():
            after_first = after_first or (layers > 0 and id(weight) in tuned)
            weight.requires_grad_(after_first or id(weight) in inserted)

    @property
    def running(self) -> list[nn.Module]:
        """The layers above the split layer."""
        return list(self.stack)[self.split_layer :]

    def embeddings(self) -> list[nn.Parameter]:
        """Return the weights before the first layer, if they are used at all."""
        if self.split_layer:
            return []
        inside = {id(weight) for weight in self.stack.parameters()}
        # Weights are listed in the order of the forward pass, so these precede the first layer's.
        return list(takewhile(lambda weight: id(weight) not in inside, self.model.parameters()))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Return hidden [sequence, token, width], mask, and an auxiliary loss of zero."""
        mask = batch.mask.long()
        self._set_masks(batch.mask)
        if self.source is None:
            output = self.model(input_ids=batch.inputs, attention_mask=mask)
        else:
            features = batch.inputs.to(next(self.model.parameters()).dtype)
            self.source.given.value = features
            # The embeddings are computed and discarded, so that they may have any width.
            output = self.model(input_ids=torch.zeros_like(mask), attention_mask=mask)
            self.source.given.value = None
        if not torch.is_grad_enabled():  # in training, layers that are computed again need it
            self._set_masks(None)
        hidden = output.last_hidden_state
        return hidden, batch.mask, hidden.new_zeros((), dtype=torch.float32)

    def _set_masks(self, mask: Tensor | None) -> None:
        for layer in self.stack:
            if isinstance(layer, AdaptedLayer):
                layer.mask.value = mask
