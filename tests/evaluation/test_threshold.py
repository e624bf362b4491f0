"""The threshold is the best one on validation notes, and is applied as documented."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

from clinadapt.data.labels import Labels
from clinadapt.evaluation import metrics
from clinadapt.evaluation.threshold import Threshold, best_score, choose


def binary(positive, score):
    positive, score = np.asarray(positive, dtype=bool), np.asarray(score, dtype=float)
    labels = Labels("binary", np.array(["no", "yes"]), np.c_[~positive, positive])
    return labels, np.c_[1 - score, score]


def multilabel(matrix):
    matrix = np.asarray(matrix, dtype=bool)
    return Labels("multilabel", np.arange(matrix.shape[1]), matrix)


def midpoints_between(scores):
    distinct = np.unique(scores)
    return (distinct[1:] + distinct[:-1]) / 2


BY_SKLEARN = {
    "f1": lambda truth, guess: f1_score(truth, guess, zero_division=0),
    "f1_macro": lambda truth, guess: f1_score(truth, guess, average="macro", zero_division=0),
    "accuracy": accuracy_score,
    "mcc": matthews_corrcoef,
}


@pytest.mark.parametrize("metric", BY_SKLEARN)
@pytest.mark.parametrize("rounded", [2, 15])
def test_no_threshold_between_two_probabilities_is_better(metric, rounded):
    for seed in range(4):
        random = np.random.default_rng(seed)
        positive = random.random(40) < 0.3
        score = np.round(0.2 * positive + 0.6 * random.random(40) ** 2, rounded)
        labels, probabilities = binary(positive, score)
        chosen = choose(labels, probabilities, metric)
        best = max(
            BY_SKLEARN[metric](positive, score >= value) for value in midpoints_between(score)
        )
        reached = BY_SKLEARN[metric](positive, score >= chosen.value)
        assert reached >= best - 1e-12
        assert best_score(labels, probabilities, metric) == pytest.approx(reached)


@pytest.mark.parametrize("average", ["macro", "weighted", "micro"])
def test_no_threshold_common_to_all_labels_is_better(average):
    for seed in range(3):
        random = np.random.default_rng(seed)
        matrix = random.random((25, 3)) < [0.5, 0.3, 0.2]
        probabilities = 0.3 * matrix + 0.6 * random.random((25, 3))
        chosen = choose(multilabel(matrix), probabilities, f"f1_{average}")
        assert not chosen.at_least_one

        def score_at(value, matrix=matrix, probabilities=probabilities):
            return f1_score(matrix, probabilities >= value, average=average, zero_division=0)

        best = max(score_at(value) for value in midpoints_between(probabilities))
        assert score_at(chosen.value) >= best - 1e-12


@pytest.mark.parametrize("task", ["binary", "multilabel"])
@pytest.mark.parametrize("metric", ["accuracy", "f1_weighted", "mcc"])
def test_counts_at_every_threshold_are_those_of_the_predictions(task, metric):
    """The best of all thresholds by predicting at each of them, where probabilities are tied."""
    for seed in range(6):
        random = np.random.default_rng(seed)
        if task == "binary":
            labels, probabilities = binary(random.random(40) < 0.3, random.random(40).round(1))
        else:
            matrix = random.random((40, 4)) < 0.3
            matrix[:, 0] |= ~matrix.any(axis=1) & (seed % 2 == 0)
            labels, probabilities = multilabel(matrix), random.random((40, 4)).round(1)
        chosen = choose(labels, probabilities, metric)
        scores = []
        for value in [chosen.value, *midpoints_between(probabilities)]:
            predicted = Threshold(value, chosen.at_least_one).predict(task, probabilities)
            counts = metrics.count(labels.matrix, predicted, np.ones((1, 40)))
            scores.append(metrics.thresholded(metric, task, counts)[0])
        assert scores[0] == pytest.approx(np.nanmax(scores))


def test_rare_positives_get_a_threshold_between_any_two_notes():
    """Two hundred quantiles of 8,000 notes are 40 notes apart: as many as are positive."""
    gained = []
    for seed in range(10):
        random = np.random.default_rng(seed)
        positive = random.random(48_000) < 0.005
        score = 1 / (1 + np.exp(5 - random.normal(0, 1, 48_000) - 3.2 * positive))
        labels, probabilities = binary(positive[:8000], score[:8000])
        steps = np.unique(np.quantile(score[:8000], np.linspace(0, 1, 201)))
        coarse = max((steps[1:] + steps[:-1]) / 2, key=lambda t: f1_at(t, positive, score, 8000))
        exact = choose(labels, probabilities, "f1").value
        gained.append(
            f1_at(exact, positive[8000:], score[8000:])
            - f1_at(coarse, positive[8000:], score[8000:])
        )
    assert np.mean(gained) > 0.02


def f1_at(value, positive, score, first=None):
    positive, guess = positive[:first], score[:first] >= value
    return 2 * (positive & guess).sum() / (positive.sum() + guess.sum())


def test_neighbouring_numbers_have_a_threshold_between_them():
    low = 0.3
    high = np.nextafter(low, 1)
    labels, probabilities = binary([0, 1], [low, high])
    predicted = choose(labels, probabilities, "accuracy").predict("binary", probabilities)
    np.testing.assert_array_equal(predicted, labels.matrix)


def test_the_threshold_differs_from_metric_to_metric():
    random = np.random.default_rng(0)
    positive = random.random(60) < 0.15
    labels, probabilities = binary(positive, 0.2 * positive + 0.5 * random.random(60))
    assert choose(labels, probabilities, "recall").value < choose(labels, probabilities, "f1").value


@pytest.mark.parametrize("metric", ["auroc", "brier", "auprc", "ece"])
def test_a_metric_without_threshold_uses_the_primary_metric(metric):
    random = np.random.default_rng(1)
    positive = random.random(50) < 0.3
    labels, probabilities = binary(positive, 0.3 * positive + 0.5 * random.random(50))
    assert choose(labels, probabilities, metric) == choose(labels, probabilities, "f1")
    assert choose(labels, probabilities, metric).value != 0.5


@pytest.mark.parametrize(
    ("positive", "score", "low", "high"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], 0.5, 0.5),
        ([0, 0, 1], [0.1, 0.6, 0.9], 0.75, 0.75),
        ([0, 1, 1], [0.1, 0.4, 0.9], 0.25, 0.25),
        # Accuracy is 3/4 both between the first two and between the last two.
        ([0, 1, 0, 1], [0.05, 0.2, 0.6, 0.7], 0.6, 0.7),
        ([0, 1, 0, 1], [0.3, 0.4, 0.8, 0.95], 0.3, 0.4),
        ([1, 1, 0], [0.5, 0.5, 0.5], 0.5, 0.5),
    ],
)
def test_of_equally_good_thresholds_the_one_nearest_to_a_half_is_taken(positive, score, low, high):
    value = choose(*binary(positive, score), "accuracy").value
    assert low <= value <= high


def test_a_probability_at_the_threshold_is_positive():
    score = np.array([0.3, np.nextafter(0.3, 0), np.nextafter(0.3, 1)])
    predicted = Threshold(0.3).predict("binary", np.c_[1 - score, score])
    assert predicted.tolist() == [[False, True], [True, False], [False, True]]
    assert Threshold(0.3).predict("multilabel", score[:, None]).ravel().tolist() == [
        True,
        False,
        True,
    ]


def test_many_classes_have_no_threshold():
    random = np.random.default_rng(0)
    probabilities = random.dirichlet(np.ones(4), size=30)
    labels = Labels("multiclass", np.arange(4), np.eye(4, dtype=bool)[random.integers(4, size=30)])
    chosen = choose(labels, probabilities, "f1_macro")
    assert np.isnan(chosen.value)
    predicted = chosen.predict("multiclass", probabilities)
    assert (predicted.sum(axis=1) == 1).all()
    np.testing.assert_array_equal(predicted.argmax(axis=1), probabilities.argmax(axis=1))
    expected = f1_score(labels.target, probabilities.argmax(axis=1), average="macro")
    assert best_score(labels, probabilities, "f1_macro") == pytest.approx(expected)


def test_a_tie_of_classes_predicts_one_of_them():
    assert Threshold(float("nan")).predict("multiclass", np.full((1, 3), 1 / 3)).sum() == 1


@pytest.mark.parametrize(
    ("at_least_one", "expected"),
    [
        (False, [[True, True, False], [False, False, False]]),
        (True, [[True, True, False], [False, True, False]]),
    ],
)
def test_at_least_one_label(at_least_one, expected):
    probabilities = np.array([[0.9, 0.6, 0.1], [0.1, 0.3, 0.2]])
    assert Threshold(0.5, at_least_one).predict("multilabel", probabilities).tolist() == expected


@pytest.mark.parametrize(("last", "expected"), [([0, 0], False), ([0, 1], True)])
def test_at_least_one_label_is_predicted_if_every_known_note_has_one(last, expected):
    labels = multilabel([[1, 0], [1, 1], last])
    probabilities = np.array([[0.9, 0.2], [0.8, 0.7], [0.1, 0.2]])
    assert choose(labels, probabilities, "f1_macro").at_least_one is expected


def test_losses_are_negated():
    labels, probabilities = binary([0, 1], [0.4, 0.6])
    assert best_score(labels, probabilities, "brier") == pytest.approx(-0.16)


def test_an_undefined_score_is_zero():
    labels, probabilities = binary([1, 1], [0.4, 0.6])
    assert best_score(labels, probabilities, "auroc") == 0
