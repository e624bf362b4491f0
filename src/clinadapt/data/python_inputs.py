"""Texts, labels and patients as Python callers pass them, checked like the columns of a table."""

import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import DataConversionWarning

from clinadapt.core.errors import InputError
from clinadapt.data import positive_class
from clinadapt.data.checks import SHOWN_ROWS
from clinadapt.data.label_spelling import look_alikes, tidy
from clinadapt.data.labels import Labels, from_sets, from_single
from clinadapt.data.tables.table import MISSING_WORDS
from clinadapt.data.text_store import Texts

COLLECTIONS = (list, tuple, Set, np.ndarray)


def as_texts(X: Any) -> Texts:
    """Return texts as a column.

    Parameters
    ----------
    X : sequence of str, or frame with one column
        Lists, tuples, arrays and series; a frame is read by its only column.

    Raises
    ------
    InputError
        Something is not a text, or is blank; the message states positions.
    """
    if isinstance(X, Texts):
        values: Sequence[Any] = X
    else:
        values = _column(X, "texts", "X")
    others = [(at, value) for at, value in enumerate(values) if not isinstance(value, str)]
    if others:
        raise InputError(
            f"expected texts, got other types at {_positions([at for at, _ in others])} "
            f"({_types(value for _, value in others)})"
        )
    if blank := [at for at, text in enumerate(values) if not text.strip()]:
        raise InputError(f"empty text at {_positions(blank)}: leave these out")
    return Texts.of(values)


def as_clusters(groups: Any) -> NDArray[np.int64]:
    """Return the number of the patient of each note [note], in the order of the names as text.

    Raises
    ------
    InputError
        See `as_units`.
    """
    # As objects: NumPy's own text has no "\0" at the end.
    return np.unique(np.array(as_units(groups), dtype=object), return_inverse=True)[1]


def as_units(groups: Any) -> list[str]:
    """Return the name of the patient of each note [note] as text.

    Raises
    ------
    InputError
        A patient is missing, or the values are of several types, so that one patient may be two.
    """
    units = _column(groups, "groups, one per text", "groups")
    if missing := [at for at, unit in enumerate(units) if _is_missing(unit)]:
        raise InputError(
            f"missing group at {_positions(missing)}: a note without a known patient needs a name "
            "of its own, or must be left out"
        )
    _refuse_mixed([[unit] for unit in units], "groups")
    whole = (int(one) if isinstance(one, float) and one.is_integer() else one for one in units)
    return [str(one).strip() for one in whole]


def is_indicator(y: Any) -> bool:
    """Return whether `y` is a table [note, class], not one class or collection per note."""
    table = _as_table(y)
    return table is not None and table.shape[1] > 1


def _as_table(y: Any) -> NDArray[Any] | None:
    """Return labels with two axes, as an indicator or a column vector has; None for others."""
    if hasattr(y, "__array__"):
        table = np.asarray(y)
        return table if table.ndim == 2 else None
    rows = list(y)
    is_table = (
        all(isinstance(row, list | tuple | np.ndarray) for row in rows)
        and len({len(row) for row in rows}) == 1
        and all(isinstance(one, int | float | np.number | np.bool_) for row in rows for one in row)
    )
    return np.asarray(rows) if is_table else None


def as_labels(y: Any, positive: Any | None = None) -> Labels:
    """Return labels from any form of `y` that scikit-learn users pass.

    Where the names of two classes do not say which is positive, or names look alike, a warning is
    given.

    Parameters
    ----------
    y : array-like
        Classes [note]: text, whole numbers or bool; or collections of classes [note] (multi-label,
        blank names are dropped); or a 0/1 indicator matrix [note, class] (multi-label).
    positive : optional
        Positive class of a binary task.

    Raises
    ------
    InputError
        Labels are absent, missing for some notes, or not in one of these forms.
    """
    if y is None:
        raise InputError("fit requires y to be passed, but the target y is None: pass the labels")
    _refuse_containers(y, "labels, one per text", "y")
    table = _as_table(y)
    if table is not None and table.shape[1] != 1:
        return _from_indicator(table)
    if table is not None:
        y = table[:, 0]
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected: it is read as one class "
            "per note",
            DataConversionWarning,
            stacklevel=3,
        )
    rows = _column(y, "labels, one per text", "y")
    if not rows:
        raise InputError("expected at least one label, got none")
    several = [isinstance(row, COLLECTIONS) for row in rows]
    missing = [
        at
        for at, row in enumerate(rows)
        if (any(map(_is_null, row)) if several[at] else _is_missing(row))
    ]
    if missing:
        raise InputError(f"missing label at {_positions(missing)}: leave these notes out")
    if all(several):
        named = _classes([list(row) for row in rows])
        return from_sets([[one for one in row if not _is_missing(one)] for row in named])
    if any(several):
        at = several.index(not several[0])
        raise InputError(
            f"expected one class per note, or a collection of classes for each, got both: the "
            f"first other one is at position {at}"
        )
    classes = [one for (one,) in _classes([[row] for row in rows])]
    counts = Counter(classes)
    labels = from_single(classes, positive)
    notices = look_alikes(counts)
    if words := [word for word in MISSING_WORDS if word in counts]:
        notices.append(
            f"{', '.join(map(repr, words))} count as classes: if they mean that the label is "
            f"missing, leave these notes out"
        )
    if labels.task == "binary" and positive is None:
        chosen = positive_class.choose(counts)
        notices += [] if chosen.warning is None else [chosen.warning]
    for notice in notices:
        warnings.warn(notice, stacklevel=3)
    return labels


