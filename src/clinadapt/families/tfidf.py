"""TF-IDF of words, and of characters if wanted: what the three sparse families stand on."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer

from clinadapt.errors import InputError

CHARACTERS = (3, 5)


class TfidfFeatures:
    """Word n-grams, and character n-grams within words, weighted by TF-IDF.

    Lower case, accents kept, sub-linear term frequency, terms of at least two notes; each of the
    two blocks has rows of length 1.

    Parameters
    ----------
    words : int
        Longest word n-gram.
    characters : bool
        Add n-grams of 3 to 5 characters: robust to typing errors, and several times the features.
    max_features : int, optional
        Keep the most frequent terms of each block.
    """

    def __init__(
        self, words: int = 2, characters: bool = False, max_features: int | None = None
    ) -> None:
        shared = {"sublinear_tf": True, "min_df": 2, "max_features": max_features}
        self.blocks = {"words": TfidfVectorizer(ngram_range=(1, words), dtype=np.float64, **shared)}
        if characters:
            self.blocks["characters"] = TfidfVectorizer(
                analyzer="char_wb", ngram_range=CHARACTERS, dtype=np.float64, **shared
            )

    def fit(self, texts: Sequence[str]) -> "TfidfFeatures":
        """Learn the terms and their weights from training notes."""
        for vectorizer in self.blocks.values():
            if len(texts) < 2 * vectorizer.min_df:  # too few notes for a term to recur
                vectorizer.set_params(min_df=1)
            try:
                vectorizer.fit(texts)
            except ValueError:
                raise InputError(
                    f"no words of two letters or more recur in {len(texts)} training notes: "
                    "TF-IDF needs more notes, or longer ones"
                ) from None
        return self

    def transform(self, texts: Sequence[str]) -> sparse.csr_matrix:
        """Matrix [note, feature]."""
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
        (folder / "terms.json").write_text(text, encoding="utf-8")
        save_file(
            {name: vectorizer.idf_ for name, vectorizer in self.blocks.items()},
            folder / "idf.safetensors",
        )

    def load(self, folder: Path) -> "TfidfFeatures":
        """Read what `save` wrote."""
        terms = json.loads((folder / "terms.json").read_text(encoding="utf-8"))
        idf = load_file(folder / "idf.safetensors")
        for name, vectorizer in self.blocks.items():
            vectorizer.set_params(
                vocabulary={term: column for column, term in enumerate(terms[name])}
            )
            vectorizer.idf_ = idf[name]
        return self
