"""Describe problems of labelled notes by row number, without quoting their text."""

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.messages import Message

KINDS = {"notes": Message("notes"), "patients (groups)": Message("patients (groups)")}
BAD_ROWS = Message(
    "{reason} in {rows}: correct the table, or leave these rows out with --leave-out-bad (the "
    "results then list them)"
)
BAD_ROWS_OR_NONE = Message(
    "{reason} in {rows}: correct the table, or leave these rows out with --leave-out-bad (the "
    "results then list them). A note with no label is written as {none}"
)
SHOWN_ROWS = 10
SHOWN_VALUES = 10
LONGEST_SHOWN = 60
MOST_WORDS = 4
NAME = re.compile(r"[^\W\d_][\w.:/#%()-]*")  # of a column: one word, as identifiers are


class RowNumbers:
    """Count of the rows that a problem concerns, and the numbers of the first few."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[int] = []

    def add(self, rows: NDArray[np.int64]) -> None:
        """Add row numbers, counted from 1."""
        self.count += len(rows)
        self.first += rows[: SHOWN_ROWS - len(self.first)].tolist()

    def __bool__(self) -> bool:
        return self.count > 0

    def __str__(self) -> str:
        return str(self.words)

    @property
    def words(self) -> Message:
        """Their count, and the first of them."""
        said = {"count": self.count, "rows": self.first}
        if self.count <= SHOWN_ROWS:
            return Message("{count} row(s): {rows}", **said)
        more = self.count - SHOWN_ROWS
        return Message("{count} row(s): {rows} and {more} more", **said, more=more)


def bad_rows(empty: RowNumbers, unlabelled: RowNumbers, none: str | None) -> list[str]:
    """Return what to do about rows without text, and about rows without label.

    Parameters
    ----------
    empty, unlabelled : RowNumbers
    none : str, optional
        How a note without any label is written, where that is possible.
    """
    problems: list[str] = []
    if empty:
        problems.append(Message(BAD_ROWS, reason=Message("empty text"), rows=empty.words))
    if unlabelled and none:
        text = BAD_ROWS_OR_NONE
        problems.append(
            Message(text, reason=Message("missing label"), rows=unlabelled.words, none=none)
        )
    elif unlabelled:
        problems.append(Message(BAD_ROWS, reason=Message("missing label"), rows=unlabelled.words))
    return problems


def shown_values(values: Sequence[str], spell: Callable[[str], str] = repr) -> str:
    """List values for a message, or only their number if they are long and thus may be notes."""
    if not all(map(_is_short, values)):
        return f"{len(values)} long values (is it the right column?)"
    more = f" and {len(values) - SHOWN_VALUES} more" if len(values) > SHOWN_VALUES else ""
    return ", ".join(spell(value) for value in values[:SHOWN_VALUES]) + more


def shown_columns(names: Sequence[str], are_data: bool = False) -> str:
    """List the names of a table's columns for a message, as far as they are no content.

    In a table without a header the names are the cells of a note. Of names that may be such, only
    the number is told.

    Parameters
    ----------
    names : sequence of str
    are_data : bool
        Whether it is known that they are no names.
    """
    count = f"{len(names)} column{'s' * (len(names) != 1)}"
    if are_data or not all(map(_is_short, names)):
        return (
            f"{count}, whose names look like data and are not shown. Is the header, the first row "
            f"with the names of the columns, missing?"
        )
    named = [name for name in names if len(name) <= LONGEST_SHOWN // 2 and NAME.fullmatch(name)]
    shown = ", ".join(named[:SHOWN_VALUES])
    others = len(names) - len(named[:SHOWN_VALUES])
    if not others:
        return shown or "no columns"
    if shown:
        return f"{shown} and {others} more"
    return f"{count} with names of several words. Is the first row the header?"


def _is_short(value: str) -> bool:
    """Return whether a value may be a name or a class, rather than the text of a note."""
    return len(value) <= LONGEST_SHOWN and len(value.split()) <= MOST_WORDS


def class_problems(
    carriers: dict[str, int], kind: str, minimum: int, positive: str | None, single: bool
) -> list[str]:
    """Return problems of the classes that prevent a study.

    Parameters
    ----------
    carriers : dict of str to int
        Number of notes, or patients, with each class.
    kind : str
        Kind of carrier, for messages: "notes" or "patients (groups)".
    minimum : int
        Number of carriers that each class needs.
    positive : str, optional
        Requested positive class.
    single : bool
        Whether each note has exactly one class.
    """
    if len(carriers) < 2:
        present = shown_values(list(carriers)) or "none"
        return [
            Message(
                "expected at least two classes, got {n} (labels: {present})",
                n=len(carriers),
                present=present,
            )
        ]
    problems: list[str] = []
    rare = sorted(name for name, count in carriers.items() if count < minimum)
    if rare:
        names = shown_values(rare, lambda name: f"{name!r} ({carriers[name]})")
        problems.append(
            Message(
                "{n} class(es) with fewer than {minimum} {kind}, too few for training, validation "
                "and test: {names}. Merge these classes or leave them out",
                n=len(rare),
                minimum=minimum,
                kind=KINDS[kind],
                names=names,
            )
        )
    for mark in "|;,":
        if rare and single and sum(mark in name for name in carriers) > len(carriers) // 2:
            problems.append(
                Message(
                    "many labels contain {mark!r}: if notes can have several labels, use "
                    "--separator {mark!r}",
                    mark=mark,
                )
            )
            break
    if positive is not None and (len(carriers) > 2 or not single):
        problems.append(
            Message(
                "--positive names one of two classes, but there are {n}: leave it out",
                n=len(carriers),
            )
        )
    elif positive is not None and positive not in carriers:
        known = shown_values(sorted(carriers))
        problems.append(
            Message(
                "--positive {positive!r} is not a label; labels: {known}",
                positive=positive,
                known=known,
            )
        )
    return problems


def label_marks(
    rows: NDArray[np.int64], codes: NDArray[np.int64], notes: int
) -> NDArray[np.uint64]:
    """Return a hash of each note's set of classes [note] (Zobrist hashing)."""
    random = np.random.default_rng(0)
    class_marks = random.integers(2**64, size=codes.max(initial=0) + 1, dtype=np.uint64)
    marks = np.zeros(notes, dtype=np.uint64)
    np.bitwise_xor.at(marks, rows, class_marks[codes])
    return marks


def repeated_texts(
    hashes: NDArray[np.uint64], numbers: NDArray[np.int64], marks: NDArray[np.uint64]
) -> list[str]:
    """Return warnings about rows with the same text, first those with different labels."""
    if not len(hashes):
        return []
    order = np.argsort(hashes, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(hashes[order]) != 0])
    ends = np.r_[starts[1:], len(order)]
    differ = np.minimum.reduceat(marks[order], starts) != np.maximum.reduceat(marks[order], starts)
    by_first_row = np.argsort(order[starts], kind="stable")
    findings = []
    for what, concerned in (
        ("with different labels", differ),
        ("more than once", ends - starts > 1),
    ):
        rows, texts = RowNumbers(), by_first_row[concerned[by_first_row]]
        for start, end in zip(starts[texts].tolist(), ends[texts].tolist(), strict=True):
            rows.add(numbers[order[start:end]])
        if rows:
            findings.append(f"the same text {what}: {len(texts)} text(s), in {rows}")
    return findings
