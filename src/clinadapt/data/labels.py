"""Labels of binary, multi-class and multi-label tasks, all represented by an indicator matrix."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.errors import InputError

Task = Literal["binary", "multiclass", "multilabel"]
POSITIVE_NAMES = ("1", "true", "yes", "positive", "pos", "oui", "positif", "case", "present")


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of a set of notes.

    Attributes
    ----------
    task : {"binary", "multiclass", "multilabel"}
    classes : ndarray of shape [class]
        Names of the classes; in a binary task the second class is the positive one.
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
    def target(self) -> NDArray[np.int64]:
        """Class codes [note], or a 0/1 indicator [note, class] if multi-label, for scikit-learn."""
        if self.task == "multilabel":
            return self.matrix.astype(np.int64)
        return self.matrix.argmax(axis=1)

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


def positive_last(classes: Sequence[Any], positive: Any | None = None) -> list[Any]:
    """Order the two classes of a binary task so that the positive one is second.

    The positive class is `positive` if given, else the class with a name such as 1, yes or
    positive, else the second class of the given order.

    Raises
    ------
    InputError
        `positive` is not one of the classes.
    """
    ordered = list(classes)
    if positive is not None:
        if positive not in ordered:
            raise InputError(f"the positive class {positive!r} is not one of the labels {ordered}")
        return sorted(ordered, key=lambda name: name == positive)
    return sorted(ordered, key=lambda name: str(name).lower() in POSITIVE_NAMES)


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
        Positive class of a binary task.

    Raises
    ------
    InputError
        There are fewer than two classes, or the positive class is unknown.
    """
    carried = np.bincount(codes, minlength=len(names)) > 0
    classes = sorted(name for name, is_carried in zip(names, carried, strict=True) if is_carried)
    if len(classes) < 2:
        raise InputError(
            f"expected at least two classes, got {len(classes)} ({classes})"
            if single
            else f"expected at least two labels in a multi-label task, got {classes}"
        )
    task: Task = "multilabel" if not single else "binary" if len(classes) == 2 else "multiclass"
    if task == "binary":
        classes = positive_last(classes, positive)
    column = {name: number for number, name in enumerate(classes)}
    matrix = np.zeros((notes, len(classes)), dtype=np.bool_)
    matrix[rows, np.array([column.get(name, -1) for name in names])[codes]] = True
    return Labels(task, np.array(classes), matrix)


def is_indicator(y: Any) -> bool:
    """Return whether `y` is a table [note, class], not one class or collection per note."""
    if hasattr(y, "shape"):
        return len(y.shape) == 2
    rows = list(y)
    return (
        all(isinstance(row, list | tuple | np.ndarray) for row in rows)
        and len({len(row) for row in rows}) == 1
        and all(
            isinstance(value, int | float | np.number | np.bool_) for row in rows for value in row
        )
    )


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def from_target(y: Any, positive: Any | None = None) -> Labels:
    """Return labels from any form of `y` that scikit-learn users pass.

    Parameters
    ----------
    y : array-like
        Classes [note]; or collections of classes [note] (multi-label); or a 0/1 indicator matrix
        [note, class] (multi-label).
    positive : optional
        Positive class of a binary task.

    Raises
    ------
    InputError
        Labels are absent, missing for some notes, or not in one of these forms.
    """
    to_list = getattr(y, "to_list", None) or getattr(y, "tolist", None)
    rows = to_list() if to_list else list(y)
    if not rows:
        raise InputError("expected at least one label, got none")
    missing = [at for at, row in enumerate(rows) if row is None or _is_nan(row)]
    if missing:
        raise InputError(
            f"missing label at {len(missing)} position(s), first {missing[0]}: leave these notes "
            "out"
        )
    if is_indicator(y):
        matrix = np.asarray(y)
        if matrix.ndim == 2 and matrix.shape[1] == 1:  # a column vector
            return from_target(matrix[:, 0], positive)
        if not np.isin(matrix, (0, 1)).all():
            raise InputError("expected an indicator matrix of zeros and ones as a 2-D y")
        return Labels("multilabel", np.arange(matrix.shape[1]), matrix.astype(np.bool_))
    if all(isinstance(row, list | tuple | set | frozenset) for row in rows):
        return from_sets(rows)
    return from_single(rows, positive)
