"""Calibration and decisions, compared with hand arithmetic, scikit-learn and known truth."""

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import brier_score_loss, precision_score, recall_score

from clinadapt.data.labels import from_sets, from_single
from clinadapt.evaluation.calibration import (
    brier_parts,
    events_of,
    net_benefit,
    operating_points,
    reliability,
)


@pytest.fixture(scope="module")
def honest():
    """Events that occur exactly as often as predicted."""
    generator = np.random.default_rng(0)
    probabilities = generator.beta(1, 3, 4000)
    return generator.random(4000) < probabilities, probabilities


def binary(events):
    return from_single([str(int(event)) for event in events])


def both(positive):
    return np.column_stack([1 - positive, positive])


def test_bins_have_about_equal_numbers_of_events(honest):
    bins = reliability(*honest)
    assert [item.events for item in bins] == pytest.approx([400] * 10, abs=2)
    assert sum(item.came * item.events for item in bins) == pytest.approx(honest[0].sum())
    assert [item.said for item in bins] == sorted(item.said for item in bins)


def test_honest_probabilities_lie_in_their_intervals(honest):
    inside = [item.low <= item.said <= item.high for item in reliability(*honest)]
    assert sum(inside) >= 8


@pytest.mark.parametrize("came", [0, 1, 13, 20])
def test_intervals_are_wilsons(came):
    events = np.arange(20) < came
    (item,) = reliability(events, np.full(20, 0.4))
    expected = stats.binomtest(came, 20).proportion_ci(method="wilson")
    assert (item.low, item.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_equal_probabilities_stay_together():
    probabilities = np.array([0.2] * 7 + [0.8] * 3)
    events = np.array([True, *[False] * 6, True, True, False])
    bins = reliability(events, probabilities)
    assert [(item.said, item.events) for item in bins] == [
        (pytest.approx(0.2), 7),
        (pytest.approx(0.8), 3),
    ]
    assert [item.came for item in bins] == [pytest.approx(1 / 7), pytest.approx(2 / 3)]
    (single,) = reliability(events, np.full(10, 0.3))
    assert single.events == 10


def test_the_parts_add_up_to_the_brier_score(honest):
    events, probabilities = honest
    parts = brier_parts(events, probabilities)
    assert parts.total == pytest.approx(brier_score_loss(events, probabilities))
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert parts.total == pytest.approx(total)
    assert parts.reliability < 0.001
    assert parts.within < 0.005


def test_the_parts_by_hand():
    # Two groups: predicted 0.25, observed 1 of 4; predicted 0.5, observed 3 of 4.
    probabilities = np.array([0.25] * 4 + [0.5] * 4)
    events = np.array([True, False, False, False, True, True, True, False])
    parts = brier_parts(events, probabilities, bins=2)
    assert parts.reliability == pytest.approx(0.5 * 0.25**2)
    assert parts.resolution == pytest.approx(0.25**2)
    assert parts.uncertainty == pytest.approx(0.25)
    assert parts.within == pytest.approx(0)


def test_net_benefit_by_its_formula(honest):
    events, probabilities = honest
    thresholds = np.array([0.05, 0.2, 0.5, 0.9])
    expected = []
    for threshold in thresholds:
        acted = probabilities >= threshold
        true, false = (acted & events).sum(), (acted & ~events).sum()
        expected.append(true / 4000 - false / 4000 * threshold / (1 - threshold))
    assert net_benefit(events, probabilities, thresholds) == pytest.approx(expected)
    everyone = events.mean() - (1 - events.mean()) * thresholds / (1 - thresholds)
    assert net_benefit(events, np.ones(4000), thresholds) == pytest.approx(everyone)


def test_operating_points_are_chosen_on_validation_and_measured_on_test(honest):
    events, probabilities = honest
    validation, test = (events[:2000], probabilities[:2000]), (events[2000:], probabilities[2000:])
    for point in operating_points(validation, test):
        flagged = validation[1] >= point.threshold
        score = {"sensitivity": recall_score, "precision": precision_score}[point.aim]
        assert score(validation[0], flagged) >= point.wanted
        flagged = test[1] >= point.threshold
        assert point.sensitivity == pytest.approx(recall_score(test[0], flagged))
        assert point.precision == pytest.approx(precision_score(test[0], flagged))
        assert point.specificity == pytest.approx(recall_score(~test[0], ~flagged))
        assert point.negative_value == pytest.approx(precision_score(~test[0], ~flagged))
        if point.aim == "sensitivity":  # no higher threshold reaches it
            higher = validation[1] > point.threshold
            assert recall_score(validation[0], higher) < point.wanted


def test_an_unreachable_target_has_no_threshold():
    events, probabilities = np.array([False, False, True, True]), np.array([0.9, 0.8, 0.2, 0.1])
    (point,) = operating_points((events, probabilities), (events, probabilities), (), (0.9,))
    assert point.threshold is None
    assert point.sensitivity is None


def test_events_of_each_task():
    labels = from_single(["a", "b", "c"])
    events, probabilities = events_of(
        labels, np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.1, 0.8]])
    )
    assert events.tolist() == [True, False, True]
    assert probabilities.tolist() == [0.6, 0.5, 0.8]
    events, probabilities = events_of(
        from_sets([["a"], ["a", "b"]]), np.array([[0.9, 0.2], [0.6, 0.7]])
    )
    assert events.tolist() == [True, False, True, True]
    assert probabilities.tolist() == [0.9, 0.2, 0.6, 0.7]
