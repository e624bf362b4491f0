"""A bundle opens with raw or calibrated probabilities, and with a threshold of the user's."""

import json

import numpy as np
import pytest
from fitted_models import LABELS, QUICK, TEXTS, fitted
from resealed import reseal

from clinadapt import load
from clinadapt.core.errors import InputError
from clinadapt.data.labels import Labels
from clinadapt.models import registry
from clinadapt.models.shared_encoder import Together


def calibrated(task):
    """A classifier that is underconfident on the held-out notes it is calibrated on."""
    classifier = fitted(registry.build("tfidf-logistic", QUICK["tfidf-logistic"]), task)
    table = classifier.in_label_order(classifier.predict_proba(TEXTS))
    held_out, repeated = np.tile(table, (10, 1)), LABELS[task].take(np.tile(np.arange(48), 10))
    labels = Labels(repeated.task, classifier.label_classes_, repeated.matrix)
    return classifier.calibrate(labels, held_out, np.arange(480))


@pytest.fixture(scope="module", params=sorted(LABELS))
def classifier(request):
    return calibrated(request.param)


@pytest.fixture
def folder(classifier, tmp_path):
    return classifier.save(tmp_path / "bundle")


def test_calibration_changes_probabilities_and_no_class(classifier, folder):
    raw = classifier.with_scale("raw")
    assert classifier.scale_ == "calibrated"
    assert np.abs(classifier.predict_proba(TEXTS) - raw.predict_proba(TEXTS)).max() > 0.01
    before, after = raw.predict(TEXTS), classifier.predict(TEXTS)
    assert before.tolist() == after.tolist()
    for again, expected in ((load(folder), classifier), (load(folder, "raw"), raw)):
        assert np.array_equal(again.predict_proba(TEXTS), expected.predict_proba(TEXTS))
        assert again.predict(TEXTS).tolist() == before.tolist()
    together = Together.load({"a": folder}, "raw").predict_proba(TEXTS)["a"]
    assert np.array_equal(together, raw.predict_proba(TEXTS))


def test_a_threshold_is_of_the_probabilities_that_are_shown(classifier, folder, tmp_path):
    if classifier.task_ == "multiclass":
        with pytest.raises(InputError, match="most probable of 3 classes"):
            load(folder, threshold=0.3)
        return
    for scale in ("raw", "calibrated"):
        strict = load(folder, scale, threshold=0.9)
        table = strict.in_label_order(strict.predict_proba(TEXTS))
        predicted = strict.in_label_order(strict.predict_matrix(strict.predict_proba(TEXTS)))
        expected = table >= 0.9
        if classifier.task_ == "multilabel":  # where every labelled note has a label
            expected |= (table == table.max(axis=1, keepdims=True)) & ~expected.any(1)[:, None]
        assert np.array_equal(predicted[:, 1], expected[:, 1])
        # Saved, it is there again, and the other probabilities lead to the same classes.
        again = strict.save(tmp_path / scale)
        assert load(again).threshold_.value == 0.9
        other = load(again, "raw" if scale == "calibrated" else "calibrated")
        assert other.predict(TEXTS).tolist() == strict.predict(TEXTS).tolist()
    with pytest.raises(InputError, match=r"between 0 and 1, got 1\.5"):
        load(folder, threshold=1.5)


def test_without_a_map_there_are_no_calibrated_probabilities(tmp_path):
    classifier = fitted(registry.build("tfidf-logistic", {}), "binary")
    folder = classifier.save(tmp_path / "bundle")
    assert load(folder).scale_ == "raw"
    with pytest.raises(InputError, match="no calibrated probabilities"):
        load(folder, "calibrated")
    with pytest.raises(InputError, match="no calibrated probabilities"):
        classifier.with_scale("calibrated")
    # As bundles of earlier formats, which say nothing about it.
    assert load(reseal(folder, format=4)).scale_ == "raw"


def test_manipulated_maps_are_refused(tmp_path):
    folder = calibrated("binary").save(tmp_path / "bundle")
    record = json.loads((folder / "bundle.json").read_text())
    map = record["calibration"]["map"]
    for changed in (
        {"calibration": None},
        {"calibrated_threshold": None},
        {"calibrated_threshold": {"value": None, "at_least_one": False}},
        {"scale": "other"},
        {"task": "multiclass", "classes": ["a", "b", "c"]},
        {"calibration": record["calibration"] | {"map": map | {"slope": -1.0}}},
        {"calibration": record["calibration"] | {"code": "import os"}},
    ):
        with pytest.raises(InputError, match=r"bundle\.json"):
            load(reseal(folder, **{**record, **changed}))
    reseal(folder, **record)
    assert load(folder).scale_ == "calibrated"
