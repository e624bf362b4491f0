"""How many folds a study has, where its design leaves the choice."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.errors import InputError
from clinadapt.data.folds import USUAL, most_folds
from clinadapt.data.notes import Notes
from clinadapt.study.design import Design, Run

FEW_NOTES = 3_000  # on which small networks train in a minute


def choose_folds(
    design: Design,
    runs: Sequence[Run],
    notes: Notes,
    labelled: NDArray[np.int64],
    size: int | None = None,
) -> int:
    """Return the number of folds of a study; 1 if one validation part decides.

    "auto" is five, or as many as the rarest class has patients, where that costs little: where
    heads are trained on features that are computed once, and, on few notes, also where small
    networks are trained. A nested study always has folds.

    Parameters
    ----------
    design : Design
    runs : sequence of Run
    notes : Notes
    labelled : ndarray of int64
        Row numbers of the notes outside the test part.
    size : int, optional
        Number of notes to train on, where `notes` are patients with several each.

    Raises
    ------
    InputError
        The design asks for folds that are not possible.
    """
    private = [run for run in runs if run.configuration.cls.kind == "private"]
    if design.folds != "auto":
        folds = int(design.folds)
        if private and folds > 1:
            raise InputError(
                f"folds = {folds} would train on every note {folds} times, and the guarantee of "
                f"{private[0].configuration.label} covers one training: set folds to 1"
            )
        if design.nested and folds == 1:
            raise InputError('nested = true needs folds: set folds to 2 or more, or to "auto"')
        return folds
    most = min(USUAL, most_folds(notes.labels.take(labelled), notes.clusters[labelled]))
    efforts = {run.build().effort() for run in runs}
    cheap = "encoder" not in efforts and (
        (size or len(labelled)) <= FEW_NOTES or efforts == {"head"}
    )
    if private or most < 2 or not (cheap or design.nested):
        return 1
    return most
