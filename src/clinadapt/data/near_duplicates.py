"""Find exact and near duplicates across parts, which a model could have memorised.

The search for near duplicates is exact. It uses the prefix filter of set-similarity joins
(Chaudhuri, Ganti & Kaushik, ICDE 2006; Bayardo, Ma & Srikant, WWW 2007): two sets with a Jaccard
index of t share one of the |x| - ceil(t |x|) + 1 rarest shingles of each. The notes of earlier
parts are compared in blocks with an index of the later ones. If there are very many later notes, a
random sample of them is searched, which bounds memory and time.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from clinadapt.data.columns import SPACE
from clinadapt.data.notes import Notes
from clinadapt.data.split import PARTS, Split
from clinadapt.data.text_store import Texts

SHINGLE_WORDS = 5
NEAR = 0.5
MOST_SEARCHED = 50_000  # notes of later parts
MOST_COMPARISONS = 10**8  # pairs of notes in total
NOTES_AT_ONCE, PAIRS_AT_ONCE = 1024, 2**14

Hashes = NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two notes of different parts with the same, or nearly the same, text."""

    kind: str
    id_a: str
    part_a: str
    id_b: str
    part_b: str
    similarity: float


class Duplicates(list[Duplicate]):
    """List of duplicate pairs, most similar first, with the extent of the search.

    Attributes
    ----------
    later : int
        Number of notes of later parts that have no exact copy in an earlier part.
    searched : int
        Number of these notes, drawn at random, for which near duplicates were searched.
    """

    def __init__(self, pairs: Iterable[Duplicate], later: int, searched: int) -> None:
        super().__init__(sorted(pairs, key=lambda pair: (-pair.similarity, pair.id_b)))
        self.later = later
        self.searched = searched


def across_parts(notes: Notes, split: Split, near: float = NEAR) -> Duplicates:
    """Find pairs of notes in two parts that share much of their text.

    Similarity is the Jaccard index of the sets of 5-word shingles (Broder 1997). Notes with the
    same words are "exact" duplicates. Notes of fewer than five words are one shingle.

    Parameters
    ----------
    notes : Notes
    split : Split
    near : float
        Smallest similarity to report, above 0.

    Returns
    -------
    Duplicates
        Each note of a later part at most once, with its most similar note of an earlier part.
    """
    part_of = np.empty(len(notes), dtype=np.int64)
    for number, rows in enumerate(split.parts().values()):
        part_of[rows] = number
    found = similar(notes.texts, part_of, near)
    return Duplicates(
        (
            Duplicate(
                kind=kind,
                id_a=notes.ids[match],
                part_a=PARTS[part_of[match]],
                id_b=notes.ids[row],
                part_b=PARTS[part_of[row]],
                similarity=similarity,
            )
            for row, match, similarity, kind in found.pairs
        ),
        later=found.later,
        searched=found.searched,
    )


@dataclass(frozen=True, slots=True)
class Similar:
    """Texts of later parts that resemble one of an earlier part.

    Attributes
    ----------
    pairs : list of (int, int, float, str)
        Row, its most similar row of an earlier part, similarity, and "exact" or "near".
    later, searched : int
        As in `Duplicates`.
    """

    pairs: list[tuple[int, int, float, str]]
    later: int
    searched: int


