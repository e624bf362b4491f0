"""Texts as full sequences of token ids: nothing is padded, so every product is of real tokens."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.permissions import OWNER_ONLY
from clinadapt.data.text_store import Texts

TEXTS_AT_ONCE = 1024


def pack(texts: Texts, tokenizer: Any, length: int, path: Path) -> NDArray[np.uint16 | np.uint32]:
    """Write token ids end to end, cut into sequences; the last, if it is not full, is left out.

    Parameters
    ----------
    texts : Texts
    tokenizer : transformers.PreTrainedTokenizerFast
    length : int
        Tokens of a sequence: one that begins it, and text. Texts are parted by a separator.
    path : Path
        Of the file; it holds the texts' tokens, so it is as private as they are.

    Returns
    -------
    ndarray of uint16 or uint32, shape [sequence, length]
        Mapped from the file, not in memory.
    """
    room = length - 1
    kind = np.dtype(np.uint16 if len(tokenizer) < 2**16 else np.uint32)
    left = np.empty(0, dtype=kind)
    path.unlink(missing_ok=True)
    path.touch(OWNER_ONLY)
    with path.open("wb") as file:
        for block in texts.blocks(TEXTS_AT_ONCE):
            encoded = tokenizer(
                block, add_special_tokens=False, return_attention_mask=False, verbose=False
            )
            ids = [
                part for text in encoded["input_ids"] for part in (*text, tokenizer.sep_token_id)
            ]
            stream = np.concatenate([left, np.array(ids, dtype=kind)])
            full = len(stream) // room
            begun = np.full((full, 1), tokenizer.cls_token_id, dtype=kind)
            np.hstack([begun, stream[: full * room].reshape(full, room)]).tofile(file)
            left = stream[full * room :]
    if not path.stat().st_size:
        return np.empty((0, length), dtype=kind)
    return np.memmap(path, dtype=kind, mode="r").reshape(-1, length)
