"""LoRA, DoRA and IA3 inside an encoder's layers, through the library `peft`.

LoRA: Hu et al. 2021 (arXiv 2106.09685); DoRA: Liu et al. 2024 (arXiv 2402.09353); IA3: Liu et al.
2022 (arXiv 2205.05638). They change matrices inside the layers, so they cannot follow the last
layer and are not adapters of the registry.
"""

from typing import Annotated, Literal

from annotated_types import Interval
from torch import nn

from clinadapt.core import param_validation
from clinadapt.core.errors import InputError

LOW_RANK = ("lora", "dora", "ia3")
KEYS_AND_VALUES = ("key", "value", "k_proj", "v_proj", "k_lin", "v_lin")
FUSED = ("Wqkv", "c_attn", "query_key_value")  # queries, keys and values in one matrix
FEED_FORWARD_OUT = (
    *("output.dense", "down_proj", "fc2", "lin2", "mlp.Wo", "ffn.lin2"),
    *("mlp.c_proj", "dense_4h_to_h"),
)


class LowRankOptions:
    """Options of LoRA and DoRA.

    Parameters
    ----------
    rank : int
    alpha : float, optional
        Numerator of the scale of the update, ``alpha / rank``; default: twice the rank.
    dropout : float
    targets : {"all", "attention"}
        Matrices of each layer to adapt: every linear one, or queries and values only.
    """

    def __init__(
        self,
        rank: Annotated[int, Interval(ge=1, le=4096)] = 8,
        alpha: float | None = None,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.05,
        targets: Literal["all", "attention"] = "all",
    ) -> None:
        self.rank = rank
        self.alpha = 2.0 * rank if alpha is None else alpha
        self.dropout = dropout
        self.targets = targets


class IA3Options:
    """Options of IA3, which scales keys, values and the input of the feed-forward's last matrix.

    Parameters
    ----------
    fused : bool
        Whether to scale the output of a matrix that holds queries, keys and values together. Its
        queries are then scaled as well, which the scale of the keys makes redundant, but for
        positions that are rotated after it. False leaves attention as it is in such encoders.
    """

    def __init__(self, fused: bool = True) -> None:
        self.fused = fused


def option_problems(name: str, options: dict[str, object]) -> list[str]:
    """Return the problems of the options of a low-rank method."""
    return param_validation.problems(IA3Options if name == "ia3" else LowRankOptions, options)


def insert(name: str, model: nn.Module, layers: nn.ModuleList, options: dict[str, object]) -> None:
    """Insert low-rank weights into the linear modules of some layers, in place.

    Parameters
    ----------
    name : {"lora", "dora", "ia3"}
    model : nn.Module
        Encoder; all its weights are frozen, and only the inserted ones are trainable.
    layers : nn.ModuleList
        Layers of `model` to adapt.
    options : dict
        Options of the method, see `LowRankOptions` and `IA3Options`.

    Raises
    ------
    InputError
        The layers have no matrices that the method can adapt.
    """
    import peft

    inside = {id(module) for layer in layers for module in layer.modules()}
    linear = [
        path
        for path, module in model.named_modules()
        if id(module) in inside and (isinstance(module, nn.Linear) or _is_conv1d(module))
    ]
    # GPT-2 stores its matrices transposed.
    transposed = any(_is_conv1d(module) for module in layers.modules())
    config: peft.PeftConfig
    if name == "ia3":
        feed_forward = [
            path for path in linear if path.endswith(FEED_FORWARD_OUT) and "attention" not in path
        ]
        fused = IA3Options(**options).fused  # type: ignore[arg-type]
        scaled = KEYS_AND_VALUES + FUSED * fused
        targets = [path for path in linear if path.endswith(scaled)] + feed_forward
        config = peft.IA3Config(
            target_modules=targets, feedforward_modules=feed_forward, fan_in_fan_out=transposed
        )
    else:
        chosen = LowRankOptions(**options)  # type: ignore[arg-type]
        narrow = ("query", "value", "q_proj", "v_proj", "q_lin", "v_lin", "Wqkv", "c_attn")
        targets = linear if chosen.targets == "all" else [p for p in linear if p.endswith(narrow)]
        config = peft.LoraConfig(
            r=chosen.rank,
            lora_alpha=chosen.alpha,  # type: ignore[arg-type]  # peft accepts floats as well
            lora_dropout=chosen.dropout,
            target_modules=targets,
            use_dora=name == "dora",
            fan_in_fan_out=transposed,
        )
    if not targets:
        raise InputError(
            f"{name} cannot adapt this encoder: its layers have no matrices with known names; use "
            "lora with targets='all', or another adapter"
        )
    peft.inject_adapter_in_model(config, model)


def _is_conv1d(module: nn.Module) -> bool:
    return type(module).__name__ == "Conv1D"  # GPT-2's linear layer
