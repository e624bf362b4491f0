"""Sizes of new encoders, which are small versions of ModernBERT (Warner et al. 2024).

They have rotary positions, pre-normalisation and gated feed-forward layers, with global attention
in every third layer and local attention in the others.
"""

from dataclasses import dataclass
from typing import Any

from clinadapt.core.errors import InputError


@dataclass(frozen=True)
class ModelSize:
    """Number of layers, widths and number of attention heads of an encoder."""

    layers: int
    width: int
    heads: int
    inner: int


SIZES = {
    "mini": ModelSize(layers=3, width=384, heads=6, inner=768),
    "small": ModelSize(layers=6, width=384, heads=6, inner=768),
    "medium": ModelSize(layers=8, width=512, heads=8, inner=1024),
}


def new_config(size: str, tokenizer: Any, length: int) -> Any:
    """Return the configuration of a new encoder.

    Parameters
    ----------
    size : str
        One of `SIZES`.
    tokenizer : transformers.PreTrainedTokenizerFast
    length : int
        Maximum number of tokens of a sequence.

    Returns
    -------
    transformers.ModernBertConfig

    Raises
    ------
    InputError
        The size is unknown.
    """
    from transformers import ModernBertConfig

    if size not in SIZES:
        raise InputError(f"expected a size among {', '.join(SIZES)}, got {size!r}")
    chosen = SIZES[size]
    return ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=chosen.width,
        intermediate_size=chosen.inner,
        num_hidden_layers=chosen.layers,
        num_attention_heads=chosen.heads,
        max_position_embeddings=length,
        local_attention=64,
        pad_token_id=tokenizer.pad_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        sparse_prediction=True,  # only of masked tokens
    )
