"""TF-IDF features of words, and optionally of characters, for the models of word counts."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from clinadapt.core import safe_files
from clinadapt.core.errors import InputError

TERMS_FILE, IDF_FILE = "terms.json", "idf.safetensors"
TERMS_BYTES = 2**29  # of word pairs of a million notes: 200 MB
CHARACTERS = (3, 5)
WORDS_AT_ONCE = 10_000
LONG = 2**20  # characters of a note whose terms are counted one by one
WORD, NOT_SPACE = re.compile(r"(?u)\b\w\w+\b"), re.compile(r"\S+")


class Vectorizer(TfidfVectorizer):  # type: ignore[misc]
    """scikit-learn's vectorizer, in constant memory for notes of many megabytes.

    scikit-learn lists all terms of a note before it counts them, some hundred bytes each.
    """

    def build_analyzer(self) -> Callable[[str], Iterable[str]]:
        """Return the function from a note to its terms."""
        usual, prepare = super().build_analyzer(), self.build_preprocessor()
        one_by_one = word_terms if self.analyzer == "word" else character_terms

        def terms(text: str) -> Iterable[str]:
            if len(text) < LONG:
                listed: list[str] = usual(text)
                return listed
            return one_by_one(prepare(text), *self.ngram_range)

        return terms


def word_terms(text: str, least: int, most: int) -> Iterator[str]:
    """Yield the word n-grams of a text in lower case, some thousand words at a time."""
    matches = WORD.finditer(text)
    before: list[str] = []
    while new := [match.group() for match in islice(matches, WORDS_AT_ONCE)]:
        words = before + new
        for size in range(least, most + 1):
            # Those that end among the new words.
            first = max(0, len(before) - size + 1)
            yield from map(
                " ".join, zip(*(words[first + at :] for at in range(size)), strict=False)
            )
        before = words[max(0, len(words) - most + 1) :]


def character_terms(text: str, least: int, most: int) -> Iterator[str]:
    """Yield the character n-grams within the words of a text in lower case."""
    for match in NOT_SPACE.finditer(text):
        padded = f" {match.group()} "
        for size in range(least, most + 1):
            for start in range(max(1, len(padded) - size + 1)):
                yield padded[start : start + size]
            if len(padded) <= size:  # a short word is counted once
                break


class TfidfFeatures:
    """Word n-grams, and character n-grams within words, weighted by TF-IDF.

    Lower case, accents kept, sub-linear term frequency; the rows of each block have norm 1.

    Parameters
    ----------
    words : int
        Longest word n-gram.
    characters : bool
        Add n-grams of 3 to 5 characters: robust to typing errors, with several times more features.
        Where a language has no spaces between words, they are the only features.
    max_features : int, optional
        Keep the most frequent terms of each block.
    min_notes : int
        Number of notes that must contain a term for it to be kept. Terms are written into a bundle.
    """

    def __init__(
        self,
        words: int = 2,
        characters: bool = False,
        max_features: int | None = None,
        min_notes: int = 2,
    ) -> None:
        shared = {"sublinear_tf": True, "min_df": min_notes, "max_features": max_features}
        self.blocks = {"words": Vectorizer(ngram_range=(1, words), dtype=np.float64, **shared)}
        if characters:
            self.blocks["characters"] = Vectorizer(
                analyzer="char_wb", ngram_range=CHARACTERS, dtype=np.float64, **shared
            )

    def fit(self, texts: Sequence[str]) -> "TfidfFeatures":
        """Learn the terms and their weights from training notes.

        Raises
        ------
        InputError
            No term occurs in enough notes.
        """
        with_terms = {}
        for name, vectorizer in self.blocks.items():
            if vectorizer.min_df == 2 and len(texts) < 4:  # too few for a term to recur
                vectorizer.set_params(min_df=1)
            try:
                with_terms[name] = vectorizer.fit(texts)
            except ValueError:  # no term is left
                continue
        if not with_terms:
            least = self.blocks["words"].min_df
            raise InputError(
                f"no word of two letters or more occurs in {least} of {len(texts)} training notes: "
                "TF-IDF needs more or longer notes, or a smaller min_notes; for text without "
                "spaces between words, TF-IDF + logistic regression has characters = true"
            )
        self.blocks = with_terms
        return self

    def readable(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether each note has any of the terms [note]."""
        found = np.array([self._knows_a_word(text) for text in texts], dtype=np.bool_)
        for note in np.flatnonzero(~found).tolist():
            found[note] = self.transform([texts[note]]).nnz > 0
        return found

    def _knows_a_word(self, text: str) -> bool:
        """Return whether a word of the text is a term; faster than counting all terms."""
        words = self.blocks.get("words")
        return words is not None and any(
            match.group() in words.vocabulary_ for match in WORD.finditer(text.lower())
        )

    def transform(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Return the features as a matrix [note, feature]."""
        blocks = [vectorizer.transform(texts) for vectorizer in self.blocks.values()]
        return sparse.hstack(blocks, format="csr")

    def __len__(self) -> int:
        return sum(len(vectorizer.vocabulary_) for vectorizer in self.blocks.values())

    def save(self, folder: Path) -> None:
        """Write the terms as JSON and their weights as safetensors."""
        folder.mkdir(parents=True, exist_ok=True)
        terms = {
            name: sorted(vectorizer.vocabulary_, key=vectorizer.vocabulary_.__getitem__)
            for name, vectorizer in self.blocks.items()
        }
        text = json.dumps(terms, ensure_ascii=False)
        (folder / TERMS_FILE).write_text(text, encoding="utf-8")
        save_file(
            {name: vectorizer.idf_ for name, vectorizer in self.blocks.items()},
            folder / IDF_FILE,
        )

    def load(self, folder: Path) -> "TfidfFeatures":
        """Read what `save` wrote."""
        terms = safe_files.read_json(folder / TERMS_FILE, TERMS_BYTES)
        _check_terms(terms, set(self.blocks))
        self.blocks = {name: each for name, each in self.blocks.items() if name in terms}
        shapes = {name: (len(listed),) for name, listed in terms.items()}
        idf = safe_files.read_arrays(folder / IDF_FILE, shapes)
        for name, vectorizer in self.blocks.items():
            vectorizer.set_params(
                vocabulary={term: column for column, term in enumerate(terms[name])}
            )
            vectorizer.idf_ = idf[name]
        return self


def _check_terms(terms: Any, blocks: set[str]) -> None:
    """Raise unless every block that has terms has a list of distinct ones."""
    if not isinstance(terms, dict) or not terms or not set(terms) <= blocks:
        raise InputError(f"{TERMS_FILE}: expected terms of {', '.join(sorted(blocks))}")
    for name, listed in terms.items():
        texts = isinstance(listed, list) and listed and all(isinstance(t, str) for t in listed)
        if not texts or len(set(listed)) < len(listed):
            raise InputError(f"{TERMS_FILE}: expected a list of distinct terms of {name}")
