"""Folds of the labelled notes for cross-validation, patient-disjoint and stratified."""

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.errors import InputError
from clinadapt.data.labels import Labels
from clinadapt.data.notes import Notes
from clinadapt.data.split import Split, carve_validation, partition

USUAL = 5  # folds, where every class has as many patients


def make_folds(
    notes: Notes,
    rows: NDArray[np.int64],
    folds: int,
    validation_fraction: float,
    seed: int,
) -> tuple[Split, ...]:
    """Divide notes into folds, each the test part of a split of all of them.

    Patients stay whole, and each fold gets its share of every class (`partition`). The notes of the
    other folds are split into training and validation part.

    Parameters
    ----------
    notes : Notes
    rows : ndarray of int64
        Row numbers of the notes to divide.
    folds : int
    validation_fraction : float
        Share of the notes outside a fold for its validation part.
    seed : int

    Returns
    -------
    tuple of Split
        One split per fold, of row numbers of `notes`.

    Raises
    ------
    InputError
        A class would be missing in the training part of a fold.
    """
    most = most_folds(notes.labels.take(rows), notes.clusters[rows])
    if folds > most:
        unit = "notes" if notes.groups is None else "patients"
        raise InputError(
            f"folds = {folds} needs a class to have {unit} in {folds} folds, and the rarest class "
            f"of the notes outside the test part has {most}: set folds to at most {max(1, most)} "
            "(1 chooses on one validation part), or label more notes of that class"
        )
    matrix, clusters = notes.labels.matrix[rows], notes.clusters[rows]
    fold_of = partition(matrix, clusters, [1 / folds] * folds, seed)
    splits = []
    for fold in range(folds):
        rest = np.flatnonzero(fold_of != fold)
        held = carve_validation(matrix[rest], clusters[rest], validation_fraction, seed)
        splits.append(Split(rows[rest[~held]], rows[rest[held]], rows[fold_of == fold]))
    return tuple(splits)


def most_folds(labels: Labels, clusters: NDArray[np.int64]) -> int:
    """Return the largest number of folds: the patients of the class that has fewest.

    A label of a multi-label task may be missing in a fold, so that any number of patients will do.
    """
    patients = len(np.unique(clusters))
    if labels.task == "multilabel":
        return patients
    carriers = [len(np.unique(clusters[carried])) for carried in labels.matrix.T]
    return min(carriers)