def similar(texts: Texts, part_of: NDArray[np.int64], near: float = NEAR) -> Similar:
    """Find texts that share much with a text of an earlier part; see `across_parts`.

    Parameters
    ----------
    texts : Texts
    part_of : ndarray of int64, shape [text]
        Number of each text's part, from 0.
    near : float
        Smallest similarity to report, above 0.
    """
    last = int(part_of.max(initial=0))
    copy_of = _exact_copies(texts, part_of)
    pairs = [
        (row, int(copy_of[row]), 1.0, "exact") for row in np.flatnonzero(copy_of >= 0).tolist()
    ]
    later = np.flatnonzero((copy_of < 0) & (part_of > 0))
    chosen = np.random.default_rng(0).permutation(later)[:MOST_SEARCHED]
    earlier = max(1, int((part_of < last).sum()))
    index = _Index(texts, chosen, near, MOST_COMPARISONS / earlier)
    for number in range(last):
        index.drop(part_of[index.rows] > number)
        rows = np.flatnonzero(part_of == number)
        for start in range(0, len(rows), NOTES_AT_ONCE):
            index.pass_by(texts, rows[start : start + NOTES_AT_ONCE])
    pairs += [(row, match, similarity, "near") for row, match, similarity in index.matches()]
    return Similar(pairs, later=len(later), searched=index.searched)


