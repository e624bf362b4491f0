"""Clustered test notes and classifiers whose true difference is known."""

import numpy as np

from clinadapt.data.labels import Labels, from_single
from clinadapt.evaluation import metrics
from clinadapt.evaluation.entrants import Entrant
from clinadapt.evaluation.prediction_sets import of_patients

NOTES_A_PATIENT = 3.9  # of the clinical paper's corpus
MOST_NOTES = 20
EASE = 1.15  # keeps the mean accuracy close to the given one although patients differ


def draw(patients, accuracies, generator, spread=1.0):
    """Draw patients, labels and the predictions of each classifier.

    Patients differ in how often their notes are positive, in how hard they are for all classifiers
    and in how hard they are for each one.
    """
    sizes = np.minimum(generator.geometric(1 / NOTES_A_PATIENT, patients), MOST_NOTES)
    clusters = np.repeat(np.arange(patients), sizes)

    def of_patients(width):
        return generator.normal(0, width, patients)[clusters]

    positive = _chance(-0.7 + of_patients(spread), generator)
    ease = of_patients(spread)
    predicted = []
    for accuracy in accuracies:
        base = EASE * np.log(accuracy / (1 - accuracy))
        right = _chance(base + ease + of_patients(spread / 2), generator)
        predicted.append(np.where(right, positive, ~positive))
    return clusters, positive, predicted


def _chance(logits, generator):
    return generator.random(len(logits)) < 1 / (1 + np.exp(-logits))


def labels_of(positive):
    return from_single([str(int(value)) for value in positive])


def predictions(predicted):
    """Return the probabilities and predicted classes of one seed, both [note, class]."""
    matrix = np.column_stack([~predicted, predicted])
    return matrix.astype(float), matrix


def f1(positive, predicted):
    return 2 * (positive & predicted).sum() / (positive.sum() + predicted.sum())


def unequal_table(generator, least=25, most=120):
    """Draw patients with very unequal numbers of notes, and which notes are positive."""
    patients = int(generator.integers(least, most))
    sizes = np.minimum(np.ceil(generator.lognormal(1.2, 1.1, patients)).astype(int), 200)
    clusters = np.repeat(np.arange(patients), sizes)
    mean = generator.normal(-1.5, 1.0)
    return clusters, _chance(mean + generator.normal(0, 2.0, patients)[clusters], generator)


def scored_table(patients, equal, generator, mean=-0.9, signal=2.2):
    """Draw labels, probabilities and predictions of patients with equal or unequal many notes."""
    if equal:
        sizes = np.full(patients, 4)
    else:
        sizes = np.minimum(np.ceil(generator.lognormal(1.0, 1.0, patients)).astype(int), 60)
    clusters = np.repeat(np.arange(patients), sizes)
    notes = len(clusters)
    positive = _chance(mean + generator.normal(0, 1.0, patients)[clusters], generator)
    score = signal * (positive - 0.5) - 0.5 + generator.normal(0, 1.0, notes)
    score += generator.normal(0, 0.7, patients)[clusters]
    chance = 1 / (1 + np.exp(-score))
    labels = Labels("binary", np.array(["no", "yes"]), np.column_stack([~positive, positive]))
    predicted = np.column_stack([chance < 0.5, chance >= 0.5])
    return labels, np.column_stack([1 - chance, chance]), predicted, clusters


def abstaining_table(patients, generator, signal, of_patient=0.7, mean=-0.9, labels=1.0):
    """Draw a table of patients with unequal many notes, whose labels and errors are alike.

    `of_patient` and `labels` are the spreads between patients of score and logit of the label.
    """
    sizes = np.minimum(np.ceil(generator.lognormal(1.0, 1.0, patients)).astype(int), 60)
    clusters = np.repeat(np.arange(patients), sizes)
    positive = _chance(mean + generator.normal(0, labels, patients)[clusters], generator)
    score = signal * (positive - 0.5) - 0.5 + generator.normal(0, 1.0, len(clusters))
    chance = 1 / (1 + np.exp(-score - generator.normal(0, of_patient, patients)[clusters]))
    matrix, probabilities = np.c_[~positive, positive], np.c_[1 - chance, chance]
    return Labels("binary", np.array(["no", "yes"]), matrix), probabilities, clusters


class ManyPatients:
    """What bands and sets do on very many patients, sorted once.

    Parameters
    ----------
    patients : int
        So many that their shares are the true ones: ten times more than a band was chosen on still
        move how often it keeps its promise by several points.
    **settings
        Those of `abstaining_table`.
    """

    def __init__(self, patients=20_000, **settings):
        labels, probabilities, clusters = abstaining_table(
            patients, np.random.default_rng(99), **settings
        )
        chance, positive = probabilities[:, 1], labels.matrix[:, 1]
        order = np.argsort(chance)
        self.chance = chance[order]
        self.positives = np.r_[0, np.cumsum(positive[order])]
        self.by_class = []
        for own, right in ((~positive, 1 - chance), (positive, chance)):
            place = np.argsort(right[own])
            weights = of_patients(clusters[own])[place]
            self.by_class.append((right[own][place], np.r_[0, np.cumsum(weights)]))

    def shares(self, band):
        """Return the shares of positive notes missed, of wrong answers "yes", and of notes left."""
        notes = len(self.chance)
        no = 0 if band.no is None else np.searchsorted(self.chance, band.no, "right")
        yes = notes if band.yes is None else np.searchsorted(self.chance, band.yes, "left")
        given, right = notes - yes, self.positives[-1] - self.positives[yes]
        missed = self.positives[no] / self.positives[-1]
        return missed, 1 - right / given if given else 0.0, (yes - no) / notes

    def covered(self, sets):
        """Return the share of each class's notes whose set contains it, patients counting alike."""
        return [
            1 - weights[np.searchsorted(right, least, "left")] / weights[-1]
            for least, (right, weights) in zip(sets.least, self.by_class, strict=True)
        ]


def true_scores(equal, names, patients=60_000, **options):
    """Return the scores of the predictions of `scored_table`, on very many patients."""
    labels, probabilities, predicted, clusters = scored_table(
        patients, equal, np.random.default_rng(12345), **options
    )
    ones = np.ones((1, len(clusters)))
    found = metrics.values(labels, probabilities, predicted, ones, names)
    return {name: float(found[name][0]) for name in names}


def entrants_of(clusters, positive, predicted, unrepeated=False):
    """Return entrants "0", "1", … in the order of their price, labels and clusters."""
    entrants = [
        Entrant(
            configuration_id=str(number),
            label=f"model {number}",
            model="tfidf-logistic",
            kind="sparse",
            is_baseline=True,
            settings={},
            validation=f1(positive, one),
            seconds=float(number),
            predictions=[predictions(one)],
            validated=[predictions(one)],
            chosen=0,
            unrepeated=unrepeated,
        )
        for number, one in enumerate(predicted)
    ]
    return entrants, labels_of(positive), clusters
