"""Exact and near duplicates across parts: text that a model could have learned by heart."""

import re
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer

from clinadapt.notes import Notes
from clinadapt.split import PARTS, Split

SHINGLE_WORDS = 5
WORD = r"(?u)\b\w+\b"
NEAR = 0.5
ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class Duplicate:
    """Two notes of different parts with the same, or nearly the same, text."""

    kind: str
    id_a: str
    part_a: str
    id_b: str
    part_b: str
    similarity: float


def across_parts(notes: Notes, split: Split, near: float = NEAR) -> list[Duplicate]:
    """Find pairs of notes in two parts that share much of their text.

    Similarity is the Jaccard index of the sets of 5-word shingles (Broder 1997), computed exactly
    through sparse products; 1 with equal words is "exact". Notes of fewer than five words are
    compared as a whole.

    Parameters
    ----------
    notes : Notes
    split : Split
    near : float
        Smallest similarity that is reported.

    Returns
    -------
    list of Duplicate
        Most similar first. Each note of a later part is listed once, with its nearest note of an
        earlier part.
    """
    shingles = HashingVectorizer(
        ngram_range=(SHINGLE_WORDS, SHINGLE_WORDS),
        binary=True,
        norm=None,
        alternate_sign=False,
        n_features=2**22,
        token_pattern=WORD,
    )
    matrix = shingles.transform([_padded(text) for text in notes.texts]).tocsr()
    sizes = np.asarray(matrix.sum(axis=1)).ravel()
    rows_by_part = split.parts()
    part_of = {row: name for name, rows in rows_by_part.items() for row in rows.tolist()}
    found = []
    for position, later in enumerate(PARTS[1:], start=1):
        earlier = np.concatenate([rows_by_part[name] for name in PARTS[:position]])
        for start in range(0, len(rows_by_part[later]), ROWS_AT_ONCE):
            rows = rows_by_part[later][start : start + ROWS_AT_ONCE]
            for row, match, similarity in _nearest(matrix, sizes, rows, earlier):
                if similarity < near:
                    continue
                same = notes.texts[row].split() == notes.texts[match].split()
                found.append(
                    Duplicate(
                        kind="exact" if same else "near",
                        id_a=notes.ids[match],
                        part_a=part_of[match],
                        id_b=notes.ids[row],
                        part_b=later,
                        similarity=float(similarity),
                    )
                )
    return sorted(found, key=lambda pair: (-pair.similarity, pair.id_b))


def _padded(text: str) -> str:
    """Text with enough words for one shingle."""
    missing = SHINGLE_WORDS - len(re.findall(WORD, text))
    return text + " short" * missing if missing > 0 else text


def _nearest(
    matrix: sparse.csr_matrix,
    sizes: np.ndarray,
    rows: np.ndarray,
    among: np.ndarray,
) -> list[tuple[int, int, float]]:
    """Most similar row of `among` for each of `rows` that shares a shingle with any."""
    shared = (matrix[rows] @ matrix[among].T).tocoo()
    union = sizes[rows[shared.row]] + sizes[among[shared.col]] - shared.data
    similarity = shared.data / union
    order = np.lexsort((shared.col, -similarity, shared.row))
    first = np.unique(shared.row[order], return_index=True)[1]
    best = order[first]
    return [
        (int(rows[shared.row[i]]), int(among[shared.col[i]]), float(similarity[i])) for i in best
    ]
