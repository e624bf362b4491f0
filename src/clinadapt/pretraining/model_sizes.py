"""How wide and deep a new encoder is: ModernBERT's architecture (Warner et al. 2024), made small.

Rotary positions, norms before each part, gated feed-forward, attention to the whole text in every
third layer and to near tokens in the others.
"""

from dataclasses import dataclass
from typing import Any

from clinadapt.core.errors import InputError


@dataclass(frozen=True)
class Size:
    """Widths and depth of an encoder."""

    layers: int
    width: int
    heads: int
    inner: int


SIZES = {
    "mini": Size(layers=3, width=384, heads=6, inner=768),
    "small": Size(layers=6, width=384, heads=6, inner=768),
    "medium": Size(layers=8, width=512, heads=8, inner=1024),
}


def new_config(size: str, tokenizer: Any, length: int) -> Any:
    """Configuration of an encoder that does not exist yet.

    Parameters
    ----------
    size : str
        One of `SIZES`.
    tokenizer : transformers.PreTrainedTokenizerFast
    length : int
        Tokens that it reads at once.

    Returns
    -------
    transformers.ModernBertConfig

    Raises
    ------
    InputError
        Another size.
    """
    from transformers import ModernBertConfig

    if size not in SIZES:
        raise InputError(f"expected a size among {', '.join(SIZES)}, got {size!r}")
    asked = SIZES[size]
    return ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=asked.width,
        intermediate_size=asked.inner,
        num_hidden_layers=asked.layers,
        num_attention_heads=asked.heads,
        max_position_embeddings=length,
        local_attention=64,
        pad_token_id=tokenizer.pad_token_id,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
        bos_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        sparse_prediction=True,  # of masked tokens alone
    )
