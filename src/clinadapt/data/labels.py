"""Labels of binary, multi-class and multi-label tasks, all represented by an indicator matrix."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.errors import InputError
from clinadapt.data.positive_class import choose, quoted, shown_name

Task = Literal["binary", "multiclass", "multilabel"]
NAMED_CLASSES = 6  # of more, only the number is told
MOST_CELLS = 2**31  # notes times classes; a byte each


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of a set of notes.

    Attributes
    ----------
    task : {"binary", "multiclass", "multilabel"}
    classes : ndarray of shape [class]
        Names of the classes, sorted; but in a binary task the negative one, then the positive one.
    matrix : ndarray of bool, shape [note, class]
        True where the note has the class; single-label tasks have one True per note.
    """

    task: Task
    classes: NDArray[Any]
    matrix: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.matrix)

    def take(self, rows: NDArray[np.int64]) -> "Labels":
        """Return the labels of some notes, with the same task and classes."""
        return Labels(self.task, self.classes, self.matrix[rows])

    def join(self, other: "Labels") -> "Labels":
        """Return these labels followed by others of the same task."""
        return Labels(self.task, self.classes, np.vstack([self.matrix, other.matrix]))

    @property
    def positive(self) -> Any | None:
        """The positive class of a binary task; None in other tasks."""
        return self.classes.tolist()[1] if self.task == "binary" else None

    @property
    def target(self) -> NDArray[np.int64]:
        """Class codes [note], or a 0/1 indicator [note, class] if multi-label, for scikit-learn."""
        if self.task == "multilabel":
            return self.matrix.astype(np.int64)
        return self.matrix.argmax(axis=1)

    def counts(self) -> dict[Any, int]:
        """Return the number of notes of each class."""
        return dict(zip(self.classes.tolist(), self.matrix.sum(axis=0).tolist(), strict=True))

    def in_words(self) -> str:
        """Return the task and the number of notes of each class, or of classes if they are many."""
        if len(self.classes) > NAMED_CLASSES:
            return f"{self.task}: {len(self.classes):,} classes"
        counts = self.counts().items()
        return f"{self.task}: " + ", ".join(f"{shown_name(c)} {n:,}" for c, n in counts)

    def decode(self) -> NDArray[Any]:
        """Return the class of each note [note]; an object array of tuples if multi-label."""
        return decode(self.task, self.classes, self.matrix)


def decode(task: Task, classes: NDArray[Any], matrix: NDArray[np.bool_]) -> NDArray[Any]:
    """Convert an indicator matrix [note, class] back into classes [note]."""
    if task != "multilabel":
        return classes[matrix.argmax(axis=1)]
    decoded = np.empty(len(matrix), dtype=object)
    for row, carried in enumerate(matrix):
        decoded[row] = tuple(classes[carried].tolist())
    return decoded


def from_single(values: Sequence[Any], positive: Any | None = None) -> Labels:
    """Return labels from one class per note: binary with two classes, multi-class with more."""
    code = {name: number for number, name in enumerate(dict.fromkeys(values))}
    codes = np.fromiter((code[value] for value in values), dtype=np.int64, count=len(values))
    rows = np.arange(len(values))
    return from_codes(list(code), rows, codes, len(values), single=True, positive=positive)


def from_sets(values: Sequence[Iterable[Any]]) -> Labels:
    """Return multi-label labels from a collection of classes per note, possibly empty."""
    sets = [set(value) for value in values]
    code = {name: number for number, name in enumerate(set().union(*sets))}
    codes = np.array([code[name] for carried in sets for name in carried], dtype=np.int64)
    rows = np.repeat(np.arange(len(sets)), [len(carried) for carried in sets])
    return from_codes(list(code), rows, codes, len(sets), single=False)


def from_codes(
    names: Sequence[Any],
    rows: NDArray[np.int64],
    codes: NDArray[np.int64],
    notes: int,
    single: bool,
    positive: Any | None = None,
) -> Labels:
    """Return labels from pairs of a note and a class that it has.

    Parameters
    ----------
    names : sequence
        Distinct classes in any order; those that no note has are left out.
    rows, codes : ndarray of int64, shape [pair]
        Number of the note, and index of the class in `names`.
    notes : int
        Number of notes.
    single : bool
        Whether each note has exactly one class.
    positive : optional
        Positive class of a binary task; default: `positive_class.choose`.

    Raises
    ------
    InputError
        There are fewer than two classes, more than a matrix can hold, or the positive class is
        unknown.
    """
    carriers = np.bincount(codes, minlength=len(names)).tolist()
    counts = {name: count for name, count in zip(names, carriers, strict=True) if count}
    classes = sorted(counts)
    if len(classes) < 2:
        listed = ", ".join(map(quoted, classes))
        raise InputError(
            f"expected at least two classes, got {len(classes)} class: {listed}"
            if single
            else f"expected at least two labels in a multi-label task, got {listed or 'none'}"
        )
    task: Task = "multilabel" if not single else "binary" if len(classes) == 2 else "multiclass"
    if len(classes) * notes > MOST_CELLS:
        raise InputError(
            f"{len(classes):,} classes of {notes:,} notes are too many to learn: is it the right "
            "column?"
        )
    if task == "binary":
        chosen = choose(counts, positive)
        classes = [chosen.other, chosen.name]
    column = {name: number for number, name in enumerate(classes)}
    matrix = np.zeros((notes, len(classes)), dtype=np.bool_)
    matrix[rows, np.array([column.get(name, -1) for name in names])[codes]] = True
    return Labels(task, np.array(classes), matrix)
