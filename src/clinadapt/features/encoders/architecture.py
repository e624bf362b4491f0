"""What an architecture can do, measured on a model of two layers with random weights.

An architecture has surprises that its configuration does not tell: positions that begin after the
padding index, embeddings or outputs of another width than the layers, layers that share their
weights, results that depend on padding. None of them depends on the trained weights, so they are
measured once, on a small model, before anything is computed with the encoder.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from clinadapt.core.errors import InputError
from clinadapt.features.encoders.layer_split import Prefix, Suffix, layer_list
from clinadapt.neural.note_network import Batch

LAYERS, VOCABULARY, TOKENS, SHORTER = 2, 32, 8, 5
NAMED_TOKENS = ("pad", "bos", "eos", "cls", "sep", "mask", "unk")
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Architecture:
    """Measured properties of an architecture.

    Attributes
    ----------
    causal : bool
        True if a token attends only to those before it, as in decoders.
    width : int
        Width of the features after the last layer.
    layer_width : int
        Width of the features between layers; another one where the output is projected.
    positions : int, optional
        Longest sequence that the table of position embeddings allows; None without a table.
    splits : bool
        True if layers can be computed apart: a frozen part below, a trained one above.
    """

    causal: bool
    width: int
    layer_width: int
    positions: int | None
    splits: bool


def measure(config: Any) -> Architecture:
    """Return the measured properties of an architecture.

    Parameters
    ----------
    config : transformers.PretrainedConfig
        It is not changed.

    Raises
    ------
    InputError
        The model does not turn ids and mask into one vector per token, or padding changes them.
    """
    try:
        with torch.random.fork_rng(), torch.no_grad():
            return _measure(_small(config))
    except InputError:
        raise
    except Exception as error:  # what a model of another kind raises is not specified
        raise InputError(
            f"the architecture {config.model_type!r} is not served: its model does not turn token "
            f"ids and an attention mask into one vector per token ({type(error).__name__})"
        ) from None


def _small(config: Any) -> nn.Module:
    """Return a model with two layers and a tiny vocabulary, otherwise of the configured shape."""
    from transformers import AutoModel

    config = copy.deepcopy(config)
    text = config.get_text_config()
    total = int(text.num_hidden_layers)
    for name, value in list(vars(text).items()):
        if isinstance(value, list) and len(value) == total:  # one entry per layer
            setattr(text, name, value[:LAYERS])
    text.num_hidden_layers = min(total, LAYERS)
    text.vocab_size = VOCABULARY
    for name in NAMED_TOKENS:
        number = getattr(text, f"{name}_token_id", None)
        if isinstance(number, int) and number >= VOCABULARY:
            setattr(text, f"{name}_token_id", 0)
    model: nn.Module = AutoModel.from_config(config).eval()
    return model


def _measure(model: Any) -> Architecture:
    text = model.config.get_text_config()
    named = {getattr(text, f"{name}_token_id", None) for name in NAMED_TOKENS}
    words = [number for number in range(VOCABULARY - 1, 0, -1) if number not in named]
    # What stands in the padding is no padding token: it must not matter either.
    ids = torch.tensor(words[: 2 * TOKENS]).view(2, TOKENS)
    mask = torch.arange(TOKENS) < torch.tensor([[TOKENS], [SHORTER]])

    def read(ids: Tensor, mask: Tensor) -> Tensor:
        output: Tensor = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        if output.shape[:-1] != ids.shape:
            raise ValueError("one vector per token expected")
        return output

    with _Lookups() as lookups:
        together = read(ids, mask)
    alone = read(ids[1:, :SHORTER], mask[1:, :SHORTER])
    if not _close(together[1:, :SHORTER], alone):
        raise InputError(
            f"the architecture {model.config.model_type!r} is not served: its features of a note "
            "depend on the padding, so that a note would be read differently in a batch"
        )
    other_end = ids.clone()
    other_end[0, -1] = words[TOKENS]
    causal = torch.equal(together[0, :-1], read(other_end, mask)[0, :-1])
    layer_width = _layer_width(model, ids, mask, together)
    return Architecture(
        causal=causal,
        width=together.shape[-1],
        layer_width=layer_width or together.shape[-1],
        positions=lookups.positions,
        splits=layer_width is not None,
    )


def _layer_width(model: nn.Module, ids: Tensor, mask: Tensor, whole: Tensor) -> int | None:
    """Return the width between layers; None if prefix and suffix do not make up the whole model."""
    layers = int(model.config.get_text_config().num_hidden_layers)  # type: ignore[union-attr,operator]
    try:
        split = min(1, layers - 1)
        if split:
            features = Prefix(_copy(model), layers, split)(ids, mask).clone()
        else:
            layer_list(model, layers)
            features = ids
        suffix = Suffix(_copy(model), layers, split)
        output, _, _ = suffix(Batch(features, mask, torch.arange(len(ids)), len(ids)))
        fits = features.shape[:2] == ids.shape and output.shape == whole.shape
        if not fits or not _close(output[mask], whole[mask]):
            return None
    except Exception:  # layers that are not a plain list fail in ways of their own
        return None
    return features.shape[-1] if split else whole.shape[-1]


def _copy(model: nn.Module) -> nn.Module:
    """Return a copy of the modules that shares the weights."""
    shared = {id(weight): weight for weight in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


def _close(one: Tensor, other: Tensor) -> bool:
    return bool((one - other).norm() <= TOLERANCE * other.norm())


class _Lookups(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Finds the table of position embeddings among all tables that a forward pass reads.

    Positions are looked up in order, from the first of the text on; relative ones, of which each
    pair of tokens has one, are not.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.positions: int | None = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.embedding.default:
            table, numbers = args[:2]
            rows = numbers.reshape(-1, numbers.shape[-1])
            in_order = rows[0, :1] + torch.arange(TOKENS)
            if len(rows) <= 2 and torch.equal(rows[0, :TOKENS], in_order):
                longest = len(table) - int(rows[0, 0])
                self.positions = min(longest, self.positions or longest)
        return func(*args, **(kwargs or {}))
