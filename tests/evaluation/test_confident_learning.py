"""Confident learning, against hand arithmetic and the definition written out."""

import numpy as np

from clinadapt.evaluation.confident_learning import confident_labels


def test_by_hand():
    # Mean probabilities of the classes among their notes: .6, .7, .5.
    labels = np.array([0, 0, 0, 1, 1, 2, 2])
    probabilities = np.array(
        [
            [0.9, 0.05, 0.05],
            [0.8, 0.1, 0.1],
            [0.1, 0.8, 0.1],  # confidently of class 1
            [0.2, 0.7, 0.1],
            [0.25, 0.7, 0.05],
            [0.1, 0.3, 0.6],
            [0.4, 0.2, 0.4],  # confidently of none
        ]
    )
    found = confident_labels(labels, probabilities)
    assert found.likely.tolist() == [0, 0, 1, 1, 1, 2, -1]
    assert found.doubted.tolist() == [False, False, True, False, False, False, False]


def test_a_label_that_is_most_probable_after_all_is_not_doubted():
    labels = np.array([0, 0, 1, 1, 1])
    probabilities = np.array([[0.95, 0.05], [0.55, 0.45], [0.7, 0.3], [0.9, 0.1], [0.9, 0.1]])
    # .45 is more than class 1's mean of .17 and .55 less than class 0's of .75.
    found = confident_labels(labels, probabilities)
    assert found.likely[1] == 1
    assert not found.doubted[1]


def test_a_class_without_notes_is_never_likely():
    probabilities = np.array([[0.2, 0.1, 0.7], [0.1, 0.2, 0.7], [0.3, 0.4, 0.3]])
    assert 2 not in confident_labels(np.array([0, 1, 1]), probabilities).likely


def test_as_the_paper_defines_it():
    generator = np.random.default_rng(0)
    for classes in (2, 3, 6):
        labels = generator.integers(0, classes, 150)
        probabilities = generator.dirichlet(np.ones(classes), 150)
        least = [probabilities[labels == one, one].mean() for one in range(classes)]
        found = confident_labels(labels, probabilities)
        for note, own in enumerate(labels):
            eligible = [j for j in range(classes) if probabilities[note, j] >= least[j]]
            likely = max(eligible, key=lambda j, note=note: probabilities[note, j], default=-1)
            assert found.likely[note] == likely
            doubted = likely not in (-1, own) and probabilities[note].argmax() != own
            assert found.doubted[note] == doubted
