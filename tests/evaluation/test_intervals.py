"""Intervals of one score: hand arithmetic, ends, and how often they contain the truth."""

import numpy as np
import pytest
from scipy import stats
from simulated import scored_table, true_scores

from clinadapt.evaluation import intervals, metrics


def share_right(right, clusters):
    """Return the share of notes that are right, with its interval."""
    return metrics.jackknife(
        clusters,
        lambda weights: {"accuracy": weights @ right / weights.sum(axis=1)},
        lambda name: (0.0, 1.0),
        len(np.unique(clusters)),
    )["accuracy"]


def test_each_row_of_weights_leaves_out_one_patient():
    clusters = np.array([5, 5, 9, 7, 7, 7, 9, 2])
    weights = np.concatenate(list(intervals.leave_out_weights(clusters)))
    left_out = [set(clusters[row == 0]) for row in weights]
    assert left_out == [{2}, {5}, {7}, {9}]
    assert set(np.unique(weights)) == {0.0, 1.0}


def test_many_patients_are_left_out_in_groups():
    clusters = np.repeat(np.arange(2500), 2)
    weights = np.concatenate(list(intervals.leave_out_weights(clusters)))
    assert weights.shape == (intervals.MOST_GROUPS, 5000)
    assert ((weights == 0).sum(axis=0) == 1).all()  # each note once
    assert set((weights == 0).sum(axis=1)) == {4, 6}  # two or three whole patients
    chunks = [len(chunk) for chunk in intervals.leave_out_weights(clusters)]
    assert max(chunks) <= intervals.ROWS_AT_ONCE


def test_a_share_of_independent_notes_by_hand():
    """Thirty of forty: the standard error on the logit scale is known, 1 / sqrt(n p q)."""
    right = (np.arange(40) < 30).astype(float)
    score = share_right(right, np.arange(40))
    without = np.where(right == 1, 29 / 39, 30 / 39)
    influence = (without - 0.75) / (0.75 * 0.25)
    error = np.sqrt(39 / 40 * (influence**2).sum())
    assert error == pytest.approx(1 / np.sqrt(40 * 0.75 * 0.25), rel=0.02)
    # Degrees of freedom: 3 · 40 / (mean fourth power over the squared mean square) - 1, at most 39.
    fourth = (influence**4).mean() / (influence**2).mean() ** 2
    freedom = min(39, 3 * 40 / fourth - 1)
    ends = np.log(3) + np.array([-1, 1]) * stats.t.ppf(0.975, freedom) * error
    assert (score.low, score.high) == pytest.approx(tuple(1 / (1 + np.exp(-ends))))


def test_ten_equal_notes_of_a_patient_are_worth_one():
    right = np.repeat(np.random.default_rng(1).random(50) < 0.7, 10).astype(float)
    by_patient = share_right(right, np.repeat(np.arange(50), 10))
    by_note = share_right(right, np.arange(500))
    assert by_patient.value == by_note.value
    ratio = (by_patient.high - by_patient.low) / (by_note.high - by_note.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.05)


def test_a_perfect_score_is_as_sure_as_its_patients_are_many():
    """Clopper and Pearson: the probability of so many successes in a row is .025."""
    low, high = intervals.interval(1.0, np.ones(30), (0.0, 1.0), carriers=12)
    assert high == 1.0
    assert low**12 == pytest.approx(0.025)
    low, high = intervals.interval(-1.0, -np.ones(30), (-1.0, 1.0), carriers=12)
    assert low == -1.0
    assert ((1 - high) / 2) ** 12 == pytest.approx(0.025)


def test_an_end_that_is_reached_but_for_rounding_is_an_end():
    almost = 1 - 2**-53
    exact = intervals.interval(1.0, np.ones(30), (0.0, 1.0), carriers=12)
    without = np.r_[np.ones(29), 1 - 2**-52]
    assert intervals.interval(almost, without, (0.0, 1.0), carriers=12) == exact


def test_a_score_near_an_end_that_one_patient_decides():
    """No overflow: the interval reaches from end to end."""
    without = np.r_[np.full(29, 1e-6), 0.5]
    low, high = intervals.interval(1e-6, without, (0.0, 1.0), carriers=5)
    assert (low, high) == pytest.approx((0.0, 1.0))


def test_a_score_that_hangs_on_one_patient_is_unknown():
    nan = float("nan")
    assert intervals.interval(0.4, np.array([0.4, nan, 0.5]), (0.0, 1.0), 1) == (0.0, 1.0)
    assert np.isnan(intervals.interval(nan, np.array([nan, nan]), (0.0, 1.0), 0)).all()
    assert intervals.interval(0.4, np.array([nan]), (0.0, 1.0), 1) == (0.0, 1.0)  # one patient


def test_carriers_of_the_rarest_class():
    labels = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0], [1, 1, 0]], dtype=bool)
    assert intervals.fewest_carriers(labels, np.array([0, 1, 2, 2, 2])) == 1
    assert intervals.fewest_carriers(labels, np.array([0, 1, 2, 3, 3])) == 2
    assert intervals.fewest_carriers(labels[:, 2:], np.arange(5)) == 0


@pytest.mark.parametrize("equal", [True, False])
def test_intervals_cover_the_truth_with_forty_patients(equal):
    """300 drawn tables each; `benchmarks/simulations.py intervals` draws more of more kinds."""
    names = ["f1", "mcc", "auroc", "auprc"]
    truth = true_scores(equal, names)
    covered = dict.fromkeys(names, 0)
    generator = np.random.default_rng(40 + equal)
    for _ in range(300):
        labels, probabilities, predicted, clusters = scored_table(40, equal, generator)
        scores = metrics.scores(labels, probabilities, predicted, clusters, names)
        for name, score in scores.items():
            covered[name] += score.low <= truth[name] <= score.high
    for name, count in covered.items():
        assert 0.925 <= count / 300 <= 0.985, name
