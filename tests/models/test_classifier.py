"""NoteClassifier as scikit-learn users expect it."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import average_precision_score, brier_score_loss, f1_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    StratifiedKFold,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)

from clinadapt import NoteClassifier, PretrainedModel, ScratchModel, TfidfLogistic, load
from clinadapt.core.errors import InputError
from clinadapt.explain.explain import explain
from clinadapt.models.shared_encoder import Together

TEXTS = [
    f"enfant {'fievre toux' if n % 2 else 'apyretique eupneique'} jour {n % 5}" for n in range(60)
]
Y = np.array([n % 2 for n in range(60)])
PATIENTS = np.repeat(np.arange(20), 3)


def test_fit_predict_probabilities():
    classifier = NoteClassifier().fit(TEXTS, Y)
    assert list(classifier.classes_) == [0, 1]
    assert (classifier.predict(TEXTS) == Y).all()
    assert classifier.predict_proba(TEXTS).shape == (60, 2)
    assert classifier.score(TEXTS, Y) == 1.0
    assert classifier.predict_proba([]).shape == (0, 2)


@pytest.mark.parametrize(
    ("y", "predicted"),
    [
        (np.array(["no", "yes"])[Y], {"no", "yes"}),
        (pd.Series(["a", "b", "c"] * 20), {"a", "b", "c"}),
        ([("x",) if n % 2 else ("x", "y") for n in range(60)], {("x",), ("x", "y")}),
    ],
)
def test_any_kind_of_label(y, predicted):
    classifier = NoteClassifier().fit(pd.Series(TEXTS), y)
    assert set(classifier.predict(TEXTS)) <= predicted | {("y",)}


def test_an_indicator_is_predicted_as_an_indicator():
    y = np.column_stack([Y, 1 - Y, np.arange(60) % 3 == 0]).astype(int)
    predicted = NoteClassifier().fit(TEXTS, y).predict(TEXTS)
    assert predicted.shape == y.shape
    assert (predicted[:, :2] == y[:, :2]).all()


def test_parameters_nested_and_cloned():
    classifier = NoteClassifier(TfidfLogistic(C=3.0), validation_fraction=0.2)
    assert classifier.get_params()["model__C"] == 3.0
    copy = clone(classifier).set_params(model__C=5.0)
    assert (copy.model.C, classifier.model.C) == (5.0, 3.0)
    assert copy.fit(TEXTS, Y).model_ is not copy.model


def test_cross_validation_with_groups():
    splitter = GroupKFold(4)
    scores = cross_validate(
        NoteClassifier(),
        TEXTS,
        Y,
        groups=PATIENTS,
        cv=splitter,
        scoring=["f1", "roc_auc", "neg_brier_score"],
        params={"groups": PATIENTS},
    )
    assert (scores["test_f1"] == 1).all()
    assert cross_val_predict(NoteClassifier(), TEXTS, Y, groups=PATIENTS, cv=splitter).shape == (
        60,
    )


def test_grid_search_over_a_nested_setting():
    search = GridSearchCV(
        NoteClassifier(TfidfLogistic()), {"model__C": np.array([1.0, 10.0])}, cv=2
    )
    assert search.fit(TEXTS, Y).best_params_["model__C"] in (1.0, 10.0)


def test_validation_notes_are_of_other_patients():
    seen = {}

    class Spy(NoteClassifier):
        def fit_parts(self, texts, labels, validation_texts, validation_labels, context=None):
            seen.update(train=set(texts), validation=set(validation_texts))
            return super().fit_parts(texts, labels, validation_texts, validation_labels, context)

    texts = [f"{text} patient{patient}x" for text, patient in zip(TEXTS, PATIENTS, strict=True)]
    Spy().fit(texts, Y, groups=PATIENTS)
    patients = {part: {text.split()[-1] for text in rows} for part, rows in seen.items()}
    assert not patients["train"] & patients["validation"]
    assert len(seen["validation"]) > 0


def test_models_by_name_and_by_object(encoder_folders, tmp_path):
    NoteClassifier("tfidf-logistic").fit(TEXTS, Y)
    NoteClassifier(ScratchModel(epochs=1, vocabulary=60, max_tokens=8)).fit(TEXTS, Y)
    model = PretrainedModel(str(encoder_folders["bert"]), epochs=1, max_tokens=8)
    classifier = NoteClassifier(model, cache=tmp_path / "cache").fit(TEXTS, Y)
    assert list((tmp_path / "cache").rglob("*.safetensors"))
    again = load(classifier.save(tmp_path / "bundle"))
    assert np.array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ("one text", [0], "put it in a list"),
        (["a", None, "b"], [0, 1, 0], "got other types at 1 position"),
        (["a b", " ", "c d"], [0, 1, 0], "empty text at 1 position"),
        (TEXTS, [*Y[:-1], None], "missing label at 1 position"),
        (TEXTS, [*Y[:-1], float("nan")], "missing label at 1 position"),
        (TEXTS, Y[:10], "60 texts, 10 labels"),
        (TEXTS, np.zeros(60), "at least two classes"),
        (["a", "b", "a", "b"], [0, 1, 0, 1], "no word of two letters or more"),
    ],
)
def test_invalid_input_is_refused(X, y, message):
    with pytest.raises(InputError, match=message):
        NoteClassifier().fit(X, y)


def test_invalid_settings_are_refused_at_fit_not_before():
    classifier = NoteClassifier(TfidfLogistic(C=-1.0), metric="f2")
    with pytest.raises(InputError, match="metric 'f2' is not available for"):
        classifier.fit(TEXTS, Y)
    with pytest.raises(InputError, match=r"C = -1\.0"):
        NoteClassifier(TfidfLogistic(C=-1.0)).fit(TEXTS, Y)
    with pytest.raises(InputError, match="unknown model 'svm'"):
        NoteClassifier("svm").fit(TEXTS, Y)
    with pytest.raises(InputError, match="not a registered model"):
        NoteClassifier(object()).fit(TEXTS, Y)


def test_threshold_is_chosen_on_validation():
    rng = np.random.default_rng(0)
    y = (rng.random(800) < 0.1).astype(int)
    texts = ["signe" * (rng.random() < (0.7 if label else 0.15)) + " note" for label in y]
    classifier = NoteClassifier(TfidfLogistic(class_weight="none")).fit(texts, y)
    # Unweighted, the sign alone gives less than one half: the threshold must be lower to find any.
    assert classifier.predict_proba(["signe note"])[0, 1] < 0.45
    assert classifier.predict(["signe note"])[0] == 1


def test_a_column_vector_is_one_class_a_note():
    with pytest.warns(DataConversionWarning, match="column-vector"):
        classifier = NoteClassifier().fit(TEXTS, Y[:, None])
    assert classifier.task_ == "binary"
    assert classifier.predict(TEXTS).tolist() == Y.tolist()


@pytest.mark.parametrize(
    "groups",
    [
        [n // 3 for n in range(60)],
        pd.Series([f"p{n // 3}" for n in range(60)], dtype="category"),
        pd.DataFrame({"patient": PATIENTS}),
        [("ward", n // 3) for n in range(60)],
    ],
)
def test_groups_of_any_kind(groups):
    assert NoteClassifier().fit(TEXTS, Y, groups=groups).score(TEXTS, Y) == 1.0


# ---------------------------------------------------------------- names of the classes

NOISY = Y ^ (np.arange(60) % 7 == 3)  # so that no score is 1
FOLDS = StratifiedKFold(3)


@pytest.mark.parametrize(
    "names",  # of 0 and 1
    [
        ("no", "yes"),
        ("négatif", "positif"),
        ("sain", "malade"),
        ("control", "case"),
        ("témoin", "cas"),
        ("pas d'infection", "infection"),
    ],
)
def test_named_classes_score_as_zero_and_one(names):
    found = {}
    for y, positive in ((NOISY, 1), (np.array(names)[NOISY], names[1])):
        probability = {"response_method": "predict_proba", "pos_label": positive}
        scorers = [
            "roc_auc",
            "neg_log_loss",
            "accuracy",
            make_scorer(average_precision_score, **probability),
            make_scorer(brier_score_loss, **probability),
            make_scorer(f1_score, pos_label=positive),
        ]  # one by one: together, scikit-learn computes one column for all
        found[positive] = [
            cross_val_score(NoteClassifier(), TEXTS, y, cv=FOLDS, scoring=scorer)
            for scorer in scorers
        ]
    np.testing.assert_allclose(found[names[1]], found[1], atol=1e-6)
    assert not np.isin(found[1], (0, 1)).any()


def test_classes_are_sorted_and_columns_follow_them(tmp_path):
    named = np.array(["unaffected", "case"])[Y]
    classifier = NoteClassifier().fit(TEXTS, named)
    assert classifier.classes_.tolist() == ["case", "unaffected"]
    assert classifier.positive_ == "case"
    assert classifier.label_classes_.tolist() == ["unaffected", "case"]
    probabilities = classifier.predict_proba(TEXTS)
    assert (probabilities[:, 0] > 0.5).tolist() == (named == "case").tolist()
    assert (classifier.predict(TEXTS) == named).all()
    assert (classifier.classes_[classifier.predict_matrix(probabilities).argmax(1)] == named).all()
    held = classifier.validation_probabilities_
    numbers = NoteClassifier().fit(TEXTS, Y)
    np.testing.assert_array_equal(held, numbers.validation_probabilities_[:, ::-1])
    np.testing.assert_array_equal(probabilities, numbers.predict_proba(TEXTS)[:, ::-1])
    # A bundle lists them as its model does, negative first, as bundles always did.
    folder = classifier.save(tmp_path / "bundle")
    assert json.loads((folder / "bundle.json").read_text())["classes"] == ["unaffected", "case"]
    again = load(folder)
    assert again.classes_.tolist() == ["case", "unaffected"]
    assert again.positive_ == "case"
    np.testing.assert_array_equal(again.predict_proba(TEXTS), probabilities)
    together = Together({"one": again}).predict_proba(TEXTS)["one"]
    np.testing.assert_array_equal(together, probabilities)
    (first, *_) = explain(again, TEXTS[1:3])
    assert first.target == "case"
    assert first.probability == probabilities[1, 0]


def test_calibrated_and_cross_validated_probabilities_are_in_the_order_of_the_names():
    named = np.array(["other", "case"])[Y]
    columns = cross_val_predict(NoteClassifier(), TEXTS, named, cv=FOLDS, method="predict_proba")
    assert (columns[:, 0] > 0.5).tolist() == (named == "case").tolist()
    calibrated = CalibratedClassifierCV(NoteClassifier(), cv=FOLDS).fit(TEXTS, named)
    assert (calibrated.predict(TEXTS) == named).all()


def test_positive_class_moves_the_threshold_and_not_the_columns():
    named = np.array(["no", "yes"])[NOISY]
    usual, other = NoteClassifier(), NoteClassifier(positive="no")
    assert usual.fit(TEXTS, named).positive_ == "yes"
    assert other.fit(TEXTS, named).positive_ == "no"
    assert usual.classes_.tolist() == other.classes_.tolist()
    np.testing.assert_allclose(usual.predict_proba(TEXTS), other.predict_proba(TEXTS), atol=1e-3)


def test_a_guessed_positive_class_is_told():
    with pytest.warns(UserWarning, match="do not say which is positive, so 'a', the rarer") as told:
        classifier = NoteClassifier().fit(TEXTS, ["a"] * 20 + ["b"] * 40)
    assert classifier.positive_ == "a"
    assert "positive='b'" in str(told[0].message)
    assert told[0].filename == __file__


def test_fitting_pickling_and_inputs():
    texts, named = np.array(TEXTS, dtype=object), pd.Series(np.array(["no", "yes"])[Y])
    groups = PATIENTS.copy()
    before = texts.copy(), named.copy(), groups.copy()
    classifier = NoteClassifier().fit(texts, named, groups=groups)
    first = classifier.predict_proba(texts)
    assert (texts == before[0]).all()
    assert named.equals(before[1])
    assert (groups == before[2]).all()
    np.testing.assert_array_equal(
        classifier.fit(texts, named, groups=groups).predict_proba(texts), first
    )
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(classifier)).predict_proba(texts), first
    )
