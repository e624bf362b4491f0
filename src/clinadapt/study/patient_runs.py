"""Runs scored on patients: from probabilities of notes to a classifier of patients."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np

from clinadapt.core.arrays import Floats
from clinadapt.data import prediction_tables
from clinadapt.data.notes import Notes
from clinadapt.data.patients import GroupLabel, patient_labels
from clinadapt.evaluation import patient_level, threshold
from clinadapt.evaluation.patient_level import Aggregation
from clinadapt.models.aggregated import Aggregated
from clinadapt.models.classifier import NoteClassifier

NOTE_PREDICTIONS = "notes.parquet"


@dataclass(frozen=True)
class PatientRule:
    """How a study classifies and scores patients.

    Attributes
    ----------
    label : "any", optional
        See `clinadapt.data.patients.patient_labels`.
    aggregation : tuple of str
        Aggregations to choose among.
    """

    label: GroupLabel | None
    aggregation: tuple[Aggregation, ...]

    @classmethod
    def of(cls, design: Mapping[str, Any]) -> Self | None:
        """Return the rule of a study's design; None if it is about notes."""
        if design.get("level", "note") == "note":
            return None
        return cls(design["group_label"], tuple(design["aggregation"]))


def to_patients(
    classifier: NoteClassifier,
    rule: PatientRule,
    parts: Mapping[str, Notes],
    answers: dict[str, Floats],
    metric: str,
    folder: Path,
) -> dict[str, Any]:
    """Make a fitted classifier of notes one of patients.

    Aggregation and threshold are chosen on the validation patients. The probabilities of the notes
    are written to ``notes.parquet``, with what the classifier of notes predicted.

    Parameters
    ----------
    classifier : NoteClassifier
        Changed in place: its model, threshold and validation probabilities.
    rule : PatientRule
    parts : mapping of str to Notes
        Notes by the name of the part.
    answers : dict of str to ndarray of float64, shape [note, class]
        Probabilities of the notes of the validation and the test part. Replaced by those of the
        patients [patient, class], in the order of `clinadapt.data.patients.patients_of`.
    metric : str
    folder : Path
        The run's folder.

    Returns
    -------
    dict
        The aggregation's name, and the validation score of each that was tried.
    """
    task = classifier.task_
    frames = [
        prediction_tables.prediction_frames(
            parts[name].ids,
            name,
            parts[name].labels,
            probabilities,
            classifier.threshold_.predict(task, probabilities),
        )
        for name, probabilities in answers.items()
    ]
    prediction_tables.write_predictions(chain(*frames), folder / NOTE_PREDICTIONS, {})
    numbers = {name: np.unique(parts[name].clusters, return_inverse=True)[1] for name in answers}
    labels = patient_labels(parts["validation"].labels, numbers["validation"], rule.label)
    chosen, scores = patient_level.choose(
        labels, answers["validation"], numbers["validation"], metric, rule.aggregation
    )
    for name, probabilities in answers.items():
        answers[name] = patient_level.aggregate(task, probabilities, numbers[name], chosen)
    classifier.model_ = Aggregated(classifier.model_, task, chosen)
    classifier.threshold_ = threshold.choose(labels, answers["validation"], metric)
    classifier.validation_probabilities_ = classifier.in_class_order(answers["validation"])
    return {"name": chosen, "chosen_on": "validation", "scores": scores}
