"""Maps of probabilities: planted ones are found, classes stay, and honest ones are left alone."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import special
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from clinadapt.data.labels import Labels
from clinadapt.evaluation import calibration_choice, threshold
from clinadapt.evaluation.calibration_choice import calibrate, compare, log_losses
from clinadapt.evaluation.calibration_fit import fit_map
from clinadapt.evaluation.calibration_maps import METHODS


def drawn(task, notes, slope=1.0, intercept=0.0, seed=0):
    """Notes whose true logits are known, and probabilities off by a slope and an intercept."""
    generator = np.random.default_rng(seed)
    if task == "multiclass":
        logits = generator.normal(0, 1.5, (notes, 3))
        truth = special.softmax(logits, axis=1).cumsum(axis=1)
        chosen = (generator.random(notes)[:, None] > truth).sum(axis=1)
        matrix = chosen[:, None] == np.arange(3)
        probabilities = special.softmax(slope * logits, axis=1)
    else:
        logits = generator.normal(-1, 1.5, (notes, 1 if task == "binary" else 3))
        matrix = generator.random(logits.shape) < special.expit(logits)
        probabilities = special.expit(slope * logits + intercept)
        if task == "binary":
            matrix = np.column_stack([~matrix, matrix])
            probabilities = np.column_stack([1 - probabilities, probabilities])
    names = np.array(["a", "b", "c"][: matrix.shape[1]])
    return Labels(task, names, matrix), probabilities, np.arange(notes)


@pytest.mark.parametrize("task", METHODS)
@pytest.mark.parametrize("slope", [0.5, 2.0])
def test_a_planted_temperature_is_found(task, slope):
    fitted = fit_map("temperature", *drawn(task, 3000, slope))
    assert 1 / fitted.slope == pytest.approx(slope, rel=0.1)
    assert fitted.intercept == 0


def test_the_logistic_map_is_that_of_scikit_learn():
    labels, probabilities, clusters = drawn("binary", 4000, 2.0, 1.0)
    fitted = fit_map("logistic", labels, probabilities, clusters)
    logits = special.logit(probabilities[:, 1:])
    expected = LogisticRegression(C=np.inf, tol=1e-8).fit(logits, labels.target)
    # Platt's targets move the fit a little towards the middle.
    assert fitted.slope == pytest.approx(expected.coef_[0, 0], rel=0.01)
    assert fitted.intercept == pytest.approx(expected.intercept_[0], rel=0.02)


@pytest.mark.parametrize("task", METHODS)
def test_what_is_surely_better_is_so_on_other_notes(task):
    chosen = calibrate(*drawn(task, 600, 2.5, 1.0))
    assert chosen.surely
    assert chosen.high < 0
    assert chosen.calibrated < chosen.raw
    scores = compare(chosen.map, *drawn(task, 5000, 2.5, 1.0, seed=1))
    assert scores["log_loss"]["high"] < 0
    for name in ("log_loss", "brier", "ece"):
        assert scores[name]["calibrated"] < scores[name]["raw"]


def test_honest_probabilities_are_left_alone():
    sure = [
        found is not None and found.surely
        for seed in range(20)
        for found in [calibrate(*drawn("binary", 100, seed=seed))]
    ]
    assert sum(sure) <= 1


def test_patients_count_and_not_notes():
    labels, probabilities, _ = drawn("binary", 400, 2.5)
    assert calibrate(labels, probabilities, np.arange(400) // 40) is None
    few = labels.matrix[:, 1].cumsum() <= 9
    rows = np.flatnonzero(few)
    assert calibrate(labels.take(rows), probabilities[rows], rows) is None


@pytest.mark.parametrize("task", METHODS)
def test_predicted_classes_stay_the_same(task):
    labels, probabilities, clusters = drawn(task, 500, 2.5, 1.0)
    others = drawn(task, 2000, 2.5, 1.0, seed=1)[1]
    rule = threshold.choose(labels, probabilities, "f1_weighted")
    for method in METHODS[task]:
        fitted = fit_map(method, labels, probabilities, clusters)
        moved = replace(rule, value=fitted.move(rule.value))
        for table in (probabilities, others):
            calibrated = fitted.apply(task, table)
            assert (moved.predict(task, calibrated) == rule.predict(task, table)).all()
            assert ((calibrated >= 0) & (calibrated <= 1)).all()
            if task != "multilabel":
                assert calibrated.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("method", METHODS["binary"])
def test_a_map_can_be_undone(method):
    fitted = fit_map(method, *drawn("binary", 500, 2.5, 1.0))
    for value in (0.2, 0.5, 0.7):
        assert fitted.undo(fitted.move(value)) == pytest.approx(value, abs=1e-6)
    assert (fitted.undo(0.0), fitted.undo(1.0)) == (0.0, 1.0)
    assert np.isnan(fitted.undo(float("nan")))


@pytest.mark.parametrize("method", METHODS["binary"])
def test_separated_notes_do_not_make_a_map_certain(method):
    events = np.arange(20) < 10
    labels = Labels("binary", np.array(["0", "1"]), np.column_stack([~events, events]))
    probabilities = np.where(events, 0.9, 0.1)
    table = np.column_stack([1 - probabilities, probabilities])
    fitted = fit_map(method, labels, table, np.arange(20))
    # Platt: ten patients with the class, (10 + 1) / (10 + 2).
    assert fitted.move(0.9) == pytest.approx(11 / 12, abs=1e-3)
    assert fitted.move(0.1) == pytest.approx(1 / 12, abs=1e-3)


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_log_losses_are_those_of_scikit_learn(task):
    labels, probabilities, _ = drawn(task, 50)
    assert log_losses(labels, probabilities).mean() == pytest.approx(
        log_loss(labels.target, probabilities)
    )


def test_of_very_many_answers_some_notes_are_taken(monkeypatch):
    """The map is that of the notes taken, every second one of 400 with two classes."""
    labels, probabilities, patients = drawn("binary", 400, 2.5)
    monkeypatch.setattr(calibration_choice, "MOST_ANSWERS", 400)
    found = calibrate(labels, probabilities, patients)
    taken = np.linspace(0, 399, 200).astype(int)
    monkeypatch.undo()
    alone = calibrate(labels.take(taken), probabilities[taken], patients[taken])
    assert found.notes == 200
    assert found == alone
