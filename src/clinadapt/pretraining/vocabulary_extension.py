"""Extension of a tokenizer by frequent words that it splits into many pieces.

General encoders split the words of a speciality into pieces ("fu", "ro", "sé", "mide"). This costs
tokens, and therefore time, and more of a note is truncated. The words that save most tokens become
tokens of their own. The embedding of each is initialised as the mean of its pieces, so that the
encoder first represents it about as before.
"""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer

from clinadapt.core.atomic_files import atomic_folder
from clinadapt.data.text_store import Texts

WORD = re.compile(r"\w+")
LEAST_PIECES = 3
# A word in few texts saves little, and may be a name, which would be stored in the folder.
LEAST_TEXTS = 10
COMPARED_TEXTS = 1000


def extend(tokenizer: Any, model: Any, texts: Texts, most: int, kept: Path) -> tuple[Any, Any]:
    """Add words to the tokenizer and the embeddings of an encoder.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
    model : transformers masked language model
        Modified in place: it gets embeddings for the words.
    texts : Texts
    most : int
        Maximum number of words.
    kept : Path
        Folder of the extended tokenizer, opened if it exists and written otherwise.

    Returns
    -------
    (transformers.PreTrainedTokenizerFast, dict)
        The extended tokenizer, and the number of words added with the tokens per word before and
        after, measured on at most about 2,000 texts.
    """
    from transformers import PreTrainedTokenizerFast

    if not kept.is_dir():
        longer = add_words(tokenizer, choose_words(tokenizer, texts, most))
        with atomic_folder(kept) as partial:
            longer.save_pretrained(partial)
    extended = PreTrainedTokenizerFast.from_pretrained(kept)
    added = widen(model, tokenizer, extended)
    some = texts[:: max(1, len(texts) // COMPARED_TEXTS)]
    return extended, {
        "words": added,
        "tokens_per_word_before": tokens_per_word(tokenizer, some),
        "tokens_per_word_after": tokens_per_word(extended, some),
    }


def choose_words(tokenizer: Any, texts: Texts, most: int) -> list[str]:
    """Return the words that save most tokens: of three or more pieces, in ten or more texts.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
    texts : Texts
    most : int
        Maximum number of words.

    Returns
    -------
    list of str
        Words as the tokenizer normalises them, by descending (pieces - 1) * occurrences.
    """
    normalizer = tokenizer.backend_tokenizer.normalizer
    counts: Counter[str] = Counter()
    text_counts: Counter[str] = Counter()
    for text in texts:
        normal = text if normalizer is None else normalizer.normalize_str(text)
        words = Counter(word for word in WORD.findall(normal) if word.isalpha())
        counts.update(words)
        text_counts.update(words.keys())
    common = [word for word, number in text_counts.items() if number >= LEAST_TEXTS]
    saved = {
        word: (len(ids) - 1) * counts[word]
        for word, ids in zip(common, _pieces(tokenizer, common), strict=True)
        if len(ids) >= LEAST_PIECES
    }
    return sorted(saved, key=lambda word: (-saved[word], word))[:most]


def add_words(tokenizer: Any, words: list[str]) -> Any:
    """Copy a tokenizer and add words; texts without these words are tokenized as before.

    Only complete words are matched, before the text is split: "cardio" does not affect
    "cardiologie", as a larger vocabulary of the same tokenizer model would.
    """
    from transformers import PreTrainedTokenizerFast

    extended = PreTrainedTokenizerFast(
        tokenizer_object=_beginning_spaces_only(tokenizer.backend_tokenizer),
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        **tokenizer.special_tokens_map,
    )
    # The space before a word belongs to it, as it does to the first piece of a word.
    extended.add_tokens(
        [AddedToken(word, single_word=True, lstrip=True, normalized=True) for word in words]
    )
    return extended


def widen(model: Any, before: Any, after: Any) -> int:
    """Add embeddings for the words of an extended tokenizer, as the means of their pieces.

    This applies to the input embeddings, to the output embeddings if they are not tied, and to
    their bias. If a model has more rows than its tokenizer has tokens, words use these first.

    Parameters
    ----------
    model : transformers masked language model
        Modified in place.
    before, after : transformers.PreTrainedTokenizerFast
        The original and the extended tokenizer.

    Returns
    -------
    int
        Number of words added.
    """
    known = before.get_vocab()
    added = {word: row for word, row in after.get_vocab().items() if word not in known}
    if not added:
        return 0
    rows = max(model.get_input_embeddings().num_embeddings, 1 + max(added.values()))
    model.resize_token_embeddings(rows, mean_resizing=False)
    output = model.get_output_embeddings()
    tables = [model.get_input_embeddings().weight, output.weight]
    if output.bias is not None:
        tables.append(output.bias)
    pieces = _pieces(before, list(added))
    with torch.no_grad():
        for table in {id(table): table for table in tables}.values():  # tied ones once
            for row, ids in zip(added.values(), pieces, strict=True):
                table[row] = table[ids].mean(0)
    return len(added)


def tokens_per_word(tokenizer: Any, texts: Texts) -> float:
    """Return the tokens per word of texts; words are divided by spaces, special tokens excluded."""
    tokens = words = 0
    for block in texts.blocks():
        encoded = tokenizer(block, add_special_tokens=False, verbose=False)
        tokens += sum(map(len, encoded["input_ids"]))
        words += sum(len(text.split()) for text in block)
    return tokens / max(1, words)


def _pieces(tokenizer: Any, words: list[str]) -> list[list[int]]:
    """Return the ids of words as they occur within a text, after a space."""
    if not words:
        return []
    spaced = [f" {word}" for word in words]
    return list(tokenizer(spaced, add_special_tokens=False, verbose=False)["input_ids"])


def _beginning_spaces_only(tokenizer: Tokenizer) -> Tokenizer:
    """Copy a tokenizer so that it adds a space at most at the beginning of a text.

    Sub-words of SentencePiece include the preceding space, so such a tokenizer adds one before each
    section of text. Added words divide the text into sections, and a comma after an added word
    would get a space that the text does not have.
    """
    content = json.loads(tokenizer.to_str())
    splitter = content["pre_tokenizer"] or {}
    parts = splitter.get("pretokenizers", [splitter])
    kinds = [part.get("type") for part in parts]
    if kinds[:2] == ["WhitespaceSplit", "Metaspace"]:  # CamemBERT
        del parts[0]
        blanks = {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
        end = {"type": "Strip", "strip_left": False, "strip_right": True}
        steps = [step for step in (content["normalizer"], blanks, end) if step]
        content["normalizer"] = {"type": "Sequence", "normalizers": steps}
    if parts[0].get("type") == "Metaspace" and parts[0]["prepend_scheme"] == "always":
        parts[0]["prepend_scheme"] = "first"
    return Tokenizer.from_str(json.dumps(content))
