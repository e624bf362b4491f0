"""Paired differences: against hand arithmetic, statsmodels, and simulated truth."""

import numpy as np
import pytest
from scipy import stats
from simulated import draw, f1, labels_of, predictions
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar as exact_mcnemar
from statsmodels.stats.multitest import multipletests

from clinadapt.evaluation.metrics import resample_weights
from clinadapt.evaluation.paired_comparison import Scores, mcnemar

PATIENTS = 60
STUDIES = 300


@pytest.fixture(scope="module")
def notes():
    clusters, positive, said = draw(PATIENTS, (0.8, 0.9, 0.8), np.random.default_rng(1))
    rows = {name: [predictions(one)] for name, one in zip("abc", said, strict=True)}
    return clusters, positive, said, rows


def test_value_and_standard_error_are_those_of_resampled_patients(notes):
    clusters, positive, said, rows = notes
    scores = Scores(labels_of(positive), clusters, "f1", rows, resamples=200, seed=3)
    found = scores.differences([("b", "a")])["b", "a"]
    assert found.value == pytest.approx(f1(positive, said[1]) - f1(positive, said[0]))
    # The same patients drawn, but each note repeated as often as its patient was.
    drawn = []
    for weights in resample_weights(clusters, 200, seed=3):
        for weight in weights.astype(int):
            truth, one, other = (np.repeat(v, weight) for v in (positive, said[1], said[0]))
            drawn.append(f1_score(truth, one) - f1_score(truth, other))
    assert found.error == pytest.approx(np.std(drawn, ddof=1))
    half = stats.t.ppf(0.975, PATIENTS - 1) * np.std(drawn, ddof=1)
    assert (found.low, found.high) == pytest.approx((found.value - half, found.value + half))


def test_p_values_of_a_family_are_corrected_together(notes):
    clusters, positive, _, rows = notes
    scores = Scores(labels_of(positive), clusters, "f1", rows, resamples=200)
    found = scores.differences([("b", "a"), ("b", "c"), ("a", "c")]).values()
    expected = multipletests([item.p for item in found], method="holm")[1]
    assert [item.corrected_p for item in found] == pytest.approx(expected)
    alone = scores.differences([("b", "a")])["b", "a"]
    assert alone.corrected_p == alone.p


def test_an_interval_leaves_out_zero_where_p_is_small(notes):
    clusters, positive, _, rows = notes
    scores = Scores(labels_of(positive), clusters, "f1", rows, resamples=200)
    for item in scores.differences([("b", "a"), ("a", "c")]).values():
        assert (item.p < 0.05) == (item.low > 0 or item.high < 0)


def test_the_same_row_twice_is_no_difference(notes):
    clusters, positive, _, rows = notes
    twice = {"a": rows["a"], "again": rows["a"]}
    scores = Scores(labels_of(positive), clusters, "f1", twice, resamples=100)
    found = scores.differences([("a", "again")])["a", "again"]
    assert (found.value, found.low, found.high, found.p) == (0, 0, 0, 1)
    assert not found.different
    assert found.certainty(-0.01) == 1.0


def test_one_patient_proves_nothing(notes):
    _, positive, _, rows = notes
    alone = np.zeros(len(positive), dtype=np.int64)
    scores = Scores(labels_of(positive), alone, "f1", rows, resamples=100)
    found = scores.differences([("b", "a")])["b", "a"]
    assert found.value > 0
    assert np.isnan([found.low, found.high]).all()
    assert not found.different


def test_less_loss_is_better(notes):
    clusters, positive, _, rows = notes
    scores = Scores(labels_of(positive), clusters, "brier", rows, resamples=100)
    assert scores.value["b"] < scores.value["a"]
    assert scores.differences([("b", "a")])["b", "a"].value > 0


