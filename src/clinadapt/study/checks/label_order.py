"""Labels that follow the date, the order of the rows or of the ids, or the length of the notes."""

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.messages import Message
from clinadapt.data.positive_class import shown_name
from clinadapt.data.text_store import Texts
from clinadapt.study.checks.contract import Subject
from clinadapt.study.checks.following import (
    NeighbourShares,
    in_random_order_of_ties,
    strongest,
)

NUMBER = re.compile(r"(\d{1,18})")


def follow_dates(subject: Subject) -> str | None:
    """Return what is found where a class can be told by the dates of the notes around it."""
    notes = subject.notes
    dates = notes.dates
    assert dates is not None
    dated = np.flatnonzero(~np.isnat(dates))
    if not len(dated):
        return None
    notes = notes.take(dated)
    order = in_random_order_of_ties(dates[dated])
    found = strongest(notes.labels, notes.clusters, NeighbourShares(order, notes.clusters))
    if found is None:
        return None
    return Message(
        "class {name} can be told by the date alone with an AUROC of {auroc:.2f}, from the labels "
        "of the {who} seen just before and after ({patients:,} with the class, {others:,} "
        "without).",
        name=shown_name(found.name),
        auroc=found.auroc,
        who=subject.patients,
        patients=found.patients,
        others=found.others,
    )


def follow_rows(subject: Subject) -> str | None:
    """Return what is found where a class can be told by the rows, ids or patients around it."""
    notes = subject.notes
    found = {
        what: one
        for what, order in _orders(subject)
        if (one := strongest(notes.labels, notes.clusters, NeighbourShares(order, notes.clusters)))
    }
    if not found:
        return None
    what, one = max(found.items(), key=lambda item: item[1].auroc)
    return Message(
        "class {name} can be told by {what} alone with an AUROC of {auroc:.2f}, from the labels of "
        "the {who} just before and after ({patients:,} with the class, {others:,} without).",
        name=shown_name(one.name),
        what=what,
        auroc=one.auroc,
        who=subject.patients,
        patients=one.patients,
        others=one.others,
    )


def _orders(subject: Subject) -> Iterator[tuple[str, NDArray[np.int64]]]:
    """Yield what orders the notes, and their numbers in that order."""
    notes = subject.notes
    yield Message("the order of the rows"), np.arange(len(notes))
    if notes.columns is not None and notes.columns.id is not None:
        yield Message("the order of the ids"), natural_order(notes.ids)
    if notes.groups is not None:
        yield Message("the order of the patients' names"), natural_order(notes.groups)


def natural_order(names: Texts) -> NDArray[np.int64]:
    """Return the numbers of the names in their order, in which "a9" comes before "a10"."""
    parts = [NUMBER.split(name) for name in names]
    # Texts and numbers take turns, so that values of one place are of one kind.
    keys = [[int(part) if at % 2 else part for at, part in enumerate(one)] for one in parts]
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), dtype=np.int64)


def follow_length(subject: Subject) -> str | None:
    """Return what is found where a class can be told by the length of the note."""
    notes = subject.notes
    words = np.array([len(text.split()) for text in notes.texts])
    order = in_random_order_of_ties(words)
    found = strongest(notes.labels, notes.clusters, NeighbourShares(order, notes.clusters))
    if found is None:
        return None
    number = list(notes.labels.classes).index(found.name)
    carried = notes.labels.matrix[:, number]
    return Message(
        "class {name} can be told by the number of words alone with an AUROC of {auroc:.2f}: its "
        "notes have {own:.0f} words (median), the others {others:.0f}.",
        name=shown_name(found.name),
        auroc=found.auroc,
        own=float(np.median(words[carried])),
        others=float(np.median(words[~carried])),
    )
