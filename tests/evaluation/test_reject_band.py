"""Reject bands: the exact test, what notes of one patient are worth, and promises kept."""

import numpy as np
import pytest
from scipy import stats
from simulated import ManyPatients, abstaining_table

from clinadapt.data.labels import Labels
from clinadapt.evaluation import reject_band
from clinadapt.evaluation.reject_band import RejectBand, choose, correlation, p_values
from clinadapt.evaluation.threshold import Threshold

HALF = Threshold(0.5)


def binary(positive, chance):
    labels = Labels("binary", np.array(["no", "yes"]), np.c_[~positive, positive])
    return labels, np.c_[1 - chance, chance]


@pytest.mark.parametrize(("wrong", "notes"), [(0, 45), (1, 77), (3, 60), (60, 60)])
def test_p_values_of_independent_notes_are_binomial(wrong, notes):
    (found,) = p_values(*(np.array([float(n)]) for n in (wrong, notes, notes)), 0.05)
    assert found == pytest.approx(stats.binom.cdf(wrong, notes, 0.05), abs=1e-12)


def test_half_as_many_independent_notes_are_tested_as_half_of_each():
    halves = p_values(np.array([4.0]), np.array([100.0]), np.array([50.0]), 0.1)
    assert halves == pytest.approx(stats.binom.cdf(2, 50, 0.1))


def test_correlation_by_hand(monkeypatch):
    monkeypatch.setattr(reject_band, "ALIKE_PATIENTS", 0)
    patients = np.repeat(np.arange(200), 2)
    independent = np.arange(400) % 4 < 2  # both notes of every second patient
    assert correlation(independent, patients) == 1.0
    mixed = np.array([False, True] * 200)  # one note of each patient
    assert correlation(mixed, patients) == 0.0
    # Pairs (1, 1), (1, 0), (0, 1), (0, 0), (1, 1), (0, 0): covariance (4 · ¼ - 2 · ¼) / 6.
    some = np.array([1, 1, 1, 0, 0, 1, 0, 0, 1, 1, 0, 0], dtype=bool)
    assert correlation(some, np.repeat(np.arange(6), 2)) == pytest.approx((0.5 / 6) / 0.25)


def test_few_patients_are_taken_to_be_more_alike_than_they_seem():
    alike = [correlation(np.array([0, 1] * n, bool), np.repeat(np.arange(n), 2)) for n in (3, 300)]
    assert alike == pytest.approx([2 / 5, 2 / 302])
    assert correlation(np.zeros(40, bool), np.repeat(np.arange(20), 2)) == 1.0  # no error: unknown
    assert correlation(np.zeros(0, bool), np.zeros(0, np.int64)) == 1.0


def test_a_perfect_classifier_answers_everything_if_there_are_notes_enough():
    """Without an error, 45 positive notes allow 5 % with 90 %; "yes" needs 67, for three starts."""
    for positives, no, yes in ((44, None, None), (45, 0.2, None), (66, 0.2, None), (67, 0.2, 0.8)):
        positive = np.arange(300) < positives
        labels, chances = binary(positive, np.where(positive, 0.8, 0.2))
        band = choose(labels, chances, np.arange(300), HALF, 0.05)
        assert (band.no, band.yes) == (no, yes), positives


def test_ten_notes_of_a_patient_that_err_together_are_worth_one():
    positive = np.repeat(np.arange(60) < 30, 10)
    labels, chances = binary(positive, np.where(positive, 0.8, 0.2))
    of_patients = np.repeat(np.arange(60), 10)
    assert choose(labels, chances, np.arange(600), HALF, 0.05).no == 0.2
    assert choose(labels, chances, of_patients, HALF, 0.05).no is None  # 30 patients, not 300 notes


def test_limits_stay_on_their_side_of_the_threshold_and_between_no_equal_values():
    labels, chances, clusters = abstaining_table(400, np.random.default_rng(3), signal=4.0)
    chances = np.round(chances, 2)
    for value in (0.1, 0.5, 0.9):
        band = choose(labels, chances, clusters, Threshold(value), 0.1)
        assert band.no is not None
        assert band.no < value
        assert band.yes is None or band.yes >= value
        assert band.no in chances[:, 1]


