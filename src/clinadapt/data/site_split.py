"""Splits that hold out one site as the test part."""

import numpy as np

from clinadapt.core.errors import InputError
from clinadapt.data.notes import Notes
from clinadapt.data.split import Split, carve_validation, problems_of

MOST_SITES = 30


def site_names(notes: Notes, column: str) -> list[str]:
    """Return the sites of the notes, in sorted order.

    Parameters
    ----------
    notes : Notes
    column : str
        Column of the site, one of the notes' characteristics.

    Raises
    ------
    InputError
        The column is missing, notes have no site, or there are fewer than two sites or too many.
    """
    if column not in notes.characteristics:
        known = ", ".join(notes.characteristics) or "none"
        raise InputError(f"no column {column!r} describes these notes; columns that do: {known}")
    sites = notes.characteristics[column]
    names = sorted(set(sites))
    problems = []
    if "" in names:
        count = sum(not name for name in sites)
        problems.append(f"{count} note(s) have no value in column {column!r}: fill it in")
    if len(names) < 2:
        problems.append(
            f"column {column!r} has only one value: expected at least two, so that each can "
            "be held out in turn"
        )
    if len(names) > MOST_SITES:
        problems.append(
            f"column {column!r} has {len(names)} values, each of which would be held out in turn: "
            f"expected at most {MOST_SITES}, such as departments or years"
        )
    if problems:
        raise InputError(problems)
    return names


def hold_out(notes: Notes, column: str, site: str, validation_fraction: float, seed: int) -> Split:
    """Return the split with one site as its test part.

    Notes of other sites are left out if their patient also has notes of this site.

    Parameters
    ----------
    notes : Notes
    column, site : str
        Column that describes the notes, and one of its values.
    validation_fraction : float
        Share of the remaining notes that is used for validation.
    seed : int

    Raises
    ------
    InputError
        The remaining notes are not enough for training, or those of the site for testing.
    """
    sites = notes.characteristics[column]
    inside = np.fromiter((name == site for name in sites), np.bool_, len(notes))
    of_their_patients = np.isin(notes.clusters, notes.clusters[inside])
    rest = np.flatnonzero(~of_their_patients)
    validation = carve_validation(
        notes.labels.matrix[rest], notes.clusters[rest], validation_fraction, seed
    )
    split = Split(rest[~validation], rest[validation], np.flatnonzero(inside))
    if problems := problems_of(notes, split):
        raise InputError(problems)
    return split
