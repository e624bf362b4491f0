"""The built-in synthetic notes, read like a table of a user."""

from dataclasses import replace

from clinadapt.data.columns import Columns
from clinadapt.data.notes import Notes, read_notes
from clinadapt.data.synthetic.generator import generate

DEMO_SIZES = {"n_notes": 1500, "n_patients": 380, "n_positive": 535}
"""Sizes of the notes of the study `demo`, in the proportions of all."""


def built_in_notes(**sizes: int) -> Notes:
    """Return the built-in synthetic notes, marked as such.

    Parameters
    ----------
    **sizes : int
        Arguments of `clinadapt.data.synthetic.generator.generate`.
    """
    notes = read_notes(generate(**sizes), Columns(id="id", group="patient"))
    return replace(notes, source="built-in", synthetic=True)
