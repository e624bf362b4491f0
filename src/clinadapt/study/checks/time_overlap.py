"""Parts that overlap in time: a model is tested on notes older than some it has learned from."""

import numpy as np

from clinadapt.core.messages import Message
from clinadapt.study.checks.contract import Subject


def overlap(subject: Subject) -> str | None:
    """Return what is found where test notes are older than the newest that are learned from."""
    dates, split = subject.notes.dates, subject.split
    assert dates is not None
    learned, test = dates[np.r_[split.train, split.validation]], dates[split.test]
    learned, test = learned[~np.isnat(learned)], test[~np.isnat(test)]
    if not len(learned) or not len(test):
        return None
    older = int((test < learned.max()).sum())
    if not older:
        return None
    return Message(
        "{older:,} of {n:,} test notes with a date are older than the newest note of the other "
        "parts, so the test does not show how well a model does on notes of the future.",
        older=older,
        n=len(test),
    )
