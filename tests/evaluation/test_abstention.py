"""Bands and sets together: what is kept, and what they do on other notes."""

import numpy as np
import pytest
from simulated import abstaining_table

from clinadapt.core.errors import InputError
from clinadapt.data.labels import Labels
from clinadapt.evaluation import abstention
from clinadapt.evaluation.abstention import COVERAGES, RISKS, Abstention, Promise
from clinadapt.evaluation.prediction_sets import PredictionSets
from clinadapt.evaluation.reject_band import RejectBand
from clinadapt.evaluation.shares import share
from clinadapt.evaluation.threshold import Threshold


@pytest.fixture(scope="module")
def kept():
    table = abstaining_table(300, np.random.default_rng(4), signal=4.0)
    return abstention.calibrate(*table, Threshold(0.5))


def test_there_is_a_band_for_each_risk_and_a_set_for_each_coverage(kept):
    assert tuple(band.risk for band in kept.bands) == RISKS
    assert tuple(sets.coverage for sets in kept.sets) == COVERAGES
    assert kept.patients == 300
    assert Abstention.model_validate(kept.model_dump()) == kept


def test_a_larger_risk_leaves_less_and_a_larger_coverage_puts_more_into_sets(kept):
    _, probabilities, _ = abstaining_table(300, np.random.default_rng(5), signal=4.0)
    left = [band.answer("binary", probabilities)[1].mean() for band in kept.bands]
    sizes = [sets.of(probabilities).sum() for sets in kept.sets]
    assert left == sorted(left, reverse=True)
    assert left[0] > left[-1]
    assert sizes == sorted(sizes)


def test_other_levels_are_refused_with_those_that_there_are(kept):
    with pytest.raises(InputError, match=r"risk of 0.01, 0.02, 0.05, 0.1, 0.2, got 0.03"):
        kept.check(Promise(risk=0.03))
    with pytest.raises(InputError, match=r"coverage of 0.8, 0.9, 0.95, 0.99, got 90"):
        kept.check(Promise(coverage=90))


def test_whose_they_are_shows_in_their_form(kept):
    assert kept.fits("binary", 2)
    assert not kept.fits("binary", 3)
    assert not kept.fits("multiclass", 2)  # it has limits of "no"


def test_a_band_is_measured_by_hand():
    positive = np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0], dtype=bool)
    chance = np.array([0.9, 0.8, 0.5, 0.1, 0.9, 0.5, 0.1, 0.1, 0.1, 0.1])
    labels = Labels("binary", np.array(["no", "yes"]), np.c_[~positive, positive])
    band = RejectBand(risk=0.3, yes=0.8, no=0.2)
    measured = abstention.measure_band(band, labels, np.c_[1 - chance, chance], np.arange(10))
    assert measured.left.value == pytest.approx(2 / 10)
    assert measured.missed is not None
    assert measured.missed.value == pytest.approx(1 / 4)
    assert measured.wrong.value == pytest.approx(1 / 3)
    written = measured.to_json()
    assert (written["missed"]["kept"], written["wrong"]["kept"]) == (True, False)


def test_a_band_that_never_says_yes_has_no_share_of_wrong_ones():
    labels = Labels("binary", np.array(["no", "yes"]), np.eye(2, dtype=bool))
    band = RejectBand(risk=0.1, yes=None, no=0.4)
    measured = abstention.measure_band(band, labels, np.full((2, 2), 0.5), np.arange(2)).to_json()
    assert measured["wrong"]["value"] is None
    assert measured["wrong"]["kept"] is None
    assert measured["left"]["value"] == 1.0


def test_bands_of_more_classes_and_labels_are_measured_by_hand():
    matrix = np.array([[True, False, False], [False, True, False], [False, False, True]])
    chances = np.array([[0.8, 0.1, 0.1], [0.9, 0.1, 0.0], [0.4, 0.3, 0.3]])
    several = Labels("multiclass", np.arange(3), matrix)
    band = RejectBand(risk=0.1, yes=0.7, no=None)
    measured = abstention.measure_band(band, several, chances, np.arange(3))
    assert (measured.left.value, measured.wrong.value) == (pytest.approx(1 / 3), 0.5)
    assert measured.missed is None
    labels = Labels("multilabel", np.arange(3), matrix)
    band = RejectBand(risk=0.1, yes=0.7, no=0.1)
    measured = abstention.measure_band(band, labels, chances, np.arange(3))
    assert measured.left.value == pytest.approx(1 / 3)  # the third note, in all labels
    assert measured.missed is not None
    assert measured.missed.value == pytest.approx(1 / 3)
    assert measured.wrong.value == pytest.approx(1 / 2)


def test_sets_are_measured_as_means_over_patients():
    positive = np.array([1, 1, 1, 1, 0], dtype=bool)
    chance = np.array([0.9, 0.1, 0.1, 0.9, 0.2])
    labels = Labels("binary", np.array(["no", "yes"]), np.c_[~positive, positive])
    sets = PredictionSets(coverage=0.8, least=[0.5, 0.5])
    measured = abstention.measure_sets(
        sets, labels, np.c_[1 - chance, chance], np.array([0, 0, 0, 1, 1])
    )
    assert measured.covered["yes"].value == pytest.approx((1 / 3 + 1) / 2)
    assert measured.covered["no"].value == 1
    assert (measured.size, measured.one) == (1.0, 1.0)
    assert measured.to_json()["least_covered"] == "yes"


def test_a_share_and_its_interval_by_hand():
    some, of = np.array([1, 0, 1, 1]), np.array([1, 1, 1, 1])
    found = share(some, of, np.array([0, 0, 1, 2]))
    assert found.value == 0.75
    assert 0 < found.low < 0.75 < found.high < 1
    assert np.isnan(share(some, np.zeros(4), np.arange(4)).value)
