"""What is wrong with labelled notes, in words: rows by number, never their text."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

SHOWN_ROWS = 10
SHOWN_VALUES = 10
LONGEST_SHOWN = 60


class RowNumbers:
    """Rows of a finding: how many they are, and the first few."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[int] = []

    def add(self, rows: NDArray[np.int64]) -> None:
        """Add row numbers, where 1 is the first row."""
        self.count += len(rows)
        self.first += rows[: SHOWN_ROWS - len(self.first)].tolist()

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        more = f" and {self.count - SHOWN_ROWS} more" if self.count > SHOWN_ROWS else ""
        return f"{self.count} row(s): {', '.join(map(str, self.first))}{more}"


def shown_values(values: Sequence[str], spell: Callable[[str], str] = repr) -> str:
    """Some values for a message; only their number if they are long, for they may be notes."""
    if any(len(value) > LONGEST_SHOWN for value in values):
        return f"{len(values)} long values (is it the right column?)"
    more = f" and {len(values) - SHOWN_VALUES} more" if len(values) > SHOWN_VALUES else ""
    return ", ".join(spell(value) for value in values[:SHOWN_VALUES]) + more


def class_problems(
    carriers: dict[str, int], kind: str, minimum: int, positive: str | None, single: bool
) -> list[str]:
    """Classes that a study cannot do with.

    Parameters
    ----------
    carriers : dict of str to int
        Notes, or patients, that carry each class.
    kind : str
        What the carriers are, in words.
    minimum : int
        Carriers that each class needs.
    positive : str, optional
        Positive class that was asked for.
    single : bool
        Whether a note is to carry one class only.
    """
    if len(carriers) < 2:
        found = shown_values(list(carriers)) or "none"
        return [f"one class only (found: {found}): expected at least two to tell apart"]
    problems = []
    rare = sorted(name for name, count in carriers.items() if count < minimum)
    if rare:
        names = shown_values(rare, lambda name: f"{name!r} ({carriers[name]})")
        problems.append(
            f"{len(rare)} class(es) with fewer than {minimum} {kind}, too few for training, "
            f"validation and test: {names}. Merge them or leave them out"
        )
    for mark in "|;,":
        if rare and single and sum(mark in name for name in carriers) > len(carriers) // 2:
            problems.append(
                f"many labels contain {mark!r}: if a note can carry several labels, "
                f"say --separator {mark!r}"
            )
            break
    if positive is not None and positive not in carriers:
        known = shown_values(sorted(carriers))
        problems.append(f"--positive {positive!r} is not a label; labels: {known}")
    return problems


def label_marks(
    rows: NDArray[np.int64], codes: NDArray[np.int64], notes: int
) -> NDArray[np.uint64]:
    """A number a note that is the same for the same set of classes (Zobrist hashing)."""
    random = np.random.default_rng(0)
    of_class = random.integers(2**64, size=codes.max(initial=0) + 1, dtype=np.uint64)
    marks = np.zeros(notes, dtype=np.uint64)
    np.bitwise_xor.at(marks, rows, of_class[codes])
    return marks


def repeated_texts(
    hashes: NDArray[np.uint64], numbers: NDArray[np.int64], marks: NDArray[np.uint64]
) -> list[str]:
    """Name rows that repeat a text, with the same labels or, worse, with others."""
    if not len(hashes):
        return []
    order = np.argsort(hashes, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(hashes[order]) != 0])
    ends = np.r_[starts[1:], len(order)]
    differ = np.minimum.reduceat(marks[order], starts) != np.maximum.reduceat(marks[order], starts)
    by_first_row = np.argsort(order[starts], kind="stable")
    findings = []
    for what, are in (("with two labels", differ), ("more than once", ends - starts > 1)):
        rows, found = RowNumbers(), by_first_row[are[by_first_row]]
        for start, end in zip(starts[found].tolist(), ends[found].tolist(), strict=True):
            rows.add(numbers[order[start:end]])
        if rows:
            findings.append(f"the same text {what}: {len(found)} text(s), in {rows}")
    return findings