def test_one_more_error_closes_the_limit_of_no():
    """Of 100 positive notes, at most one may be missed: 2 of 100 have a p-value above 10 %."""
    positive = np.arange(200) < 100
    chance = np.where(positive, 0.9, 0.3)
    chance[:2], chance[2] = (0.1, 0.2), 0.25
    labels, chances = binary(positive, chance)
    band = choose(labels, chances, np.arange(200), HALF, 0.05)
    assert stats.binom.cdf(1, 100, 0.05) < 0.1 < stats.binom.cdf(2, 100, 0.05)
    assert band.no == 0.1


@pytest.mark.parametrize("task", ["binary", "multiclass", "multilabel"])
def test_answers(task):
    band = RejectBand(risk=0.05, yes=0.7, no=None if task == "multiclass" else 0.2)
    if task == "binary":
        answered, left = band.answer(task, np.array([[0.9, 0.1], [0.5, 0.5], [0.3, 0.7]]))
        assert answered.tolist() == [[True, False], [False, False], [False, True]]
        assert left.tolist() == [[False, False], [True, True], [False, False]]
    elif task == "multiclass":
        answered, left = band.answer(task, np.array([[0.1, 0.8, 0.1], [0.4, 0.3, 0.3]]))
        assert answered.tolist() == [[False, True, False], [False] * 3]
        assert left.tolist() == [[False] * 3, [True] * 3]
    else:
        answered, left = band.answer(task, np.array([[0.1, 0.8, 0.5], [0.2, 0.1, 0.0]]))
        assert answered.tolist() == [[False, True, False], [False] * 3]
        assert left.tolist() == [[False, False, True], [False] * 3]


def test_without_limits_everything_is_left():
    band = RejectBand(risk=0.05, yes=None, no=None)
    for task in ("binary", "multiclass", "multilabel"):
        answered, left = band.answer(task, np.array([[0.0, 1.0]]))
        assert not answered.any()
        assert left.all()


def test_labels_are_pooled_by_note_and_patient():
    matrix = np.array([[True, False], [False, True]])
    labels = Labels("multilabel", np.array(["a", "b"]), matrix)
    right, chance, patients = reject_band.pooled(
        labels, np.array([[0.9, 0.2], [0.1, 0.6]]), np.array([7, 9])
    )
    assert right.tolist() == [True, False, False, True]
    assert chance.tolist() == [0.9, 0.2, 0.1, 0.6]
    assert patients.tolist() == [7, 7, 9, 9]


def test_several_classes_share_a_limit():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet([0.3] * 4, 3000)
    right = (probabilities.cumsum(axis=1) > generator.random((3000, 1))).argmax(axis=1)
    labels = Labels("multiclass", np.arange(4), right[:, None] == np.arange(4))
    band = choose(labels, probabilities, np.arange(3000), Threshold(float("nan")), 0.1)
    answered, left = band.answer("multiclass", probabilities)
    assert band.no is None
    assert 0.3 < left[:, 0].mean() < 0.8
    assert (answered & ~labels.matrix).sum() / answered.sum() < 0.1


def test_promises_are_kept_on_new_patients():
    """200 tables; `benchmarks/simulations.py abstention` draws more of more kinds.

    The promise is 90 % each; three standard errors of 200 tables are 6.4 points.
    """
    settings = {"signal": 5.0, "of_patient": 1.5}
    truth, generator = ManyPatients(**settings), np.random.default_rng(1)
    bands = [choose(*abstaining_table(150, generator, **settings), HALF, 0.1) for _ in range(200)]
    missed, wrong, left = np.array([truth.shares(band) for band in bands]).T
    assert np.mean(missed <= 0.1) >= 0.9 - 0.064
    assert np.mean(wrong <= 0.1) >= 0.9 - 0.064
    assert np.mean(left) < 0.3  # not by leaving everything