def _exact_copies(texts: Texts, part_of: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the first row of an earlier part with the same words, or -1 if none [note]."""
    hashes = np.concatenate(
        [
            pl.Series(block)
            .str.replace_all(f"{SPACE}+", " ")
            .str.strip_chars(" ")
            .hash()
            .to_numpy()
            for block in texts.blocks()
        ]
    )
    order = np.lexsort((part_of, hashes))  # among copies, the earliest part first
    starts = np.flatnonzero(np.r_[True, np.diff(hashes[order]) != 0])
    first = np.repeat(order[starts], np.diff(np.r_[starts, len(order)]))
    copy_of = np.full(len(texts), -1)
    is_copy = part_of[first] < part_of[order]
    copy_of[order[is_copy]] = first[is_copy]
    return copy_of


def _shingles(texts: list[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """Return the hashes of each text's distinct shingles, end to end, and offsets [text + 1]."""
    words = pl.Series(texts).str.to_lowercase().str.extract_all(r"\w+")
    lengths = words.list.len().to_numpy().astype(np.int64)
    padded = np.maximum(lengths, SHINGLE_WORDS)
    ends = np.cumsum(padded)
    hashes = np.zeros(int(ends[-1]), dtype=np.uint64)  # 0 pads texts of fewer than five words
    within = np.arange(len(hashes)) - np.repeat(ends - padded, padded)
    hashes[within < np.repeat(lengths, padded)] = words.explode().drop_nulls().hash().to_numpy()
    counts = padded - SHINGLE_WORDS + 1
    starts = np.flatnonzero(within < np.repeat(counts, padded))
    mixed = np.zeros(len(starts), dtype=np.uint64)
    for offset in range(SHINGLE_WORDS):
        mixed = (mixed ^ hashes[starts + offset]) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(32)
    owner = np.repeat(np.arange(len(texts)), counts)
    order = np.lexsort((mixed, owner))
    mixed, owner = mixed[order], owner[order]
    new = np.r_[True, (np.diff(mixed) != 0) | (np.diff(owner) != 0)]
    return mixed[new], np.searchsorted(owner[new], np.arange(len(texts) + 1))


class _Index:
    """Index of the shingles of later notes, with the most similar earlier note of each so far."""

    def __init__(
        self, texts: Texts, rows: NDArray[np.int64], near: float, comparisons: float
    ) -> None:
        self.rows, self.near, self.comparisons = rows, near, comparisons  # per earlier note
        self.searched = len(rows)
        self.best = np.zeros(len(rows))
        self.match = np.zeros(len(rows), dtype=np.int64)
        self.done: list[tuple[int, int, float]] = []
        if not len(rows):
            return
        parts = [_shingles(block) for block in texts.take(rows).blocks()]
        self.sizes = np.concatenate([np.diff(starts) for _, starts in parts])
        self.names, places, carriers = np.unique(
            np.concatenate([hashes for hashes, _ in parts]), return_inverse=True, return_counts=True
        )
        # Prefixes of later and of earlier notes must use the same order, rarest shingles first.
        rank = np.empty(len(self.names), dtype=np.int64)
        rank[np.argsort(carriers, kind="stable")] = np.arange(len(self.names))
        self.rank = rank
        self.all, self.prefix = self._matrices(rank[places], self.sizes, self.sizes)

    def _matrices(
        self, ranks: NDArray[np.int64], known: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> tuple[sparse.csr_matrix, sparse.csr_matrix]:
        """Return matrices [note, shingle] of all known shingles and of those in the prefix.

        A note has `sizes` shingles, `known` of which are in the index; the others count as rarer.
        """
        owner = np.repeat(np.arange(len(known)), known)
        order = np.lexsort((ranks, owner))
        columns, starts = ranks[order], np.r_[0, np.cumsum(known)]
        shape = (len(known), len(self.names))
        every = sparse.csr_matrix((np.ones(len(columns), np.int32), columns, starts), shape)
        length = sizes - np.ceil(self.near * sizes - 1e-9).astype(np.int64) + 1 - (sizes - known)
        kept = np.arange(len(columns)) - starts[owner] < length[owner]
        starts = np.r_[0, np.cumsum(np.clip(length, 0, known))]
        ones = np.ones(int(kept.sum()), np.int32)
        return every, sparse.csr_matrix((ones, columns[kept], starts), shape)

    def drop(self, keep: NDArray[np.bool_]) -> None:
        """Restrict the index to some of the later notes; results of the others are kept."""
        self.done += self._results(~keep)
        self.rows, self.best, self.match = self.rows[keep], self.best[keep], self.match[keep]
        if len(keep):
            self.sizes, self.all, self.prefix = self.sizes[keep], self.all[keep], self.prefix[keep]

    def pass_by(self, texts: Texts, rows: NDArray[np.int64]) -> None:
        """Compare a block of earlier notes with the notes of the index."""
        if not len(self.rows):
            return
        hashes, starts = _shingles(list(texts.take(rows)))
        at = np.minimum(np.searchsorted(self.names, hashes), len(self.names) - 1)
        is_known = self.names[at] == hashes
        known = np.diff(np.r_[0, np.cumsum(is_known)][starts])
        sizes = np.diff(starts)
        every, prefix = self._matrices(self.rank[at[is_known]], known, sizes)
        carriers = np.bincount(self.prefix.indices, minlength=len(self.names))
        while carriers[prefix.indices].sum() > self.comparisons * len(rows) and len(self.rows) > 1:
            self._halve()
            carriers = np.bincount(self.prefix.indices, minlength=len(self.names))
        shared = (prefix @ self.prefix.T).tocoo()
        note, later = shared.row, shared.col
        both = np.zeros(len(note))
        for start in range(0, len(note), PAIRS_AT_ONCE):
            pairs = slice(start, start + PAIRS_AT_ONCE)
            products = every[note[pairs]].multiply(self.all[later[pairs]])
            both[pairs] = np.asarray(products.sum(axis=1)).ravel()
        similarity = both / (sizes[note] + self.sizes[later] - both)
        order = np.lexsort((note, -similarity, later))
        order = order[np.unique(later[order], return_index=True)[1]]
        better = order[similarity[order] > self.best[later[order]]]
        self.best[later[better]] = similarity[better]
        self.match[later[better]] = rows[note[better]]

    def _halve(self) -> None:
        """Drop half of the later notes, which are in random order, to limit comparisons."""
        half = len(self.rows) // 2
        self.searched -= len(self.rows) - half
        self.best[half:] = 0
        self.drop(np.arange(len(self.rows)) < half)

    def matches(self) -> Iterator[tuple[int, int, float]]:
        """Yield the later row, the earlier row and the similarity of each near duplicate."""
        yield from self.done
        yield from self._results(np.ones(len(self.rows), dtype=np.bool_))

    def _results(self, which: NDArray[np.bool_]) -> list[tuple[int, int, float]]:
        rows = np.flatnonzero(which & (self.best >= self.near))
        columns = self.rows[rows].tolist(), self.match[rows].tolist(), self.best[rows].tolist()
        return list(zip(*columns, strict=True))
