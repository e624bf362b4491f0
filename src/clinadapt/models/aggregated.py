"""A fitted classifier of notes as a classifier of patients, by an aggregation of probabilities."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.arrays import Floats
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Task
from clinadapt.data.levels import Aggregation
from clinadapt.data.patients import notes_of
from clinadapt.evaluation.patient_level import aggregate
from clinadapt.models.contract import Model

DOCUMENTS_AT_ONCE = 1024


class Aggregated(Model):
    """Probabilities of patients, from those that a model of notes gives each of their notes.

    A study of patients makes one of every fitted model of notes. It is not fitted itself.

    Parameters
    ----------
    notes : Model
        Fitted model of notes.
    task : {"binary", "multiclass", "multilabel"}
    aggregation : {"mean", "maximum", "noisy-or"}
        See `clinadapt.evaluation.patient_level.aggregate`.
    """

    level = "group"
    explained_by = "strongest-note"
    aggregation: Aggregation

    def __init__(self, notes: Model, task: Task, aggregation: Aggregation) -> None:
        self.notes, self.task, self.aggregation = notes, task, aggregation
        self.guarantee_ = notes.guarantee_

    def predict_proba(self, texts: Sequence[str], context: Context | None = None) -> Floats:
        """Return probabilities [patient, class] for documents, see `clinadapt.data.patients`."""
        found = []
        for start in range(0, len(texts), DOCUMENTS_AT_ONCE):
            notes, owner = notes_of(texts[start : start + DOCUMENTS_AT_ONCE])
            # Equal notes once: explanations ask for many documents that differ in one note.
            place = {note: number for number, note in enumerate(dict.fromkeys(notes))}
            each = self.notes.predict_proba(list(place), context)
            rows = np.fromiter((place[note] for note in notes), np.int64, len(notes))
            found.append(aggregate(self.task, each[rows], owner, self.aggregation))
        return np.concatenate(found)

    def readable(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether the model of notes can read a note of each document [patient]."""
        notes, owner = notes_of(texts)
        return np.isin(np.arange(len(texts)), owner[self.notes.readable(notes)])

    def fitted_parts(self) -> tuple[Model, ...]:
        """Return the fitted parts of the model of notes."""
        return self.notes.fitted_parts()

    @property
    def configured(self) -> Model:
        """The model of notes, whose settings are written to a bundle's record."""
        return self.notes.configured

    def save(self, folder: Path) -> None:
        """Write the model of notes; the bundle's record has the aggregation."""
        self.notes.save(folder)

    def load(self, folder: Path, task: Task, classes: int) -> Self:
        """Read what `save` wrote."""
        self.notes = self.notes.load(folder, task, classes)
        return self

    @property
    def network_part(self) -> Model:
        """The part of the model of notes that an export replaces."""
        return self.notes.network_part

    def with_network_part(self, part: Model) -> Model:
        """Return the same aggregation of a model of notes with another network."""
        return Aggregated(self.notes.with_network_part(part), self.task, self.aggregation)
