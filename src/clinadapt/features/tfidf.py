"""TF-IDF features of words, and optionally of characters, for the models of word counts."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from clinadapt.core import safe_files
from clinadapt.core.errors import InputError

TERMS_FILE, IDF_FILE = "terms.json", "idf.safetensors"
TERMS_BYTES = 2**29  # of word pairs of a million notes: 200 MB
CHARACTERS = (3, 5)


class TfidfFeatures:
    """Word n-grams, and character n-grams within words, weighted by TF-IDF.

    Lower case, accents kept, sub-linear term frequency; the rows of each block have norm 1.

    Parameters
    ----------
    words : int
        Longest word n-gram.
    characters : bool
        Add n-grams of 3 to 5 characters: robust to typing errors, with several times more features.
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
        self.blocks = {"words": TfidfVectorizer(ngram_range=(1, words), dtype=np.float64, **shared)}
        if characters:
            self.blocks["characters"] = TfidfVectorizer(
                analyzer="char_wb", ngram_range=CHARACTERS, dtype=np.float64, **shared
            )

    def fit(self, texts: Sequence[str]) -> "TfidfFeatures":
        """Learn the terms and their weights from training notes."""
        for vectorizer in self.blocks.values():
            if vectorizer.min_df == 2 and len(texts) < 4:  # too few for a term to recur
                vectorizer.set_params(min_df=1)
            try:
                vectorizer.fit(texts)
            except ValueError:
                raise InputError(
                    f"no word of two letters or more occurs in {vectorizer.min_df} of {len(texts)} "
                    "training notes: TF-IDF needs more or longer notes, or a smaller min_notes"
                ) from None
        return self

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
        shapes = {name: (len(listed),) for name, listed in terms.items()}
        idf = safe_files.read_arrays(folder / IDF_FILE, shapes)
        for name, vectorizer in self.blocks.items():
            vectorizer.set_params(
                vocabulary={term: column for column, term in enumerate(terms[name])}
            )
            vectorizer.idf_ = idf[name]
        return self


def _check_terms(terms: Any, blocks: set[str]) -> None:
    """Raise unless every block has a list of distinct terms."""
    if not isinstance(terms, dict) or set(terms) != blocks:
        raise InputError(f"{TERMS_FILE}: expected terms of {', '.join(sorted(blocks))}")
    for name, listed in terms.items():
        texts = isinstance(listed, list) and listed and all(isinstance(t, str) for t in listed)
        if not texts or len(set(listed)) < len(listed):
            raise InputError(f"{TERMS_FILE}: expected a list of distinct terms of {name}")
