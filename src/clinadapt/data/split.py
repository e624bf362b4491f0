"""Split notes into training, validation and test parts, patient-disjoint and stratified.

Patients are assigned whole, those with the rarest classes and the most notes first, as in iterative
stratification (Sechidis, Tsoumakas & Vlahavas, ECML-PKDD 2011). Each goes to the part whose squared
distance from the wanted numbers of notes, of every class and in all, grows least. A need relative
to the size of a part would send the first big patient to the smallest part, and with it most of a
rare class. No patient brings more than half of a part's notes of a class while smaller ones can
fill it: scores of a part stand on its patients, not on its notes. Unlike scikit-learn's splitters,
this supports binary, multi-class and multi-label tasks and any fractions.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from clinadapt.core.atomic_files import atomic_path, read_json
from clinadapt.core.errors import InputError
from clinadapt.data.checks import shown_values
from clinadapt.data.notes import Notes
from clinadapt.data.text_store import Texts

PARTS = ("train", "validation", "test")
SYNONYMS = {
    "train": "train",
    "training": "train",
    "dev": "validation",
    "valid": "validation",
    "val": "validation",
    "validation": "validation",
    "test": "test",
}
SHOWN_GROUPS = 10
CLUSTERS_AT_ONCE = 4096
MOST_OF_A_CLASS = 0.5  # share of a part's notes of a class that one patient may bring


@dataclass(frozen=True, eq=False)
class Split:
    """Row numbers of each part.

    Attributes
    ----------
    train, validation, test : ndarray of int64
        Ascending row numbers; disjoint.
    """

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]

    def parts(self) -> dict[str, NDArray[np.int64]]:
        """Row numbers by the name of the part."""
        return {name: getattr(self, name) for name in PARTS}


def thinned(split: Split, notes: Notes, share: float, draw: int) -> Split:
    """Return a split with a share of the training and validation notes and all test notes.

    All notes of randomly drawn patients are kept, and at least one patient of each class.

    Parameters
    ----------
    split : Split
    notes : Notes
    share : float
        Share of the notes to keep.
    draw : int
        Seed of the random draw.
    """
    generator = np.random.default_rng([draw, round(1e6 * share)])
    kept = {}
    for name in ("train", "validation"):
        rows = getattr(split, name)
        chosen = _draw(notes.labels.matrix[rows], notes.clusters[rows], share, generator)
        kept[name] = rows[chosen]
    return replace(split, **kept)


def _draw(
    matrix: NDArray[np.bool_],
    clusters: NDArray[np.int64],
    share: float,
    generator: np.random.Generator,
) -> NDArray[np.bool_]:
    """Mark a share of the notes, of randomly drawn patients: one per class first, then any."""
    names, cluster_of = np.unique(clusters, return_inverse=True)
    order = generator.permutation(len(names))
    place = np.empty(len(names), dtype=np.int64)
    place[order] = np.arange(len(names))
    ahead = []
    for carried in matrix.T:
        carriers = np.unique(cluster_of[carried])
        if len(carriers):
            ahead.append(int(carriers[np.argmin(place[carriers])]))
    first = np.array(list(dict.fromkeys(ahead)), dtype=np.int64)
    order = np.r_[first, order[~np.isin(order, first)]]
    # The number of patients that brings the number of notes nearest to the share, at least one.
    notes = np.cumsum(np.bincount(cluster_of)[order])
    count = 1 + int(np.argmin(np.abs(notes - share * len(matrix))))
    return np.isin(cluster_of, order[: max(count, len(first))])


def partition(
    matrix: NDArray[np.bool_],
    clusters: NDArray[np.int64],
    fractions: Sequence[float],
    seed: int,
) -> NDArray[np.int64]:
    """Assign clusters of notes to parts of given sizes, each with its share of every class.

    Parameters
    ----------
    matrix : ndarray of bool, shape [note, class]
    clusters : ndarray of int64, shape [note]
        Notes of one cluster stay together.
    fractions : sequence of float
        Share of the notes that each part should get; they sum to 1.
    seed : int

    Returns
    -------
    ndarray of int64, shape [note]
        Number of the part of each note.
    """
    generator = np.random.default_rng(seed)
    names, cluster_of = np.unique(clusters, return_inverse=True)
    classes = matrix.shape[1]
    # Sparse, because of many classes a patient has few. The last column counts all notes, so that
    # sizes are balanced like a class.
    rows, columns = np.nonzero(matrix)
    carried = np.r_[cluster_of[rows], cluster_of], np.r_[columns, np.full(len(matrix), classes)]
    ones = np.ones(len(carried[0]), np.int64)
    counts = sparse.csr_array((ones, carried), (len(names), classes + 1))
    counts.sum_duplicates()

    totals = counts.sum(axis=0).astype(np.float64)
    # Rare classes weigh more: missing one of ten is worse than missing one of a thousand.
    weights = np.divide(1.0, totals, out=np.zeros_like(totals), where=totals > 0)
    difficulty = np.maximum.reduceat(counts.data * weights[counts.indices], counts.indptr[:-1])
    order = generator.permutation(len(names))
    order = order[np.argsort(-difficulty[order], kind="stable")]

    part_of_cluster = np.empty(len(names), dtype=np.int64)
    part_of_cluster[order] = _deal(counts, order, (weights**2).tolist(), fractions)
    return part_of_cluster[cluster_of]


def _limits(counts: sparse.csr_array, wanted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the most notes of each class that one patient may bring to a part [part, class].

    There is a limit only where the patients within it have twice the notes that the part wants, so
    that limiting it never leaves it without a class.
    """
    limits = MOST_OF_A_CLASS * wanted
    by_class = counts.tocsc()
    for column, (first, end) in enumerate(pairwise(by_class.indptr.tolist())):
        ascending = np.sort(by_class.data[first:end])
        below = np.r_[0, np.cumsum(ascending)]
        within = below[np.searchsorted(ascending, limits[:, column], side="right")]
        limits[within < 2 * wanted[:, column], column] = np.inf
    return limits


