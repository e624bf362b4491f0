"""Splits that hold one site out."""

import numpy as np

from clinadapt.core.errors import InputError
from clinadapt.data.notes import Notes
from clinadapt.data.split import Split, carve_validation, problems_of

MOST_SITES = 30


def site_names(notes: Notes, column: str) -> list[str]:
    """Sites of some notes, in sorted order.

    Raises
    ------
    InputError
        No such column, fewer than two sites or very many, or notes without one.
    """
    if column not in notes.characteristics:
        known = ", ".join(notes.characteristics) or "none"
        raise InputError(f"column {column!r} does not describe these notes; those that do: {known}")
    sites = notes.characteristics[column]
    names = sorted(set(sites))
    problems = []
    if "" in names:
        count = sum(not name for name in sites)
        problems.append(f"{count} note(s) have no {column!r}: name it, to hold out each in turn")
    if len(names) < 2:
        problems.append(f"column {column!r} has one value: there is nothing to hold out")
    if len(names) > MOST_SITES:
        problems.append(
            f"column {column!r} has {len(names)} values, and each is held out in turn: expected at "
            f"most {MOST_SITES}, such as departments or years"
        )
    if problems:
        raise InputError(problems)
    return names


def hold_out(notes: Notes, column: str, site: str, validation_fraction: float, seed: int) -> Split:
    """Split that has one site for its test part.

    Patients of that site with notes elsewhere are in no other part.

    Parameters
    ----------
    notes : Notes
    column, site : str
        A column that describes the notes, and one of its values.
    validation_fraction : float
        Share of the other sites' notes.
    seed : int

    Raises
    ------
    InputError
        What is left cannot be learned from, or the site cannot be scored.
    """
    sites = notes.characteristics[column]
    inside = np.fromiter((name == site for name in sites), np.bool_, len(notes))
    theirs = np.isin(notes.clusters, notes.clusters[inside])
    rest = np.flatnonzero(~theirs)
    held = carve_validation(
        notes.labels.matrix[rest], notes.clusters[rest], validation_fraction, seed
    )
    split = Split(rest[~held], rest[held], np.flatnonzero(inside))
    if problems := problems_of(notes, split):
        raise InputError(problems)
    return split
