"""Runs scored on patients: how a fitted classifier of notes becomes one of patients."""

from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.arrays import Floats
from clinadapt.data import prediction_tables
from clinadapt.data.notes import Notes
from clinadapt.evaluation import patient_level, threshold
from clinadapt.models.aggregated import Aggregated
from clinadapt.models.classifier import NoteClassifier
from clinadapt.study.material import Material

NOTE_PREDICTIONS = "notes.parquet"


def to_patients(classifier: NoteClassifier, material: Material) -> dict[str, Any] | None:
    """Make a fitted classifier of notes one of patients, if they are what the material scores.

    Aggregation and threshold are chosen on the patients whose notes the classifier's validation
    probabilities are of.

    Parameters
    ----------
    classifier : NoteClassifier
        Changed in place: its model, threshold and validation probabilities.
    material : Material

    Returns
    -------
    dict or None
        The aggregation's name, and the validation score of each that was tried. None if the
        material scores what the classifier reads.
    """
    if material.patients is None:
        return None
    task, metric = classifier.task_, material.metric
    labels = material.scored["validation"].labels
    numbers = patient_numbers(material.read["validation"])
    notes = classifier.in_label_order(classifier.validation_probabilities_)
    among = material.design.aggregation
    chosen, scores = patient_level.choose(labels, notes, numbers, metric, among)
    patients = patient_level.aggregate(task, notes, numbers, chosen)
    classifier.model_ = Aggregated(classifier.model_, task, chosen)
    classifier.validation_probabilities_ = classifier.in_class_order(patients)
    classifier.set_scale(threshold.choose(labels, patients, metric))
    return {"name": chosen, "scores": scores}


def patient_numbers(notes: Notes) -> NDArray[np.int64]:
    """Return the number of the patient of each note [note], in the order of their names."""
    return np.unique(notes.clusters, return_inverse=True)[1]


def write_note_predictions(
    classifier: NoteClassifier, material: Material, answers: dict[str, Floats], folder: Path
) -> None:
    """Write ``notes.parquet``: what a classifier of notes says of each, by its own threshold.

    Parameters
    ----------
    classifier : NoteClassifier
        Not yet one of patients.
    material : Material
    answers : dict of str to ndarray of float64, shape [note, class]
        Probabilities by the name of the part.
    folder : Path
        The run's folder.
    """
    frames = []
    for name, probabilities in answers.items():
        notes = material.read[name]
        predicted = classifier.threshold_.predict(classifier.task_, probabilities)
        frames.append(
            prediction_tables.prediction_frames(
                notes.ids, name, notes.labels, probabilities, predicted
            )
        )
    prediction_tables.write_predictions(chain(*frames), folder / NOTE_PREDICTIONS, {})
