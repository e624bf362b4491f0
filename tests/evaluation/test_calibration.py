"""Calibration and decisions: against hand arithmetic, scikit-learn and known truth."""

import numpy as np
import pytest
from scipy import special
from sklearn.metrics import brier_score_loss, log_loss, precision_score, recall_score

from clinadapt.data.labels import from_sets, from_single
from clinadapt.evaluation.calibration import (
    brier_parts,
    events_of,
    fit_temperature,
    net_benefit,
    operating_points,
    reliability,
    with_temperature,
)


@pytest.fixture(scope="module")
def honest():
    """Events that come true just as often as they are said to."""
    generator = np.random.default_rng(0)
    said = generator.beta(1, 3, 4000)
    return generator.random(4000) < said, said


def binary(events):
    return from_single([str(int(event)) for event in events])


def both(positive):
    return np.column_stack([1 - positive, positive])


def test_bins_hold_about_as_many_events_each(honest):
    bins = reliability(*honest)
    assert [item.events for item in bins] == pytest.approx([400] * 10, abs=2)
    assert sum(item.came * item.events for item in bins) == pytest.approx(honest[0].sum())
    assert [item.said for item in bins] == sorted(item.said for item in bins)


def test_honest_probabilities_lie_in_their_intervals(honest):
    inside = [item.low <= item.said <= item.high for item in reliability(*honest)]
    assert sum(inside) >= 8


def test_equal_probabilities_stay_together():
    said = np.array([0.2] * 7 + [0.8] * 3)
    events = np.array([True, *[False] * 6, True, True, False])
    found = reliability(events, said)
    assert [(item.said, item.events) for item in found] == [
        (pytest.approx(0.2), 7),
        (pytest.approx(0.8), 3),
    ]
    assert [item.came for item in found] == [pytest.approx(1 / 7), pytest.approx(2 / 3)]
    (single,) = reliability(events, np.full(10, 0.3))
    assert single.events == 10


def test_the_parts_add_up_to_the_brier_score(honest):
    events, said = honest
    parts = brier_parts(events, said)
    assert parts.total == pytest.approx(brier_score_loss(events, said))
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert parts.total == pytest.approx(total)
    assert parts.reliability < 0.001
    assert parts.within < 0.005


def test_the_parts_by_hand():
    # Two groups: 0.25 said and 1 of 4 came; 0.5 said and 3 of 4 came.
    said = np.array([0.25] * 4 + [0.5] * 4)
    events = np.array([True, False, False, False, True, True, True, False])
    parts = brier_parts(events, said, bins=2)
    assert parts.reliability == pytest.approx(0.5 * 0.25**2)
    assert parts.resolution == pytest.approx(0.25**2)
    assert parts.uncertainty == pytest.approx(0.25)
    assert parts.within == pytest.approx(0)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_a_planted_temperature_is_found(honest, temperature):
    events, said = honest
    distorted = special.expit(special.logit(said) * temperature)  # as if it had been so much surer
    found = fit_temperature(binary(events), both(distorted))
    assert found == pytest.approx(temperature, rel=0.1)
    restored = with_temperature("binary", both(distorted), found)[:, 1]
    assert log_loss(events, restored) <= log_loss(events, said) + 1e-3


def test_a_planted_temperature_of_classes_and_of_labels():
    generator = np.random.default_rng(1)
    logits = generator.normal(0, 1.5, (3000, 3))
    truth = [int(generator.choice(3, p=row)) for row in special.softmax(logits, axis=1)]
    found = fit_temperature(
        from_single([str(v) for v in truth]), special.softmax(2 * logits, axis=1)
    )
    assert found == pytest.approx(2, rel=0.1)
    present = generator.random(logits.shape) < special.expit(logits)
    sets = from_sets([[name for name, on in zip("abc", row, strict=True) if on] for row in present])
    assert fit_temperature(sets, special.expit(2 * logits)) == pytest.approx(2, rel=0.1)


def test_temperature_changes_no_order(honest):
    _, said = honest
    scaled = with_temperature("binary", both(said), 2.5)
    assert scaled.sum(axis=1) == pytest.approx(1)
    assert (np.argsort(scaled[:, 1], kind="stable") == np.argsort(said, kind="stable")).all()


def test_certain_and_wrong_is_finite():
    found = fit_temperature(binary([True, False, True]), both(np.array([0.0, 0.0, 1.0])))
    assert np.isfinite(found)


def test_net_benefit_by_its_formula(honest):
    events, said = honest
    thresholds = np.array([0.05, 0.2, 0.5, 0.9])
    expected = []
    for threshold in thresholds:
        acted = said >= threshold
        true, false = (acted & events).sum(), (acted & ~events).sum()
        expected.append(true / 4000 - false / 4000 * threshold / (1 - threshold))
    assert net_benefit(events, said, thresholds) == pytest.approx(expected)
    everyone = events.mean() - (1 - events.mean()) * thresholds / (1 - thresholds)
    assert net_benefit(events, np.ones(4000), thresholds) == pytest.approx(everyone)


def test_operating_points_are_chosen_on_validation_and_told_on_test(honest):
    events, said = honest
    validation, test = (events[:2000], said[:2000]), (events[2000:], said[2000:])
    for point in operating_points(validation, test):
        flagged = validation[1] >= point.threshold
        score = {"sensitivity": recall_score, "precision": precision_score}[point.aim]
        assert score(validation[0], flagged) >= point.wanted
        flagged = test[1] >= point.threshold
        assert point.sensitivity == pytest.approx(recall_score(test[0], flagged))
        assert point.precision == pytest.approx(precision_score(test[0], flagged))
        assert point.specificity == pytest.approx(recall_score(~test[0], ~flagged))
        assert point.negative_value == pytest.approx(precision_score(~test[0], ~flagged))
        if point.aim == "sensitivity":  # no higher threshold would do
            higher = validation[1] > point.threshold
            assert recall_score(validation[0], higher) < point.wanted


def test_an_aim_out_of_reach_has_no_threshold():
    events, said = np.array([False, False, True, True]), np.array([0.9, 0.8, 0.2, 0.1])
    (point,) = operating_points((events, said), (events, said), (), (0.9,))
    assert point.threshold is None
    assert point.sensitivity is None


def test_events_of_each_task():
    labels = from_single(["a", "b", "c"])
    events, said = events_of(labels, np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]]))
    assert events.tolist() == [True, False, True]
    assert said.tolist() == [0.6, 0.5, 0.8]
    events, said = events_of(from_sets([["a"], ["a", "b"]]), np.array([[0.9, 0.2], [0.6, 0.7]]))
    assert events.tolist() == [True, False, True, True]
    assert said.tolist() == [0.9, 0.2, 0.6, 0.7]
