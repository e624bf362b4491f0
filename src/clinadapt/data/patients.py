"""Patients as the units of a study: their notes in one text each, and the label that they have.

What reads a patient is given a *document*: the notes joined by `SEPARATOR`. A text without one is
the document of a patient with a single note, so that whatever takes texts also takes patients.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.errors import InputError
from clinadapt.core.messages import Message
from clinadapt.data.labels import Labels
from clinadapt.data.levels import GroupLabel
from clinadapt.data.notes import Notes
from clinadapt.data.split import Split
from clinadapt.data.text_store import Texts, TextWriter

MARK = "\x1e"  # ASCII's record separator, which is white space to Python and to tokenizers
SEPARATOR = f"\n{MARK}\n"
AT_ONCE = 256  # documents
SEVERAL = "several values"
COUNT = Message("number of notes")  # of a patient, a column that describes it


def patient_documents(texts: Sequence[str], groups: Any) -> tuple[list[str], Texts]:
    """Return the names of the patients, sorted, and the document of each: its notes in one text.

    A classifier from a study of patients (``level = "group"``) reads such documents.

    Parameters
    ----------
    texts : sequence of str
    groups : array-like, shape [note]
        Patient of each note.

    Raises
    ------
    InputError
        Texts or groups are not valid, or not of the same number.

    Examples
    --------
    >>> from clinadapt import patient_documents
    >>> patients, documents = patient_documents(["toux", "apyrétique", "fièvre"], ["b", "a", "b"])
    >>> patients
    ['a', 'b']
    >>> len(documents)
    2
    """
    # Reads whatever a Python program passes, with libraries that a command need not load.
    from clinadapt.data.python_inputs import as_texts, as_units

    column, units = as_texts(texts), as_units(groups)
    if len(column) != len(units):
        raise InputError(
            f"expected as many groups as texts, got {len(column)} texts, {len(units)} groups"
        )
    names, clusters = np.unique(np.array(units, dtype=object), return_inverse=True)
    return names.tolist(), documents_of(column, clusters)


def documents_of(texts: Texts, clusters: NDArray[np.int64]) -> Texts:
    """Return the document of each patient, by ascending number; notes keep their order.

    Parameters
    ----------
    texts : Texts [note]
    clusters : ndarray of int64, shape [note]
        Number of the patient of each note.
    """
    rows, first = by_patient(clusters)
    writer = TextWriter()
    for start in range(0, len(first) - 1, AT_ONCE):
        ends = first[start : start + AT_ONCE + 1]
        notes = iter(texts.take(rows[ends[0] : ends[-1]]))
        writer.append([joined(islice(notes, count)) for count in np.diff(ends).tolist()])
    return writer.finish()


def by_patient(clusters: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the notes ordered by patient [note], and where each patient begins [patient + 1]."""
    rows = np.argsort(clusters, kind="stable")
    starts = np.flatnonzero(np.diff(clusters[rows], prepend=-1))
    return rows, np.r_[starts, len(rows)]


def joined(notes: Iterable[str]) -> str:
    """Return the document of one patient's notes."""
    return SEPARATOR.join(note.replace(MARK, " ") for note in notes)


def notes_of(documents: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the notes of documents, and the position in them of each note's document [note]."""
    split = [document.split(SEPARATOR) for document in documents]
    owner = np.repeat(np.arange(len(split)), list(map(len, split)))
    return [note for notes in split for note in notes], owner


# ---------------------------------------------------------------- labels


def patients_of(notes: Notes, rule: GroupLabel | None = None) -> Notes:
    """Return patients as `Notes`: one document, id and label each, in the order of their names.

    Parameters
    ----------
    notes : Notes
        Notes with groups.
    rule : "any", optional
        Label of a patient whose notes do not agree, see `patient_labels`.

    Raises
    ------
    InputError
        The notes have no groups, or notes of a patient do not agree and no rule covers it.
    """
    if notes.groups is None:
        raise InputError(
            'level "group" needs to know the patient of each note: name the column with --group '
            "(in Python: Columns(group=…))"
        )
    clusters = np.unique(notes.clusters, return_inverse=True)[1]
    rows, first = by_patient(clusters)
    heads = rows[first[:-1]]
    described = {
        name: _shared(column, rows, first) for name, column in notes.characteristics.items()
    }
    return replace(
        notes,
        ids=notes.groups.take(heads),
        groups=notes.groups.take(heads),
        texts=documents_of(notes.texts, clusters),
        labels=patient_labels(notes.labels, clusters, rule),
        parts=None if notes.parts is None else notes.parts.take(heads),
        characteristics={COUNT: Texts.of(map(str, np.diff(first).tolist())), **described},
    )


def patient_labels(
    labels: Labels, clusters: NDArray[np.int64], rule: GroupLabel | None = None
) -> Labels:
    """Return the label of each patient [patient]: that of its notes, if they agree.

    Parameters
    ----------
    labels : Labels
        Labels of the notes.
    clusters : ndarray of int64, shape [note]
        Number of the patient of each note, from 0 without gaps.
    rule : "any", optional
        If given, a patient with a positive note is positive, and a patient has every label of any
        of its notes. It says nothing about classes that exclude each other.

    Raises
    ------
    InputError
        Notes of a patient do not agree, and no rule covers it; the message has their number.
    """
    rows, first = by_patient(clusters)
    ordered = labels.matrix[rows]
    some = np.logical_or.reduceat(ordered, first[:-1], axis=0)
    every = np.logical_and.reduceat(ordered, first[:-1], axis=0)
    differing = int((some != every).any(axis=1).sum())
    if not differing:
        return replace(labels, matrix=some)
    told = f"{differing:,} of {len(some):,} patients have notes whose labels differ"
    if labels.task == "multiclass":
        raise InputError(
            f'{told}, but with level "group" a patient has one class: correct the table, or give '
            "--label a column with the class of the patient"
        )
    if rule is None:
        means = (
            f"a patient with any note that is {labels.positive} is {labels.positive}"
            if labels.task == "binary"
            else "a patient has every label of any of its notes"
        )
        raise InputError(
            f'{told}: with --group-label any (group_label = "any" in a study file), {means}. '
            "Or give --label a column with the label of the patient"
        )
    if labels.task == "binary":
        some[:, 0] = ~some[:, 1]
    return replace(labels, matrix=some)


def _shared(column: Texts, rows: NDArray[np.int64], first: NDArray[np.int64]) -> Texts:
    """Return the value that all notes of a patient have, or that there are several [patient]."""
    values = iter(column.take(rows))
    each = (set(islice(values, count)) for count in np.diff(first).tolist())
    return Texts.of(found.pop() if len(found) == 1 else SEVERAL for found in each)


# ---------------------------------------------------------------- split


def of_notes(split: Split, notes: Notes) -> Split:
    """Return the split of notes that has the patients of a split of patients in its parts.

    Parameters
    ----------
    split : Split
        Row numbers of what `patients_of` returns for the notes.
    notes : Notes
    """
    parts = split.parts().values()
    return Split(*(np.flatnonzero(np.isin(notes.clusters, rows)) for rows in parts))
