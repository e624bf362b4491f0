"""Clustered test notes of two classifiers whose true difference is known."""

import numpy as np

from clinadapt.data.labels import from_single

NOTES_A_PATIENT = 3.9  # of the clinical paper's corpus
MOST_NOTES = 20
EASE = 1.15  # keeps the mean accuracy about where it is asked, patients being unlike


def draw(patients, accuracies, generator, spread=1.0):
    """Patients, labels, and what each classifier says.

    Patients differ in how often their notes are positive, in how hard they are for everyone, and
    in how hard they are for each classifier.
    """
    sizes = np.minimum(generator.geometric(1 / NOTES_A_PATIENT, patients), MOST_NOTES)
    clusters = np.repeat(np.arange(patients), sizes)

    def of_patients(width):
        return generator.normal(0, width, patients)[clusters]

    positive = _chance(-0.7 + of_patients(spread), generator)
    ease = of_patients(spread)
    said = []
    for accuracy in accuracies:
        base = EASE * np.log(accuracy / (1 - accuracy))
        right = _chance(base + ease + of_patients(spread / 2), generator)
        said.append(np.where(right, positive, ~positive))
    return clusters, positive, said


def _chance(logits, generator):
    return generator.random(len(logits)) < 1 / (1 + np.exp(-logits))


def labels_of(positive):
    return from_single([str(int(value)) for value in positive])


def predictions(said):
    """As a row's seed gives them: probabilities and predicted classes, both [note, class]."""
    matrix = np.column_stack([~said, said])
    return matrix.astype(float), matrix


def f1(positive, said):
    return 2 * (positive & said).sum() / (positive.sum() + said.sum())