def _deal(
    counts: sparse.csr_array,
    order: NDArray[np.int64],
    weights: list[float],
    fractions: Sequence[float],
) -> list[int]:
    """Return the part of each cluster, in the given order of assignment.

    A cluster goes to the part for which the sum over classes of
    (got + own - wanted)² / (total² · fraction) grows least; `weights` are 1 / total². Parts whose
    limits it exceeds come last, and the last clusters of a class go to the parts without it.

    Each choice depends on all earlier ones and uses a handful of numbers only, so plain Python
    takes a fifth of the time of array operations here.
    """
    wanted = np.outer(fractions, counts.sum(axis=0))
    limits: list[list[float]] = _limits(counts, wanted).tolist()
    left: list[list[float]] = wanted.tolist()  # wanted - got
    carriers: list[int] = counts.count_nonzero(axis=0).tolist()  # clusters not yet assigned
    without = [{n for n, size in enumerate(fractions) if size > 0} for _ in carriers]
    sizes = [max(float(fraction), 1e-12) for fraction in fractions]
    parts = []
    for start in range(0, len(order), CLUSTERS_AT_ONCE):
        some = counts[order[start : start + CLUSTERS_AT_ONCE]]
        all_pairs = list(zip(some.indices.tolist(), some.data.tolist(), strict=True))
        for first, end in pairwise(some.indptr.tolist()):
            pairs = all_pairs[first:end]
            last = [c for c, _ in pairs if carriers[c] <= len(without[c])]
            waiting = set().union(*(without[column] for column in last))
            part, least = 0, (True, True, math.inf)
            for number, missing in enumerate(left):
                growth, crowded = 0.0, False
                for column, count in pairs:
                    growth += weights[column] * count * (count - 2.0 * missing[column])
                    crowded |= count > limits[number][column]
                cost = (number not in waiting, crowded, growth / sizes[number])
                if cost < least:
                    part, least = number, cost
            for column, count in pairs:
                left[part][column] -= count
                carriers[column] -= 1
                without[column].discard(part)
            parts.append(part)
    return parts


def make_split(
    notes: Notes, test_fraction: float = 0.3, validation_fraction: float = 0.15, seed: int = 0
) -> Split:
    """Split notes by their official parts if they have any, else at random by patient.

    Parameters
    ----------
    notes : Notes
    test_fraction : float
        Share of all notes for the test part (30 % in the paper).
    validation_fraction : float
        Share of the remaining notes for the validation part.
    seed : int

    Returns
    -------
    Split

    Raises
    ------
    InputError
        A group is in two parts, a part has an unknown name, is empty or lacks a class.
    """
    if notes.parts is not None:
        part_of = _official(notes, validation_fraction, seed)
    else:
        rest = 1.0 - test_fraction
        fractions = (rest * (1 - validation_fraction), rest * validation_fraction, test_fraction)
        part_of = partition(notes.labels.matrix, notes.clusters, fractions, seed)
    split = Split(*(np.flatnonzero(part_of == number) for number in range(len(PARTS))))
    problems = problems_of(notes, split)
    if problems:
        raise InputError(problems)
    return split


