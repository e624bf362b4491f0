"""Texts packed into full sequences of token ids, so that no computation is spent on padding."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.permissions import OWNER_ONLY
from clinadapt.data.text_store import Texts

TEXTS_AT_ONCE = 1024


def pack(texts: Texts, tokenizer: Any, length: int, path: Path) -> NDArray[np.uint16 | np.uint32]:
    """Concatenate token ids and split them into sequences; an incomplete last one is dropped.

    Parameters
    ----------
    texts : Texts
    tokenizer : transformers.PreTrainedTokenizerFast
    length : int
        Tokens of a sequence: a start token, then text. Texts are divided by a separator token.
    path : Path
        Path of the file. It contains the texts' tokens, so it is as confidential as they are.

    Returns
    -------
    ndarray of uint16 or uint32, shape [sequence, length]
        Memory-mapped from the file.
    """
    room = length - 1
    kind = np.dtype(np.uint16 if len(tokenizer) < 2**16 else np.uint32)
    rest = np.empty(0, dtype=kind)
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
            stream = np.concatenate([rest, np.array(ids, dtype=kind)])
            full = len(stream) // room
            starts = np.full((full, 1), tokenizer.cls_token_id, dtype=kind)
            np.hstack([starts, stream[: full * room].reshape(full, room)]).tofile(file)
            rest = stream[full * room :]
    if not path.stat().st_size:
        return np.empty((0, length), dtype=kind)
    return np.memmap(path, dtype=kind, mode="r").reshape(-1, length)
