"""Conformal sets: the limit by hand, patients as the unit, coverage on new ones."""

import numpy as np
import pytest
from simulated import ManyPatients, abstaining_table

from clinadapt.data.labels import Labels
from clinadapt.evaluation.prediction_sets import PredictionSets, calibrate, of_patients


def of_class(right, clusters, coverage, task="binary"):
    """Return the limit of class "yes", of notes that all have it."""
    right = np.asarray(right, dtype=float)
    labels = Labels(task, np.array(["no", "yes"]), np.tile([False, True], (len(right), 1)))
    return calibrate(labels, np.c_[1 - right, right], np.asarray(clusters), coverage).least


def test_the_limit_of_independent_notes_is_the_usual_one():
    """Split conformal: the ⌈(n + 1) · coverage⌉-th best of n."""
    right = np.linspace(0.01, 0.99, 99)
    for coverage in (0.8, 0.9, 0.95):
        best = np.sort(right)[::-1][int(np.ceil(round(100 * coverage, 9))) - 1]
        assert of_class(right, np.arange(99), coverage)[1] == pytest.approx(best)


def test_too_few_patients_put_the_class_into_every_set():
    assert of_class([0.9] * 9, np.arange(9), 0.9) == [0.0, 0.9]  # no note of the other class
    assert of_class([0.9] * 8, np.arange(8), 0.9) == [0.0, 0.0]
    assert of_class([0.9] * 80, np.repeat(np.arange(8), 10), 0.9) == [0.0, 0.0]


def test_each_patient_counts_as_one():
    """A patient with a hundred hard notes weighs as much as one with one."""
    right = np.r_[np.full(100, 0.1), np.full(9, 0.8)]
    clusters = np.r_[np.zeros(100, np.int64), np.arange(1, 10)]
    assert of_class(right, clusters, 0.8)[1] == 0.8  # 9 of 11
    assert of_class(right, clusters, 0.9)[1] == 0.1
    assert of_class(right, np.arange(109), 0.8)[1] == 0.1
    assert of_patients(clusters).sum() == pytest.approx(10)


def test_several_classes_share_a_limit_and_labels_do_not():
    probabilities = np.array([[0.7, 0.2, 0.1], [0.3, 0.6, 0.1]] * 30)
    matrix = np.array([[True, False, False], [False, True, False]] * 30)
    for task, least in (("multiclass", [0.6] * 3), ("multilabel", [0.7, 0.6, 0.0])):
        labels = Labels(task, np.array(["a", "b", "c"]), matrix)
        sets = calibrate(labels, probabilities, np.arange(60), 0.9)
        assert sets.least == least, task


def test_a_set_may_hold_none_one_or_all():
    sets = PredictionSets(coverage=0.9, least=[0.7, 0.4])
    chosen = sets.of(np.array([[0.65, 0.35], [0.7, 0.3], [0.59, 0.41], [0.0, 1.0]]))
    assert chosen.tolist() == [[False, False], [True, False], [False, True], [False, True]]


def test_coverage_of_new_patients_is_within_a_point_of_what_is_promised():
    """200 tables of 150 patients with unequal many notes, whose labels and errors are alike."""
    settings = {"signal": 3.0, "of_patient": 1.5}
    truth, generator = ManyPatients(**settings), np.random.default_rng(2)
    covered = [
        truth.covered(calibrate(*abstaining_table(150, generator, **settings), 0.9))
        for _ in range(200)
    ]
    assert np.mean(covered, axis=0) == pytest.approx([0.9, 0.9], abs=0.01)
