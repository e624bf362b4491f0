"""Scores equal scikit-learn's, undefined ones state a reason, intervals cover the truth."""

import inspect
import json

import numpy as np
import pytest
from sklearn import metrics as sk

from clinadapt.data.labels import Labels
from clinadapt.evaluation import intervals, metrics

TASKS = ("binary", "multiclass", "multilabel")
TOLERANCE = {"rtol": 0, "atol": 1e-12}


def case(task, seed=0, n=90):
    """Draw labels, probabilities with many ties, and predicted classes."""
    random = np.random.default_rng(seed)
    if task == "binary":
        positive = random.random(n) < 0.4
        score = np.round(np.clip(0.3 * positive + 0.7 * random.random(n), 0, 1), 1)
        matrix, probabilities = np.c_[~positive, positive], np.c_[1 - score, score]
        predicted = np.c_[score < 0.5, score >= 0.5]
    elif task == "multiclass":
        matrix = np.eye(4, dtype=bool)[random.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])]
        leaning = (matrix + 0.8) / (matrix + 0.8).sum(axis=1, keepdims=True)
        probabilities = np.stack([random.multinomial(10, row) for row in leaning]) / 10
        predicted = np.eye(4, dtype=bool)[probabilities.argmax(axis=1)]
    else:
        matrix = random.random((n, 4)) < [0.6, 0.4, 0.3, 0.15]
        probabilities = np.round(0.4 * matrix + 0.6 * random.random((n, 4)), 1)
        predicted = probabilities >= 0.5
    classes = np.array([f"c{column}" for column in range(matrix.shape[1])])
    return Labels(task, classes, matrix), probabilities, predicted


def codes(task, matrix):
    return matrix.astype(int) if task == "multilabel" else matrix.argmax(axis=1)


def by_sklearn(name, task, matrix, probabilities, predicted):
    """Return a metric computed by scikit-learn alone."""
    truth, guess = codes(task, matrix), codes(task, predicted)
    columns = range(matrix.shape[1])
    kind, _, average = name.partition("_")
    if kind == "accuracy":
        return sk.accuracy_score(truth, guess)
    if kind in ("precision", "recall", "f1"):
        function = getattr(sk, f"{kind}_score")
        return function(truth, guess, average=average or "binary", zero_division=0)
    if kind == "mcc":
        if task != "multilabel":
            return sk.matthews_corrcoef(truth, guess)
        each = [sk.matthews_corrcoef(matrix[:, c], predicted[:, c]) for c in columns]
        return np.mean(each)
    if kind == "auroc":
        if task == "multiclass":
            return sk.roc_auc_score(truth, probabilities, multi_class="ovr", average="macro")
        score = probabilities[:, 1] if task == "binary" else probabilities
        return sk.roc_auc_score(truth, score, average="macro")
    if kind == "auprc":
        if task == "binary":
            return sk.average_precision_score(truth, probabilities[:, 1])
        return sk.average_precision_score(matrix, probabilities, average="macro")
    assert kind == "brier"
    each = [sk.brier_score_loss(matrix[:, c], probabilities[:, c]) for c in columns]
    return {"binary": each[1], "multiclass": np.sum(each), "multilabel": np.mean(each)}[task]


NAMES = [(task, name) for task in TASKS for name in metrics.metric_names(task) if name != "ece"]


@pytest.mark.parametrize(("task", "name"), NAMES)
def test_values_are_those_of_scikit_learn(task, name):
    for seed in range(5):
        labels, probabilities, predicted = case(task, seed)
        ones = np.ones((1, len(labels)))
        scores = metrics.values(labels, probabilities, predicted, ones, [name])
        expected = by_sklearn(name, task, labels.matrix, probabilities, predicted)
        np.testing.assert_allclose(scores[name], expected, **TOLERANCE)


@pytest.mark.parametrize("task", TASKS)
def test_values_under_weights_are_those_of_the_resampled_notes(task):
    labels, probabilities, predicted = case(task, seed=7, n=120)
    clusters = np.random.default_rng(0).integers(40, size=120)
    (weights,) = metrics.resample_weights(clusters, 6, seed=3)
    scores = metrics.values(labels, probabilities, predicted, weights)
    assert set(scores) == set(metrics.metric_names(task))
    for number, weight in enumerate(weights):
        rows = np.repeat(np.arange(120), weight.astype(int))
        for name in scores.keys() - {"ece"}:
            expected = by_sklearn(
                name, task, labels.matrix[rows], probabilities[rows], predicted[rows]
            )
            np.testing.assert_allclose(scores[name][number], expected, **TOLERANCE, err_msg=name)


def test_brier_of_many_classes_is_not_halved():
    if "scale_by_half" not in inspect.signature(sk.brier_score_loss).parameters:
        pytest.skip("this scikit-learn has no Brier score of many classes")
    labels, probabilities, _ = case("multiclass")
    expected = sk.brier_score_loss(labels.target, probabilities, scale_by_half=False)
    scores = metrics.brier("multiclass", labels.matrix, probabilities, np.ones((1, len(labels))))
    np.testing.assert_allclose(scores, expected, **TOLERANCE)


