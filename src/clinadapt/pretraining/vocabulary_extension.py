"""A tokenizer with more whole words: those of the texts that it cuts into many pieces.

General encoders cut the words of a speciality into pieces ("fu", "ro", "sé", "mide"), which costs
tokens, so time and what of a note is read. The words that save most become tokens of their own;
each begins as the mean of its pieces, so that an encoder first reads it as about what it read
before.
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
# A word of few texts saves little, and may be a name: the folder will hold it.
LEAST_TEXTS = 10
COMPARED_TEXTS = 1000


def extend(tokenizer: Any, model: Any, texts: Texts, most: int, kept: Path) -> tuple[Any, Any]:
    """Give an encoder whole words.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
    model : transformers masked language model
        Gets rows for the words.
    texts : Texts
    most : int
        Words.
    kept : Path
        Folder of the extended tokenizer: opened if it is there, written otherwise.

    Returns
    -------
    (transformers.PreTrainedTokenizerFast, dict)
        The extended tokenizer; words added, and tokens per word before and after, on at most about
        2,000 texts.
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
    """Words that save most: cut into three pieces or more, in ten texts or more.

    Parameters
    ----------
    tokenizer : transformers.PreTrainedTokenizerFast
    texts : Texts
    most : int

    Returns
    -------
    list of str
        As the tokenizer normalises them, by (pieces - 1) * occurrences, the highest first.
    """
    normalizer = tokenizer.backend_tokenizer.normalizer
    counts: Counter[str] = Counter()
    holding: Counter[str] = Counter()
    for text in texts:
        normal = text if normalizer is None else normalizer.normalize_str(text)
        found = Counter(word for word in WORD.findall(normal) if word.isalpha())
        counts.update(found)
        holding.update(found.keys())
    common = [word for word, number in holding.items() if number >= LEAST_TEXTS]
    saved = {
        word: (len(ids) - 1) * counts[word]
        for word, ids in zip(common, _pieces(tokenizer, common), strict=True)
        if len(ids) >= LEAST_PIECES
    }
    return sorted(saved, key=lambda word: (-saved[word], word))[:most]


def add_words(tokenizer: Any, words: list[str]) -> Any:
    """Copy a tokenizer and let it know words; it cuts every text without one of them as before.

    They are found as whole words, before the text is cut: "cardio" leaves "cardiologie" alone,
    which a longer vocabulary of the same model would not.
    """
    from transformers import PreTrainedTokenizerFast

    extended = PreTrainedTokenizerFast(
        tokenizer_object=_beginning_spaces_only(tokenizer.backend_tokenizer),
        model_max_length=tokenizer.model_max_length,
        model_input_names=tokenizer.model_input_names,
        **tokenizer.special_tokens_map,
    )
    # The space before a word is part of it, as it is of a word's first piece.
    extended.add_tokens(
        [AddedToken(word, single_word=True, lstrip=True, normalized=True) for word in words]
    )
    return extended


def widen(model: Any, before: Any, after: Any) -> int:
    """Give a model rows for the words of an extended tokenizer: the mean of their pieces' rows.

    Rows of the input embeddings, of the output ones if they are not the same, and of their bias. A
    model may have more rows than its tokenizer has tokens: words take these first.

    Parameters
    ----------
    model : transformers masked language model
    before, after : transformers.PreTrainedTokenizerFast

    Returns
    -------
    int
        Words.
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
    """Tokens of texts by words between spaces, special tokens left out."""
    tokens = words = 0
    for block in texts.blocks():
        encoded = tokenizer(block, add_special_tokens=False, verbose=False)
        tokens += sum(map(len, encoded["input_ids"]))
        words += sum(len(text.split()) for text in block)
    return tokens / max(1, words)


def _pieces(tokenizer: Any, words: list[str]) -> list[list[int]]:
    """Ids of words as they stand in a text, after a space."""
    if not words:
        return []
    spaced = [f" {word}" for word in words]
    return list(tokenizer(spaced, add_special_tokens=False, verbose=False)["input_ids"])


def _beginning_spaces_only(tokenizer: Tokenizer) -> Tokenizer:
    """Copy a tokenizer that puts a space only before the beginning of a text, if it puts any.

    Sentencepiece's sub-words carry the space before them, so a tokenizer of that kind puts one
    before each stretch of text. Added words part the text into stretches: a comma after one of
    them would get a space that is not there.
    """
    content = json.loads(tokenizer.to_str())
    cutting = content["pre_tokenizer"] or {}
    parts = cutting.get("pretokenizers", [cutting])
    kinds = [part.get("type") for part in parts]
    if kinds[:2] == ["WhitespaceSplit", "Metaspace"]:  # CamemBERT: parted at spaces, then put back
        del parts[0]
        blanks = {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "}
        end = {"type": "Strip", "strip_left": False, "strip_right": True}
        steps = [step for step in (content["normalizer"], blanks, end) if step]
        content["normalizer"] = {"type": "Sequence", "normalizers": steps}
    if parts[0].get("type") == "Metaspace" and parts[0]["prepend_scheme"] == "always":
        parts[0]["prepend_scheme"] = "first"
    return Tokenizer.from_str(json.dumps(content))
