"""Risk–coverage curves against hand arithmetic."""

import numpy as np
import pytest

from clinadapt.data.labels import Labels
from clinadapt.evaluation.risk_coverage import POINTS, risk_coverage
from clinadapt.evaluation.threshold import Threshold

CLASSES = np.array(["no", "yes"])


def of(positive, chance, threshold=0.5, clusters=None):
    positive, chance = np.array(positive, dtype=bool), np.array(chance)
    labels = Labels("binary", CLASSES, np.c_[~positive, positive])
    clusters = np.arange(len(chance)) if clusters is None else np.asarray(clusters)
    return risk_coverage(labels, np.c_[1 - chance, chance], clusters, Threshold(threshold))


def test_the_surest_answers_come_first():
    curve = of([1, 1, 0, 0], [0.99, 0.1, 0.2, 0.6])  # right, wrong, right, wrong
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve.risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert curve.area.value == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert curve.area.low <= curve.area.value <= curve.area.high


def test_equally_sure_answers_are_given_together():
    """Whatever their order: half of three is no answer."""
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        curve = of(np.array([1, 1, 0, 1])[order], np.array([0.9, 0.7, 0.7, 0.7])[order])
        assert curve.coverage.tolist() == [0.25, 1.0]
        assert curve.risk.tolist() == [0, 0.25]
        assert curve.area.value == pytest.approx(3 / 4 * 0.25)


def test_how_sure_an_answer_is_counts_from_the_threshold():
    """At a threshold of 0.2, 0.6 lies half of the way up and 0.05 three quarters down."""
    curve = of([0, 0], [0.6, 0.05], threshold=0.2)
    assert curve.risk.tolist() == [0.0, 0.5]


def test_more_classes_and_labels():
    probabilities = np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1]])
    labels = Labels("multiclass", np.arange(3), np.eye(3, dtype=bool)[[0, 2]])
    curve = risk_coverage(labels, probabilities, np.arange(2), Threshold(float("nan")))
    assert curve.risk.tolist() == [1.0, 0.5]
    several = Labels("multilabel", np.arange(2), np.array([[True, False], [True, True]]))
    chances = np.array([[0.9, 0.2], [0.45, 0.4]])
    curve = risk_coverage(several, chances, np.arange(2), Threshold(0.5, at_least_one=True))
    # Sure: .8 right, .6 right, .2 wrong (missed); the label that a note needs is right, and last.
    assert curve.coverage.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert curve.risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 4])


def test_the_interval_is_over_patients():
    generator = np.random.default_rng(5)
    positive = np.repeat(generator.random(80) < 0.5, 10)
    chance = np.repeat(generator.random(80), 10)
    by_note, by_patient = of(positive, chance), of(positive, chance, clusters=np.arange(800) // 10)
    assert by_note.area.value == by_patient.area.value
    ratio = (by_patient.area.high - by_patient.area.low) / (by_note.area.high - by_note.area.low)
    assert ratio == pytest.approx(np.sqrt(10), rel=0.1)


def test_written_curves_are_thin_and_keep_their_ends():
    generator = np.random.default_rng(6)
    curve = of(generator.random(900) < 0.5, generator.random(900))
    written = curve.to_json()["curve"]
    assert len(written["risk"]) == POINTS
    assert (written["coverage"][0], written["coverage"][-1]) == (1 / 900, 1.0)
    assert written["risk"][-1] == curve.risk[-1]