# ---------------------------------------------------------------- calibration, by hand


def test_ece_of_the_positive_class():
    # Bins: .05 | .15 .15 | .95 1.0; gaps: .05 | 1 - .30 | 2 - 1.95; sum .80 of 5 notes.
    score = np.array([0.05, 0.15, 0.15, 0.95, 1.0])
    labels = np.array([0, 1, 0, 1, 1], dtype=bool)
    scores = metrics.ece("binary", np.c_[~labels, labels], np.c_[1 - score, score], np.ones((1, 5)))
    np.testing.assert_allclose(scores, [0.8 / 5], **TOLERANCE)


def test_ece_under_weights():
    # The first note twice, the second never: gaps 2 * .05 | .15 | .05 of 5.
    score = np.array([0.05, 0.15, 0.15, 0.95, 1.0])
    labels = np.array([0, 1, 0, 1, 1], dtype=bool)
    weights = np.array([[2.0, 0, 1, 1, 1]])
    scores = metrics.ece("binary", np.c_[~labels, labels], np.c_[1 - score, score], weights)
    np.testing.assert_allclose(scores, [0.3 / 5], **TOLERANCE)


def test_ece_of_many_classes_is_that_of_the_top_class():
    # Top .55 right, .52 wrong, .75 right: gaps |1 - 1.07| and .25, of 3 notes.
    probabilities = np.array([[0.55, 0.25, 0.2], [0.2, 0.52, 0.28], [0.05, 0.2, 0.75]])
    matrix = np.eye(3, dtype=bool)[[0, 0, 2]]
    scores = metrics.ece("multiclass", matrix, probabilities, np.ones((1, 3)))
    np.testing.assert_allclose(scores, [(0.07 + 0.25) / 3], **TOLERANCE)


def test_ece_of_labels_is_their_mean():
    # First label: .25 where positive, 0 for the other: .75 / 2. Second: .35 twice, one positive.
    probabilities = np.array([[0.25, 0.35], [0.0, 0.35]])
    matrix = np.array([[True, True], [False, False]])
    scores = metrics.ece("multilabel", matrix, probabilities, np.ones((1, 2)))
    np.testing.assert_allclose(scores, [(0.75 / 2 + 0.3 / 2) / 2], **TOLERANCE)


def test_ece_of_calibrated_scores_is_small_and_of_inverted_ones_is_not():
    random = np.random.default_rng(0)
    score = random.random(20_000)
    labels = random.random(20_000) < score
    ones = np.ones((1, 20_000))
    matrix = np.c_[~labels, labels]
    assert metrics.ece("binary", matrix, np.c_[1 - score, score], ones)[0] < 0.02
    assert metrics.ece("binary", matrix, np.c_[score, 1 - score], ones)[0] > 0.4


# ---------------------------------------------------------------- undefined


BINARY_EDGES = [
    ([0, 1, 1], [0, 0, 0], {"precision": "no note was predicted positive"}),
    (
        [0, 0, 0],
        [0, 1, 0],
        {"recall": "no note is positive", "mcc": "one class", "auroc": "some class"},
    ),
    (
        [0, 0, 0],
        [0, 0, 0],
        {
            "precision": "no note was predicted positive",
            "recall": "no note is positive",
            "f1": "no note is positive and none was predicted",
            "mcc": "one class",
            "auroc": "some class",
            "auprc": "no note is positive",
        },
    ),
    ([1, 1, 1], [1, 1, 1], {"auroc": "no note or every note is", "mcc": "only one class"}),
]


@pytest.mark.parametrize(("truth", "guess", "undefined"), BINARY_EDGES)
def test_undefined_binary_scores_are_nan_with_a_reason(truth, guess, undefined):
    truth, guess = np.array(truth, dtype=bool), np.array(guess, dtype=bool)
    labels = Labels("binary", np.array(["no", "yes"]), np.c_[~truth, truth])
    probabilities = np.c_[1 - guess * 0.8, guess * 0.8]
    scores = metrics.scores(labels, probabilities, np.c_[~guess, guess], np.arange(3))
    undefined = dict(undefined)
    if not truth.any():
        undefined.setdefault("auprc", "no note is positive")
    for name, score in scores.items():
        if name in undefined:
            assert np.isnan([score.value, score.low, score.high]).all(), name
            assert undefined[name] in score.reason
            entry = json.loads(json.dumps(score.to_json(), allow_nan=False))
            assert entry["value"] is entry["low"] is entry["high"] is None
            assert entry["reason"] == score.reason
        else:
            assert not np.isnan(score.value), name
            assert score.reason is None
            assert "reason" not in score.to_json()


