"""Notes of which a tokenizer knows something: not only unknown and special tokens."""

import json
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from clinadapt.features.tokenization import Truncation, tokenize
from clinadapt.features.visible_text import has_visible

# Marks of a word's beginning or continuation, of spaces and of line ends, within tokens.
MARKS = "▁ĠĊĉč#"
BEGINNING = 200


def readable(
    tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int, truncation: Truncation
) -> NDArray[np.bool_]:
    """Return whether the tokens that are read of each note have a known one among them [note].

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
    texts : sequence of str
    max_tokens, truncation
        See `tokenize`.
    """
    found = has_visible(texts)
    silent = _silent_ids(tokenizer.to_str())
    if truncation != "tail":  # a known word at the beginning settles it for most notes
        beginnings = [text[:BEGINNING].rpartition(" ")[0] for text in texts]
        certain = _known(tokenizer, beginnings, max_tokens, "head", silent)
    else:
        certain = np.zeros(len(texts), dtype=np.bool_)
    for note in np.flatnonzero(found & ~certain).tolist():
        found[note] = _known(tokenizer, [texts[note]], max_tokens, truncation, silent)[0]
    return found


def _known(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    max_tokens: int,
    truncation: Truncation,
    silent: NDArray[np.int32],
) -> NDArray[np.bool_]:
    tokens = tokenize(tokenizer, texts, max_tokens, truncation)
    telling = np.r_[0, np.cumsum(~np.isin(tokens.ids, silent))]
    return np.diff(telling[tokens.starts[tokens.first]]) > 0


@lru_cache(maxsize=8)
def _silent_ids(saved: str) -> NDArray[np.int32]:
    """Return the ids of a saved tokenizer that stand for nothing, or for anything unknown."""
    content = json.loads(saved)
    tokenizer = Tokenizer.from_str(saved)
    silent = {token["id"] for token in content["added_tokens"] if token["special"]}
    model = content["model"]
    unknown = model.get("unk_id"), tokenizer.token_to_id(model.get("unk_token") or "")
    silent |= {number for number in unknown if number is not None}
    silent |= {
        number
        for token, number in tokenizer.get_vocab().items()
        if token != "#" and not token.strip(MARKS)
    }
    return np.array(sorted(silent), dtype=np.int32)