def _from_indicator(table: NDArray[Any]) -> Labels:
    rows = table.tolist()
    if missing := [at for at, row in enumerate(rows) if any(map(_is_null, row))]:
        raise InputError(f"missing label at {_positions(missing)}: leave these notes out")
    if not all(value in (0, 1) for row in rows for value in row):
        raise InputError("expected an indicator matrix of zeros and ones as a 2-D y")
    return Labels("multilabel", np.arange(table.shape[1]), table.astype(np.bool_))


def _classes(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Return the classes of each note as plain str, int, float or bool, all of one kind."""
    plain = [[one.item() if isinstance(one, np.generic) else one for one in row] for row in rows]
    if unlike := _where(plain, lambda one: not isinstance(one, str | int | float)):
        types = _types(one for at in unlike for one in plain[at])
        raise InputError(
            f"expected classes that are text, whole numbers or bool, got other types at "
            f"{_positions(unlike)} ({types})"
        )
    _refuse_mixed(plain, "labels")
    if null := _where(plain, lambda one: isinstance(one, str) and "\0" in one):
        raise InputError(f"a null character in the class at {_positions(null)}: remove it")
    if broken := _where(plain, lambda one: isinstance(one, float) and not one.is_integer()):
        raise InputError(
            f"Unknown label type: continuous numbers at {_positions(broken)}; expected classes"
        )
    return plain


# ---------------------------------------------------------------- what is no column


def _column(values: Any, what: str, name: str) -> list[Any]:
    """Return a list-like, or the only column of a table, as a list."""
    _refuse_containers(values, what, name)
    if hasattr(values, "__array__") and not hasattr(values, "__iter__"):
        values = np.asarray(values)
    shape = getattr(values, "shape", None)
    if shape is not None and len(shape) != 1:
        if len(shape) != 2 or shape[1] != 1:
            raise InputError(f"expected {what}, got {name} of shape {list(shape)}: pass one column")
        values = np.asarray(values, dtype=object)[:, 0]
    for to_list in ("to_list", "tolist", "to_pylist"):
        if hasattr(values, to_list):
            return list(getattr(values, to_list)())
    return list(values)


def _refuse_containers(values: Any, what: str, name: str) -> None:
    """Refuse what can be iterated, but not as a column."""
    kind = type(values).__name__
    if not hasattr(values, "__iter__") and not hasattr(values, "__array__"):
        raise InputError(f"expected {what}, but {name} cannot be {values!r:.20}")
    if isinstance(values, str | bytes):
        raise InputError(f"expected {what}, got one string as {name}: put it in a list")
    if isinstance(values, Mapping):
        raise InputError(f"expected {what}, got a {kind} as {name}: pass one of its columns")
    if isinstance(values, Iterator) and name != "X":
        raise InputError(f"expected {what}, got a {kind} as {name}: pass a list")
    if isinstance(values, Set):
        raise InputError(f"expected {what}, got a {kind} as {name}, which has no order")
    if hasattr(values, "tocsr"):
        raise InputError(f"expected {what}, got a sparse matrix as {name}: pass a dense array")
    if hasattr(values, "column_names"):  # a table of pyarrow or datasets
        raise InputError(f"expected {what}, got a {kind} as {name}: pass one of its columns")


def _is_null(value: Any) -> bool:
    """Return whether a value is None, NaN, NaT or pandas' NA."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, float | np.floating | np.datetime64 | np.timedelta64) and bool(
        value != value
    )


def _is_missing(value: Any) -> bool:
    return _is_null(value) or (isinstance(value, str) and not tidy(value))


def _refuse_mixed(rows: Sequence[Sequence[Any]], what: str) -> None:
    """Refuse values of several kinds, of which equal ones may look different: 1 and "1"."""
    first = next((_kind(one) for row in rows for one in row), "")
    if unlike := _where(rows, lambda one: _kind(one) != first):
        types = _types(one for at in unlike for one in rows[at] if _kind(one) != first)
        raise InputError(
            f"expected {what} of one type, got {first} and other types at {_positions(unlike)} "
            f"({types}): convert them to one"
        )


def _where(rows: Sequence[Sequence[Any]], holds: Callable[[Any], bool]) -> list[int]:
    """Return the positions of the notes with a value for which something holds."""
    return [at for at, row in enumerate(rows) if any(map(holds, row))]


def _kind(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "bool"
    if isinstance(value, int | float | np.number):
        return "number"
    return "str" if isinstance(value, str) else type(value).__name__


def _positions(at: Sequence[int]) -> str:
    more = f" and {len(at) - SHOWN_ROWS} more" if len(at) > SHOWN_ROWS else ""
    return f"{len(at)} position(s): {', '.join(map(str, at[:SHOWN_ROWS]))}{more}"


def _types(values: Iterable[Any]) -> str:
    return ", ".join(sorted({type(value).__name__ for value in values}))
