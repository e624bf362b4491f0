"""Paired differences, compared with hand arithmetic, statsmodels and simulated truth."""

import numpy as np
import pytest
from scipy import stats
from simulated import draw, f1, labels_of, predictions
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import mcnemar as exact_mcnemar
from statsmodels.stats.multitest import multipletests

from clinadapt.evaluation.metrics import resample_weights
from clinadapt.evaluation.paired_comparison import ResampledScores, mcnemar

PATIENTS = 60
STUDIES = 300


@pytest.fixture(scope="module")
def notes():
    clusters, positive, predicted = draw(PATIENTS, (0.8, 0.9, 0.8), np.random.default_rng(1))
    configurations = {name: [predictions(one)] for name, one in zip("abc", predicted, strict=True)}
    return clusters, positive, predicted, configurations


def test_value_and_standard_error_are_those_of_resampled_patients(notes):
    clusters, positive, predicted, configurations = notes
    scores = ResampledScores(
        labels_of(positive), clusters, "f1", configurations, resamples=200, seed=3
    )
    difference = scores.differences([("b", "a")])["b", "a"]
    assert difference.value == pytest.approx(
        f1(positive, predicted[1]) - f1(positive, predicted[0])
    )
    # The same resamples, with each note repeated as often as its patient was drawn.
    resampled = []
    for weights in resample_weights(clusters, 200, seed=3):
        for weight in weights.astype(int):
            truth, one, other = (
                np.repeat(v, weight) for v in (positive, predicted[1], predicted[0])
            )
            resampled.append(f1_score(truth, one) - f1_score(truth, other))
    assert difference.error == pytest.approx(np.std(resampled, ddof=1))
    half = stats.t.ppf(0.975, PATIENTS - 1) * np.std(resampled, ddof=1)
    assert (difference.low, difference.high) == pytest.approx(
        (difference.value - half, difference.value + half)
    )


def test_p_values_of_one_call_are_corrected_together(notes):
    clusters, positive, _, configurations = notes
    scores = ResampledScores(labels_of(positive), clusters, "f1", configurations, resamples=200)
    differences = scores.differences([("b", "a"), ("b", "c"), ("a", "c")]).values()
    expected = multipletests([item.p for item in differences], method="holm")[1]
    assert [item.corrected_p for item in differences] == pytest.approx(expected)
    alone = scores.differences([("b", "a")])["b", "a"]
    assert alone.corrected_p == alone.p


def test_an_interval_leaves_out_zero_where_p_is_small(notes):
    clusters, positive, _, configurations = notes
    scores = ResampledScores(labels_of(positive), clusters, "f1", configurations, resamples=200)
    for item in scores.differences([("b", "a"), ("a", "c")]).values():
        assert (item.p < 0.05) == (item.low > 0 or item.high < 0)


def test_identical_configurations_have_no_difference(notes):
    clusters, positive, _, configurations = notes
    twice = {"a": configurations["a"], "again": configurations["a"]}
    scores = ResampledScores(labels_of(positive), clusters, "f1", twice, resamples=100)
    difference = scores.differences([("a", "again")])["a", "again"]
    assert (difference.value, difference.low, difference.high, difference.p) == (0, 0, 0, 1)
    assert not difference.different
    assert difference.certainty(-0.01) == 1.0


def test_one_patient_proves_nothing(notes):
    _, positive, _, configurations = notes
    alone = np.zeros(len(positive), dtype=np.int64)
    scores = ResampledScores(labels_of(positive), alone, "f1", configurations, resamples=100)
    difference = scores.differences([("b", "a")])["b", "a"]
    assert difference.value > 0
    assert np.isnan([difference.low, difference.high]).all()
    assert not difference.different


def test_less_loss_is_better(notes):
    clusters, positive, _, configurations = notes
    scores = ResampledScores(labels_of(positive), clusters, "brier", configurations, resamples=100)
    assert scores.value["b"] < scores.value["a"]
    assert scores.differences([("b", "a")])["b", "a"].value > 0


