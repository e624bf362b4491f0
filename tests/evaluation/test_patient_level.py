"""Probabilities of patients from those of their notes."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from clinadapt.data.labels import from_single
from clinadapt.data.levels import AGGREGATIONS
from clinadapt.evaluation.patient_level import aggregate, choose

PATIENTS = np.array([1, 0, 1, 1])


@pytest.mark.parametrize(
    ("how", "positive"),
    [
        ("mean", [0.4, (0.1 + 0.5 + 0.6) / 3]),
        ("maximum", [0.4, 0.6]),
        ("noisy-or", [0.4, 1 - 0.9 * 0.5 * 0.4]),
    ],
)
def test_binary_by_hand(how, positive):
    notes = np.array([0.1, 0.4, 0.5, 0.6])
    found = aggregate("binary", np.column_stack([1 - notes, notes]), PATIENTS, how)
    assert found[:, 1] == pytest.approx(positive)
    assert found.sum(axis=1) == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("how", "second"),
    [
        ("mean", [0.3, 0.5, 0.2]),
        ("maximum", np.array([0.6, 0.9, 0.3]) / 1.8),
        ("noisy-or", np.array([1 - 0.9 * 0.4 * 0.8, 1 - 0.4 * 0.9 * 0.5, 1 - 0.7 * 0.7]) / 2),
    ],
)
def test_classes_that_exclude_each_other_by_hand(how, second):
    notes = np.array([[0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.6, 0.1, 0.3], [0.2, 0.8, 0.0]])
    if how == "maximum":
        notes[3] = [0.1, 0.9, 0.0]
    if how == "noisy-or":
        notes[3] = [0.2, 0.5, 0.0]
        second = np.array([1 - 0.9 * 0.4 * 0.8, 1 - 0.4 * 0.9 * 0.5, 1 - 0.7 * 0.7])
        second = second / second.sum()
    found = aggregate("multiclass", notes, PATIENTS, how)
    assert found[1] == pytest.approx(second)
    assert found[0] == pytest.approx(notes[1])


def test_labels_are_aggregated_one_by_one():
    notes = np.array([[0.5, 0.9], [0.5, 0.2]])
    together = np.zeros(2, np.int64)
    assert aggregate("multilabel", notes, together, "noisy-or")[0] == pytest.approx([0.75, 0.92])
    assert aggregate("multilabel", notes, together, "maximum")[0] == pytest.approx([0.5, 0.9])


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
@pytest.mark.parametrize("how", AGGREGATIONS)
def test_order_of_notes_does_not_matter_and_one_note_is_its_patient(task, how):
    generator = np.random.default_rng(0)
    notes = generator.dirichlet(np.ones(2 if task == "binary" else 4), 200)
    patients = generator.integers(0, 40, 200)
    order = generator.permutation(200)
    found = aggregate(task, notes, patients, how)
    assert np.allclose(found, aggregate(task, notes[order], patients[order], how), atol=1e-15)
    alone = aggregate(task, notes, np.arange(200), how)
    assert np.allclose(alone, notes, atol=1e-15)
    if how == "mean":
        assert np.array_equal(alone, notes)


def test_the_best_on_validation_is_chosen_and_the_first_of_equals():
    labels = from_single(["0", "1"] * 20)
    patients = np.repeat(np.arange(40), 5)
    positive = np.full(200, 0.2)
    positive[5::10] = 0.9  # one note of each positive patient …
    positive[0::10], positive[1::10], positive[2::10] = 0.6, 0.6, 0.6  # … and some of the others
    probabilities = np.column_stack([1 - positive, positive])
    how, scores = choose(labels, probabilities, patients, "f1")
    assert how == "maximum"
    assert scores["maximum"] == 1.0 > scores["mean"]
    alone = np.arange(40)
    for first in AGGREGATIONS:  # of patients with one note, all are equal
        among = [first, *AGGREGATIONS]
        assert choose(labels, probabilities[::5], alone, "f1", among)[0] == first


def test_where_one_note_tells_the_mean_is_worst_and_where_all_do_it_is_best():
    """Patients differ in how alarming all of their notes look; 400 patients of 2 to 12 notes."""
    generator = np.random.default_rng(0)
    counts = generator.integers(2, 13, 400)
    patients = np.repeat(np.arange(400), counts)
    positive = generator.random(400) < 0.4
    alarming = generator.normal(-2.5, 1.0, 400)[patients] + generator.normal(0, 0.7, len(patients))
    first = np.r_[True, np.diff(patients) > 0]
    told_once = alarming + 4 * (first & positive[patients])
    told_always = alarming + 1.0 * positive[patients]

    def areas(logits):
        probability = 1 / (1 + np.exp(-logits))
        table = np.column_stack([1 - probability, probability])
        return {
            how: roc_auc_score(positive, aggregate("binary", table, patients, how)[:, 1])
            for how in AGGREGATIONS
        }

    once, always = areas(told_once), areas(told_always)
    assert once["maximum"] > once["mean"] + 0.1
    assert once["noisy-or"] > once["mean"] + 0.03
    assert always["mean"] > max(always["maximum"], always["noisy-or"])
