"""Classifiers and bundles that leave notes to a person."""

import json

import numpy as np
import pytest
from fitted_models import LABELS, TEXTS, abstaining, fitted
from resealed import reseal

from clinadapt import NoteClassifier, TfidfLogistic, load
from clinadapt.core.errors import InputError


def test_a_fit_with_groups_counts_patients():
    texts = [f"enfant {'fievre toux' if n % 2 else 'apyretique'}" for n in range(1000)]
    labels = [n % 2 for n in range(1000)]
    by_patient = NoteClassifier().fit(texts, labels, np.arange(1000) // 10)
    by_note = NoteClassifier().fit(texts, labels)
    assert (by_patient.abstention_.patients, by_note.abstention_.patients) == (15, 150)
    # Without any error, 75 positive notes allow 5 %, and 15 patients 20 %, for "no" alone.
    assert by_note.decide(texts[:2], risk=0.05).tolist() == [0, 1]
    assert by_patient.decide(texts[:2], risk=0.05).tolist() == [None, None]
    assert by_patient.decide(texts[:2], risk=0.2).tolist() == [0, None]
    assert by_note.predict_set(texts[:2]).tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("task", LABELS)
def test_decisions_are_predictions_or_none(task):
    classifier = abstaining(task)
    decided, probabilities = classifier.decide(TEXTS), classifier.predict_proba(TEXTS)
    band, least = classifier.abstention_.bands[0], classifier.abstention_.sets[0].least[0]
    unsure = probabilities < band.yes
    if task == "multiclass":
        left = unsure.all(axis=1)
        predicted = classifier.classes_[probabilities.argmax(axis=1)]
    elif task == "binary":
        left = unsure[:, 1] & (probabilities[:, 1] > band.no)
        predicted = classifier.classes_[(~unsure[:, 1]).astype(int)]
    else:
        left = (unsure & (probabilities > band.no)).any(axis=1)
        predicted = [tuple(classifier.classes_[row].tolist()) for row in ~unsure]
    assert 0 < left.sum() < len(TEXTS)
    for one, label, aside in zip(decided, predicted, left, strict=True):
        assert one is None if aside else one == label
    assert np.array_equal(classifier.predict_set(TEXTS), probabilities >= least)


def test_the_negative_class_may_sort_last():
    """Columns of sets are as in `classes_`, whichever class is the positive one."""
    classifier = NoteClassifier(positive="apyretique").fit(
        ["enfant apyretique", "enfant avec fievre"] * 200, ["apyretique", "fievre"] * 200
    )
    assert classifier.classes_.tolist() == ["apyretique", "fievre"]
    texts = ["enfant apyretique", "enfant avec fievre"]
    assert classifier.decide(texts, risk=0.2).tolist() == ["apyretique", "fievre"]
    assert classifier.predict_set(texts, 0.8).tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("task", LABELS)
def test_a_bundle_keeps_bands_and_sets(task, tmp_path):
    classifier = abstaining(task)
    again = load(classifier.save(tmp_path / "bundle"))
    assert again.abstention_ == classifier.abstention_
    assert again.decide(TEXTS).tolist() == classifier.decide(TEXTS).tolist()
    assert load(again.save(tmp_path / "copy")).abstention_ == classifier.abstention_


def test_a_bundle_without_them_says_what_to_do(tmp_path):
    folder = fitted(TfidfLogistic(), "binary").save(tmp_path / "bundle")
    assert "abstention" not in json.loads((folder / "bundle.json").read_text())
    classifier = load(folder)
    assert len(classifier.predict(TEXTS[:1])) == 1
    for ask in (classifier.decide, classifier.predict_set):
        with pytest.raises(InputError, match="fit it again, a study in a new folder"):
            ask(TEXTS[:1])


def test_other_levels_are_refused():
    classifier = abstaining("binary")
    with pytest.raises(InputError, match=r"expected a risk of 0\.05, got 0\.1"):
        classifier.decide(TEXTS, risk=0.1)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("bands", 0, "yes"), 1.5, r"abstention\.bands\.0\.yes is missing or not valid"),
        (("bands", 0, "yes"), "0.7", r"abstention\.bands\.0\.yes is missing or not valid"),
        (("confidence",), 2, r"abstention\.confidence is missing or not valid"),
        (("patients",), 0, r"abstention\.patients is missing or not valid"),
        (("sets", 0, "least"), [0.1] * 3, "prediction sets are not valid for a binary task"),
    ],
)
def test_changed_limits_are_refused(tmp_path, path, value, said):
    folder = abstaining("binary").save(tmp_path / "bundle")
    kept = json.loads((folder / "bundle.json").read_text())["abstention"]
    place = kept
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(InputError, match=said):
        load(reseal(folder, abstention=kept))