def test_seeds_that_differ_widen_the_interval(notes):
    clusters, positive, predicted, configurations = notes
    flipped = predicted[0].copy()
    flipped[::4] = ~flipped[::4]
    wide = {"a": [*configurations["a"], predictions(flipped)], "b": configurations["b"]}
    narrow = {"a": configurations["a"] * 2, "b": configurations["b"]}
    errors = [
        ResampledScores(labels_of(positive), clusters, "f1", each, resamples=300)
        .differences([("b", "a")])["b", "a"]
        .error
        for each in (wide, narrow)
    ]
    assert errors[0] > 1.2 * errors[1]
    both = ResampledScores(labels_of(positive), clusters, "f1", wide, resamples=100).value["a"]
    assert both == pytest.approx((f1(positive, predicted[0]) + f1(positive, flipped)) / 2)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_the_variance_of_the_seeds_is_that_of_their_mean(seeds):
    """Every note a patient of its own: the patients' part of the variance is known as well."""
    generator = np.random.default_rng(seeds)
    positive = np.arange(4000) % 2 == 0
    each = [np.where(generator.random(4000) < 0.5 + 0.1 * n, positive, ~positive)
            for n in range(seeds)]  # fmt: skip
    configurations = {"a": [predictions(one) for one in each], "b": [predictions(positive)]}
    scores = ResampledScores(
        labels_of(positive), np.arange(4000), "accuracy", configurations, resamples=4000
    )
    accuracies = [np.mean(one == positive) for one in each]
    of_seeds = np.var(accuracies, ddof=1) / seeds
    found = scores.differences([("b", "a")])["b", "a"].error ** 2
    assert found == pytest.approx(of_seeds, rel=0.15)  # that of 4,000 patients is small


def test_a_constant_seed_does_not_bar_its_configuration(notes):
    clusters, positive, predicted, _ = notes
    constant = np.zeros_like(predicted[1])
    seeds = {"a": [predictions(predicted[1])] * 3 + [predictions(constant)]}
    scores = ResampledScores(labels_of(positive), clusters, "f1", seeds, resamples=200)
    alone = ResampledScores(
        labels_of(positive), clusters, "f1", {"a": seeds["a"][:1]}, resamples=200
    )
    assert scores.knowledge["a"] == pytest.approx(0.75 * alone.knowledge["a"])
    assert scores.knowing()["a"].different


def test_certainty_is_the_share_of_the_distribution_above_a_value(notes):
    clusters, positive, _, configurations = notes
    scores = ResampledScores(labels_of(positive), clusters, "f1", configurations, resamples=200)
    difference = scores.differences([("b", "a")])["b", "a"]
    assert difference.certainty(difference.value) == pytest.approx(0.5)
    assert difference.certainty(difference.low) == pytest.approx(0.975)
    assert difference.certainty(difference.high) == pytest.approx(0.025)


def test_guesses_are_not_better_than_chance(notes):
    clusters, positive, _, configurations = notes
    guess = np.random.default_rng(5).random(len(positive)) < 0.5
    with_guess = {**configurations, "guess": [predictions(guess)]}
    scores = ResampledScores(labels_of(positive), clusters, "f1", with_guess, resamples=200)
    over_chance = scores.knowing()
    assert over_chance["a"].different
    assert not over_chance["guess"].different


# The counts over simulated studies are binomial, which gives the bounds of the tests below.


@pytest.fixture(scope="module")
def simulated():
    """Count intervals that cover the truth, and significant differences of equal classifiers."""
    accuracies = (0.86, 0.89)
    _, positive, predicted = draw(300_000, accuracies, np.random.default_rng(9))
    truth = f1(positive, predicted[1]) - f1(positive, predicted[0])
    generator, covered, false_alarms = np.random.default_rng(2), 0, 0
    for study in range(STUDIES):
        clusters, positive, predicted = draw(100, (*accuracies, 0.86), generator)
        configurations = {
            name: [predictions(one)] for name, one in zip("abc", predicted, strict=True)
        }
        scores = ResampledScores(
            labels_of(positive), clusters, "f1", configurations, resamples=200, seed=study
        )
        differences = scores.differences([("b", "a"), ("c", "a")])
        covered += differences["b", "a"].low <= truth <= differences["b", "a"].high
        false_alarms += differences["c", "a"].p < 0.05
    return covered, false_alarms


def test_intervals_cover_the_truth(simulated):
    low, high = stats.binom.interval(0.999, STUDIES, 0.95)
    assert low <= simulated[0] <= high


def test_equal_classifiers_are_rarely_significantly_different(simulated):
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
    result = mcnemar(*table(b, c))
    assert (result.first, result.second) == (b, c)
    exact = exact_mcnemar([[5, b], [c, 3]], exact=True).pvalue
    if b == c:  # the exact test's p is limited to 1
        assert result.p == pytest.approx(1.0, abs=0.07)
    else:
        assert result.p == pytest.approx(exact - stats.binom.pmf(min(b, c), b + c, 0.5))


def test_mcnemar_without_any_disagreement():
    assert mcnemar(*table(0, 0)).p == 1.0
