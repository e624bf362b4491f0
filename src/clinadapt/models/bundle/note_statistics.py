"""What is read off notes to see whether they have changed: numbers a note, and frequent words.

Words are of letters only, so numbers, dates and identifiers are none, nor a part of one. Kept are
those that many training notes share; all others are counted together.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from clinadapt.models.contract import Model

WORD = re.compile(r"\b[^\W\d_]{2,}\b")
MOST_WORDS, LONGEST_WORD = 300, 60
# A word is kept if so many training notes hold it, and such a share of them.
LEAST_NOTES, LEAST_SHARE = 20, 0.02
Floats = NDArray[np.float64]


def words_of(text: str) -> list[str]:
    """Words of letters of a text, in lower case."""
    return WORD.findall(text.lower())


def general_words(texts: Sequence[str]) -> list[str]:
    """Words that most training notes hold, most frequent first; none if no word is so frequent."""
    holding = Counter(word for text in texts for word in set(words_of(text)))
    least = max(LEAST_NOTES, LEAST_SHARE * len(texts))
    general = [
        word for word, notes in holding.items() if notes >= least and len(word) <= LONGEST_WORD
    ]
    return sorted(general, key=lambda word: (-holding[word], word))[:MOST_WORDS]


def count_words(texts: Sequence[str], kept: Sequence[str]) -> Floats:
    """Counts [note, word] of the kept words; the last column is of all others."""
    columns = {word: number for number, word in enumerate(kept)}
    table = np.zeros((len(texts), len(kept) + 1))
    for row, text in enumerate(texts):
        for word, times in Counter(words_of(text)).items():
            table[row, columns.get(word, -1)] += times
    return table


def readings(model: Model, texts: Sequence[str]) -> dict[str, Floats]:
    """Numbers of each note [note], by name: length, and how its words fit the model's vocabulary.

    Parameters
    ----------
    model : fitted model
    texts : sequence of str
    """
    length = np.array([len(text.split()) for text in texts], dtype=np.float64)
    found = {"length": length}
    for part in model.fitted_parts():
        found |= dict(_fit(part, texts, length))
    return found


def _fit(part: Model, texts: Sequence[str], length: Floats) -> Iterator[tuple[str, Floats]]:
    """How words fit what a part of a model knows."""
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
    # One that was fitted on the notes of the reference, too, knows all their words.
    if tfidf is None or part.refit:
        return
    vectorizer = tfidf.blocks["words"]
    prepare, cut = vectorizer.build_preprocessor(), vectorizer.build_tokenizer()
    known = vectorizer.vocabulary_
    shares = []
    for text in texts:
        words = cut(prepare(text))
        shares.append(sum(word not in known for word in words) / max(1, len(words)))
    yield "unknown_words", np.array(shares, dtype=np.float64)


def _unknown_token(tokenizer: Tokenizer) -> int | None:
    """Number of the token that stands for what the tokenizer does not know, if it has one."""
    for name in ("[UNK]", "<unk>"):
        number = tokenizer.token_to_id(name)
        if number is not None:
            return int(number)
    return None