def carve_validation(
    matrix: NDArray[np.bool_], clusters: NDArray[np.int64], fraction: float, seed: int
) -> NDArray[np.bool_]:
    """Mark the notes of the training part to use for validation instead [note]."""
    return partition(matrix, clusters, (1.0 - fraction, fraction), seed) == 1


def _official(notes: Notes, validation_fraction: float, seed: int) -> NDArray[np.int64]:
    """Return the part of each note by the split column, with validation from train if absent."""
    assert notes.parts is not None
    official = list(dict.fromkeys(notes.parts))
    unknown = [name for name in official if name.lower() not in SYNONYMS]
    names = {SYNONYMS[name.lower()] for name in official if name.lower() in SYNONYMS}
    if unknown or "train" not in names or len(names) < 2:
        raise InputError(
            f"the split column must name the parts train, dev/valid/validation and test "
            f"(or train and one of the others); it has: {shown_values(official)}"
        )
    meaning = dict(SYNONYMS)
    if "test" not in names:  # with two parts only, the second is the test part
        meaning |= {name: "test" for name, part in SYNONYMS.items() if part == "validation"}
    number = {name: PARTS.index(meaning[name.lower()]) for name in official}
    parts = np.fromiter((number[name] for name in notes.parts), np.int64, len(notes))

    shared = _groups_in_two_parts(notes, parts)
    if shared:
        shown = ", ".join(map(repr, shared[:SHOWN_GROUPS]))
        more = f" and {len(shared) - SHOWN_GROUPS} more" if len(shared) > SHOWN_GROUPS else ""
        raise InputError(
            f"{len(shared)} group(s) are in two parts of the split column: {shown}{more}. "
            "Move each to one part, or omit --split to let clinadapt make a disjoint split"
        )
    if not (parts == PARTS.index("validation")).any():
        train = np.flatnonzero(parts == PARTS.index("train"))
        carved = carve_validation(
            notes.labels.matrix[train], notes.clusters[train], validation_fraction, seed
        )
        parts[train[carved]] = PARTS.index("validation")
    return parts


def _groups_in_two_parts(notes: Notes, parts: NDArray[np.int64]) -> list[str]:
    if notes.groups is None:
        return []
    pairs, first = np.unique(notes.clusters * len(PARTS) + parts, return_index=True)
    clusters = pairs // len(PARTS)
    again = np.flatnonzero(np.diff(clusters) == 0)
    rows = first[again[np.unique(clusters[again], return_index=True)[1]]]
    return list(notes.groups.take(rows))  # clusters are numbered in the order of their names


def problems_of(notes: Notes, split: Split) -> list[str]:
    """Return the problems that prevent training on a split or scoring it."""
    problems = []
    for name, rows in split.parts().items():
        if not len(rows):
            problems.append(f"the {name} part is empty: provide more notes or patients")
            continue
        absent = notes.labels.classes[~notes.labels.matrix[rows].any(axis=0)]
        # A rare class may be missing from an official test part, but it must be learnable.
        if len(absent) and (name == "train" or notes.labels.task == "binary"):
            listed = ", ".join(map(str, absent))
            problems.append(f"class(es) without notes in the {name} part: {listed}")
    return problems


def save_split(split: Split, ids: Texts, path: Path) -> None:
    """Write the ids of each part as JSON, atomically."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as file:
        for number, (name, rows) in enumerate(split.parts().items()):
            file.write(f"{',' if number else '{'}\n{json.dumps(name)}: [")
            for at, block in enumerate(ids.take(rows).blocks()):
                listed = json.dumps(block, ensure_ascii=False, indent=0)[1:-2]
                file.write(f",{listed}" if at else listed)
            file.write("\n]")
        file.write("\n}")


def read_split(path: Path, ids: Texts) -> Split | None:
    """Return a split that `save_split` wrote; None if there is none of exactly these ids.

    A study keeps the split it began with, also where a later version would make another.
    """
    saved = read_json(path)
    if not isinstance(saved, dict) or not all(isinstance(saved.get(n), list) for n in PARTS):
        return None
    if sum(len(saved[name]) for name in PARTS) > len(ids):
        return None
    row_of = {name: row for row, name in enumerate(ids)}
    try:
        rows = {name: sorted(row_of[entry] for entry in saved[name]) for name in PARTS}
    except (KeyError, TypeError):
        return None
    if len(row_of) != sum(map(len, rows.values())):
        return None
    return Split(*(np.array(rows[name], dtype=np.int64) for name in PARTS))