def test_seeds_that_differ_widen_the_interval(notes):
    clusters, positive, said, rows = notes
    flipped = said[0].copy()
    flipped[::4] = ~flipped[::4]
    wide = {"a": [*rows["a"], predictions(flipped)], "b": rows["b"]}
    narrow = {"a": rows["a"] * 2, "b": rows["b"]}
    errors = [
        Scores(labels_of(positive), clusters, "f1", each, resamples=300)
        .differences([("b", "a")])["b", "a"]
        .error
        for each in (wide, narrow)
    ]
    assert errors[0] > 1.2 * errors[1]
    both = Scores(labels_of(positive), clusters, "f1", wide, resamples=100).value["a"]
    assert both == pytest.approx((f1(positive, said[0]) + f1(positive, flipped)) / 2)


def test_certainty_is_the_share_of_the_distribution_above(notes):
    clusters, positive, _, rows = notes
    scores = Scores(labels_of(positive), clusters, "f1", rows, resamples=200)
    found = scores.differences([("b", "a")])["b", "a"]
    assert found.certainty(found.value) == pytest.approx(0.5)
    assert found.certainty(found.low) == pytest.approx(0.975)
    assert found.certainty(found.high) == pytest.approx(0.025)


def test_guesses_know_nothing(notes):
    clusters, positive, _, rows = notes
    guess = np.random.default_rng(5).random(len(positive)) < 0.5
    with_guess = {**rows, "guess": [predictions(guess)]}
    scores = Scores(labels_of(positive), clusters, "f1", with_guess, resamples=200)
    knowing = scores.knowing()
    assert knowing["a"].different
    assert not knowing["guess"].different


# Every simulated study counts: the share is a binomial one, and its own error decides the bounds.


@pytest.fixture(scope="module")
def simulated():
    """Whether the interval holds the true difference, and whether equal rows are told apart."""
    accuracies = (0.86, 0.89)
    _, positive, said = draw(300_000, accuracies, np.random.default_rng(9))
    truth = f1(positive, said[1]) - f1(positive, said[0])
    generator, covered, alarmed = np.random.default_rng(2), 0, 0
    for study in range(STUDIES):
        clusters, positive, said = draw(100, (*accuracies, 0.86), generator)
        rows = {name: [predictions(one)] for name, one in zip("abc", said, strict=True)}
        scores = Scores(labels_of(positive), clusters, "f1", rows, resamples=200, seed=study)
        found = scores.differences([("b", "a"), ("c", "a")])
        covered += found["b", "a"].low <= truth <= found["b", "a"].high
        alarmed += found["c", "a"].p < 0.05
    return covered, alarmed


def test_intervals_cover_the_truth(simulated):
    low, high = stats.binom.interval(0.999, STUDIES, 0.95)
    assert low <= simulated[0] <= high


def test_equal_rows_are_rarely_told_apart(simulated):
    assert simulated[1] <= stats.binom.ppf(0.999, STUDIES, 0.05)


# ---------------------------------------------------------------- McNemar


def table(only_first, only_second, both=5, neither=3):
    right = [(True, True)] * both + [(False, False)] * neither
    right += [(True, False)] * only_first + [(False, True)] * only_second
    first, second = np.array(right).T
    truth = np.ones((len(first), 1), dtype=bool)
    return truth, first[:, None], second[:, None]


@pytest.mark.parametrize(("b", "c"), [(12, 3), (3, 12), (1, 0), (20, 20), (0, 9)])
def test_mcnemar_is_the_exact_test_less_half_of_the_observed_table(b, c):
    found = mcnemar(*table(b, c))
    assert (found.first, found.second) == (b, c)
    exact = exact_mcnemar([[5, b], [c, 3]], exact=True).pvalue
    if b == c:  # the exact test's p is cut at 1
        assert found.p == pytest.approx(1.0, abs=0.07)
    else:
        assert found.p == pytest.approx(exact - stats.binom.pmf(min(b, c), b + c, 0.5))


def test_mcnemar_without_any_disagreement():
    assert mcnemar(*table(0, 0)).p == 1.0
