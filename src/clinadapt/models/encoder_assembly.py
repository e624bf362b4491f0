"""Assembly of a network from frozen, adapted and tuned encoder layers and a head."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from clinadapt.core.device import pick_device
from clinadapt.core.errors import InputError
from clinadapt.core.rng import local_randomness
from clinadapt.features.encoders.catalog import find_local, require_plausible
from clinadapt.features.encoders.layer_split import Suffix
from clinadapt.features.encoders.pretrained import PretrainedEncoder, open_encoder
from clinadapt.models import neural_base
from clinadapt.neural.adapters import lora
from clinadapt.neural.adapters import registry as adapters
from clinadapt.neural.adapters.identity import Identity
from clinadapt.neural.dropout import replace_dropout
from clinadapt.neural.note_network import FeaturesAsTheyAre, NoteNetwork
from clinadapt.neural.pooling_head import Head, Pooling

INSERTED = (".adapter.", "lora_", "ia3_")  # in the names of weights added to an encoder


class Settings(Protocol):
    """Settings that determine the network of a model with an encoder."""

    encoder: str
    adapter: str
    adapter_options: dict[str, Any] | None
    match_parameters: int | None
    placement: Any
    adapted_layers: Any
    tuned_layers: Any
    pooling: Any
    max_tokens: int
    inner: int
    dropout: float
    device: str
    seed: int


@dataclass(frozen=True)
class Layers:
    """Number of layers of an encoder, and of those at the top that training changes.

    Attributes
    ----------
    total : int
        All layers.
    tuned, adapted : int
        Top layers that are tuned, and that have adapters.
    """

    total: int
    tuned: int
    adapted: int

    @classmethod
    def of(cls, settings: Settings, encoder: PretrainedEncoder) -> "Layers":
        """Return the layers of an encoder for a model's settings.

        Raises
        ------
        InputError
            The settings ask for more layers or tokens than the encoder has.
        """
        if settings.max_tokens > encoder.max_tokens:
            raise InputError(
                f"max_tokens={settings.max_tokens}, but {settings.encoder} reads at most "
                f"{encoder.max_tokens} tokens; use truncation='windows' for longer notes"
            )

        def number(name: str) -> int:
            value = getattr(settings, name)
            if value == "all":
                return encoder.layers
            if int(value) > encoder.layers:
                raise InputError(
                    f"{name}={value}, but {settings.encoder} has {encoder.layers} layers"
                )
            return int(value)

        tuned = number("tuned_layers")
        in_layers = settings.placement == "layers" and settings.adapter != "none"
        adapted = number("adapted_layers") if in_layers else 0
        if (tuned or adapted) and not encoder.architecture.splits:
            raise InputError(
                f"layers of {settings.encoder} cannot be tuned or adapted one by one: those of "
                f"the architecture {encoder.config.model_type!r} share their weights, or are not a "
                "single stack. Use it frozen: tuned_layers = 0, and an adapter after the last layer"
            )
        return cls(encoder.layers, tuned, adapted)

    @property
    def split_layer(self) -> int:
        """Number of layers below the lowest that changes; 0 if token ids are the input."""
        return self.total - max(self.tuned, self.adapted)


def make_adapter(settings: Settings, width: int) -> nn.Module:
    """Return a new adapter for features of the given width."""
    options = dict(settings.adapter_options or {})
    if settings.match_parameters is not None:
        options["inner"] = adapters.match_inner(
            settings.adapter, width, settings.match_parameters, **options
        )
    return adapters.ADAPTERS[settings.adapter](width, **options)


def inserted_modules(
    settings: Settings, layers: Layers, encoder: PretrainedEncoder, classes: int
) -> nn.ModuleList:
    """Return head and adapters alone, without low-rank weights, whose size is bounded by rank."""
    in_layers = settings.placement == "layers"
    number = layers.adapted if in_layers else 1
    if settings.adapter in lora.LOW_RANK:
        number = 0
    width = encoder.architecture.layer_width if in_layers else encoder.width
    head = Head(encoder.width, classes, settings.inner, settings.dropout)
    return nn.ModuleList([head, *(make_adapter(settings, width) for _ in range(number))])


def assemble(
    settings: Settings,
    layers: Layers,
    encoder: PretrainedEncoder,
    model: Any,
    classes: int,
    pooling: Pooling,
) -> tuple[NoteNetwork, Suffix | None]:
    """Build the network around a complete encoder model.

    Parameters
    ----------
    settings : Settings
    layers : Layers
    encoder : PretrainedEncoder
    model : nn.Module, optional
        The loaded encoder; None if all of it is frozen.
    classes : int
    pooling : {"mean", "first", "last", "max"}

    Returns
    -------
    network : NoteNetwork
    suffix : Suffix, optional
        The encoder's layers that run in training.
    """
    width, layer_width = encoder.width, encoder.architecture.layer_width
    suffix: Suffix | None = None
    with local_randomness(settings.seed, stream=2**32):
        running: nn.Module = FeaturesAsTheyAre()
        final: nn.Module = Identity(width)
        if model is not None:
            model.requires_grad_(False)
            if pick_device(settings.device).type == "cpu":
                # On the CPU the fused kernel's backward pass takes twice as long as all the rest.
                model.set_attn_implementation("eager")
            suffix = Suffix(model, layers.total, layers.split_layer)
            _adapt(settings, layers, suffix, layer_width)
            running = suffix
            replace_dropout(running)
        if settings.placement != "layers":
            final = make_adapter(settings, width)
        head = Head(width, classes, settings.inner, settings.dropout)
    return NoteNetwork(running, final, head, pooling), suffix


def _adapt(settings: Settings, layers: Layers, suffix: Suffix, width: int) -> None:
    """Insert adapters into the layers that run, and mark their trainable weights."""
    if settings.adapter in lora.LOW_RANK:
        top = nn.ModuleList(list(suffix.stack)[len(suffix.stack) - layers.adapted :])
        suffix.tune(layers.tuned)
        tuned = neural_base.trainable(suffix)
        lora.insert(settings.adapter, suffix.model, top, settings.adapter_options or {})
        for weight in tuned.values():  # inserting low-rank weights froze them
            weight.requires_grad_(True)
        return
    if layers.adapted:
        suffix.adapt([make_adapter(settings, width) for _ in range(layers.adapted)])
    suffix.tune(layers.tuned)


def is_pretrained_weight(name: str) -> bool:
    """Return whether a weight of the network, by its name, came with the encoder."""
    return name.startswith("encoder.") and not any(mark in name for mark in INSERTED)


def count_total(network: NoteNetwork, encoder: PretrainedEncoder, whole: bool) -> int:
    """Return the number of weights of encoder, adapters and head.

    Parameters
    ----------
    network : NoteNetwork
    encoder : PretrainedEncoder
    whole : bool
        True if all of the encoder is in the network.
    """
    if whole:
        return adapters.count_parameters(network)
    with torch.device("meta"):
        in_encoder = adapters.count_parameters(encoder.empty())
    new = [w for name, w in network.named_parameters() if not is_pretrained_weight(name)]
    return in_encoder + sum(weight.numel() for weight in new)


def encoder_problems(settings: Settings) -> list[str]:
    """Return problems of an encoder, if it is on this machine, and of settings for it."""
    try:
        if find_local(settings.encoder) is None:
            require_plausible(settings.encoder)
        else:
            Layers.of(settings, open_encoder(settings.encoder))
    except InputError as error:
        return error.problems
    return []


def option_problems(settings: Settings) -> list[str]:
    """Return problems of an adapter, its options and its placement; empty if there are none."""
    options: Mapping[str, Any] = settings.adapter_options or {}
    if settings.adapter in lora.LOW_RANK:
        problems = lora.option_problems(settings.adapter, dict(options))
        if settings.placement != "layers":
            problems.append(f"{settings.adapter} acts inside layers: set placement = 'layers'")
        if settings.match_parameters is not None:
            problems.append(f"{settings.adapter} has no inner width to match: set its rank instead")
        return problems
    if settings.adapter not in adapters.ADAPTERS:
        known = ", ".join([*adapters.ADAPTERS, *lora.LOW_RANK])
        return [f"unknown adapter {settings.adapter!r}; known: {known}"]
    problems = adapters.option_problems(settings.adapter, options)
    if settings.adapter == "tiny_attention" and settings.placement == "pooled":
        problems.append(
            "tiny_attention needs token features: on pooled ones it has nothing to attend to"
        )
    if settings.placement == "pooled" and settings.tuned_layers != 0:
        problems.append("placement 'pooled' is for frozen encoders: tuned_layers must be 0")
    if settings.match_parameters is not None and settings.adapter == "none":
        problems.append("adapter 'none' has no weights to match")
    if settings.match_parameters is not None and "inner" in options:
        problems.append("give either match_parameters or inner, not both")
    return problems
