"""Statistics of notes that show whether they have changed: numbers per note, frequent words.

Words consist of letters only, which excludes numbers, dates and identifiers. Words that many
training notes share are counted one by one; all others are counted together.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from tokenizers import Tokenizer

from clinadapt.core.arrays import Floats
from clinadapt.models.contract import Model

UNKNOWN_WORDS = "unknown_words"
WORD = re.compile(r"\b[^\W\d_]{2,}\b")
MOST_WORDS, LONGEST_WORD = 300, 60
MOST_CHARACTERS = 2**17  # of a note, in which the match with a model's vocabulary is counted
# A word is kept if at least this number and this share of the training notes contain it.
LEAST_NOTES, LEAST_SHARE = 20, 0.02


def words_of(text: str) -> list[str]:
    """Return the words of a text that consist of letters, in lower case."""
    return WORD.findall(text.lower())


def general_words(texts: Sequence[str]) -> list[str]:
    """Return words that enough training notes contain, most frequent first; may be empty."""
    notes_with = Counter(word for text in texts for word in set(words_of(text)))
    least = max(LEAST_NOTES, LEAST_SHARE * len(texts))
    general = [
        word for word, notes in notes_with.items() if notes >= least and len(word) <= LONGEST_WORD
    ]
    return sorted(general, key=lambda word: (-notes_with[word], word))[:MOST_WORDS]


def count_words(texts: Sequence[str], kept: Sequence[str]) -> Floats:
    """Return counts [note, word] of the kept words; the last column counts all others."""
    columns = {word: number for number, word in enumerate(kept)}
    table = np.zeros((len(texts), len(kept) + 1))
    for row, text in enumerate(texts):
        for word, times in Counter(words_of(text)).items():
            table[row, columns.get(word, -1)] += times
    return table


def readings(model: Model, texts: Sequence[str]) -> dict[str, Floats]:
    """Return numbers [note] by name: length, and match of words and the model's vocabulary.

    Parameters
    ----------
    model : fitted model
    texts : sequence of str
    """
    length = np.array([len(text.split()) for text in texts], dtype=np.float64)
    numbers = {"length": length}
    beginnings = [text[:MOST_CHARACTERS] for text in texts]
    words = np.array([len(text.split()) for text in beginnings], dtype=np.float64)
    for part in model.fitted_parts():
        numbers |= dict(_vocabulary_match(part, beginnings, words))
    return numbers


def _vocabulary_match(
    part: Model, texts: Sequence[str], length: Floats
) -> Iterator[tuple[str, Floats]]:
    """Yield numbers [note] on the match of words and the vocabulary of a part of a model."""
    tokenizer, tfidf = part.tokenizer, part.tfidf
    if tokenizer is not None:
        encoded = tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        pieces = np.array([max(1, len(one.ids)) for one in encoded], dtype=np.float64)
        yield "tokens_per_word", pieces / np.maximum(1.0, length)
        unknown = _unknown_token(tokenizer)
        if unknown is not None:
            missed = np.array([one.ids.count(unknown) for one in encoded], dtype=np.float64)
            yield "unknown_tokens", missed / pieces
        return
    if tfidf is None:
        return
    vectorizer = tfidf.blocks.get("words")
    if vectorizer is None:
        return
    prepare, split = vectorizer.build_preprocessor(), vectorizer.build_tokenizer()
    known = vectorizer.vocabulary_
    shares = []
    for text in texts:
        words = split(prepare(text))
        shares.append(sum(word not in known for word in words) / max(1, len(words)))
    yield UNKNOWN_WORDS, np.array(shares, dtype=np.float64)


def _unknown_token(tokenizer: Tokenizer) -> int | None:
    """Return the id of the tokenizer's unknown token, if it has one."""
    for name in ("[UNK]", "<unk>"):
        number = tokenizer.token_to_id(name)
        if number is not None:
            return int(number)
    return None