def test_a_label_without_positives_scores_zero_in_a_mean_and_has_no_area():
    matrix = np.array([[1, 0], [0, 0], [1, 0]], dtype=bool)
    probabilities = np.array([[0.9, 0.1], [0.2, 0.3], [0.8, 0.2]])
    labels = Labels("multilabel", np.array(["a", "b"]), matrix)
    scores = metrics.values(labels, probabilities, probabilities >= 0.5, np.ones((1, 3)))
    expected = sk.f1_score(matrix, probabilities >= 0.5, average="macro", zero_division=0)
    assert scores["f1_macro"] == expected == 0.5
    assert scores["mcc"] == 1  # of the label for which it is defined
    assert np.isnan(scores["auroc"]).all()
    assert np.isnan(scores["auprc"]).all()
    nobody = Labels("multilabel", np.array(["a", "b"]), np.zeros((3, 2), dtype=bool))
    scores = metrics.scores(nobody, probabilities, probabilities > 1, np.arange(3))
    assert {name for name, score in scores.items() if np.isnan(score.value)} == {
        *("auroc", "auprc", "mcc", "f1_micro", "f1_weighted"),
        *("precision_weighted", "recall_weighted"),
    }
    assert all(score.reason for score in scores.values() if np.isnan(score.value))


def test_a_class_that_is_never_predicted_counts_as_zero_in_a_mean():
    truth, guess = np.array([0, 1, 2, 2]), np.array([0, 0, 2, 2])
    labels = Labels("multiclass", np.arange(3), np.eye(3, dtype=bool)[truth])
    predicted = np.eye(3, dtype=bool)[guess]
    scores = metrics.values(labels, predicted * 1.0, predicted, np.ones((1, 4)))
    np.testing.assert_allclose(scores["precision_macro"], (1 / 2 + 0 + 1) / 3, **TOLERANCE)
    np.testing.assert_allclose(scores["f1_macro"], (2 / 3 + 0 + 1) / 3, **TOLERANCE)


@pytest.mark.parametrize("task", TASKS)
def test_the_same_answer_to_every_note_has_no_correlation(task):
    """As in scikit-learn: one seed that predicts one class bars no configuration."""
    labels, probabilities, predicted = case(task)
    same = np.broadcast_to(predicted[0], predicted.shape)
    ones = np.ones((1, len(labels)))
    assert metrics.values(labels, probabilities, same, ones, ["mcc"])["mcc"] == 0
    assert by_sklearn("mcc", task, labels.matrix, probabilities, same) == 0


def test_percentiles_are_of_the_defined_resamples():
    assert metrics.percentiles(np.array([np.nan, 1, 2, 3, np.nan]), 0.5) == (1.5, 2.5)
    assert np.isnan(metrics.percentiles(np.full(3, np.nan))).all()


# ---------------------------------------------------------------- bootstrap


def test_resamples_draw_as_many_patients_as_there_are():
    clusters = np.array([5, 5, 9, 7, 7, 7, 9, 2])
    chunks = list(metrics.resample_weights(clusters, 250, seed=0))
    weights = np.concatenate(chunks)
    assert weights.shape == (250, 8)
    assert max(len(chunk) for chunk in chunks) <= intervals.ROWS_AT_ONCE
    _, first = np.unique(clusters, return_index=True)
    assert (weights[:, first].sum(axis=1) == 4).all()
    for cluster in set(clusters):
        members = weights[:, clusters == cluster]
        assert (members == members[:, :1]).all()
    # Each of 4 patients is drawn once in the mean, and never with probability (3 / 4)^4.
    np.testing.assert_allclose(weights[:, first].mean(axis=0), 1, atol=0.2)
    assert abs((weights[:, first] == 0).mean() - (3 / 4) ** 4) < 0.05


# ---------------------------------------------------------------- intervals


@pytest.mark.parametrize("task", TASKS)
def test_scores_have_the_intervals_of_leaving_out_each_patient(task):
    labels, probabilities, predicted = case(task, seed=2, n=60)
    clusters = np.arange(60) // 3
    scores = metrics.scores(labels, probabilities, predicted, clusters)
    carriers = min(len(np.unique(clusters[column])) for column in labels.matrix.T)
    assert set(scores) == set(metrics.metric_names(task))
    for name in scores.keys() - {"ece"}:
        value = by_sklearn(name, task, labels.matrix, probabilities, predicted)
        without = []
        for patient in range(20):
            left = clusters != patient
            without.append(
                by_sklearn(name, task, labels.matrix[left], probabilities[left], predicted[left])
            )
        ends = metrics.ends(name, task)
        low, high = intervals.interval(value, np.array(without), ends, carriers)
        np.testing.assert_allclose([scores[name].low, scores[name].high], [low, high], atol=1e-9)


def test_classifiers_that_err_alike_have_the_same_interval():
    labels, probabilities, predicted = case("binary")
    clusters = np.arange(90) // 2
    first = metrics.scores(labels, probabilities, predicted, clusters)
    blunt = np.where(predicted, 0.8, 0.2)
    alike = metrics.scores(labels, blunt, predicted, clusters)
    assert all(alike[name] == first[name] for name in metrics.THRESHOLDED["binary"])
