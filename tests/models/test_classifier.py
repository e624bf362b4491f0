"""NoteClassifier as scikit-learn users expect it."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict, cross_validate

from clinadapt import NoteClassifier, PretrainedModel, ScratchModel, TfidfLogistic, load
from clinadapt.core.errors import InputError

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


def test_an_indicator_comes_back_as_one():
    y = np.column_stack([Y, 1 - Y, np.arange(60) % 3 == 0]).astype(int)
    found = NoteClassifier().fit(TEXTS, y).predict(TEXTS)
    assert found.shape == y.shape
    assert (found[:, :2] == y[:, :2]).all()


def test_parameters_nested_and_cloned():
    classifier = NoteClassifier(TfidfLogistic(C=3.0), validation_fraction=0.2)
    assert classifier.get_params()["model__C"] == 3.0
    copy = clone(classifier).set_params(model__C=5.0)
    assert (copy.model.C, classifier.model.C) == (5.0, 3.0)
    assert copy.fit(TEXTS, Y).model_ is not copy.model


def test_cross_validation_with_groups():
    splitter = GroupKFold(4)
    found = cross_validate(
        NoteClassifier(),
        TEXTS,
        Y,
        groups=PATIENTS,
        cv=splitter,
        scoring=["f1", "roc_auc", "neg_brier_score"],
        params={"groups": PATIENTS},
    )
    assert (found["test_f1"] == 1).all()
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
        (["a", "b", "a", "b"], [0, 1, 0, 1], "no words"),
    ],
)
def test_mistakes_are_told(X, y, message):
    with pytest.raises(InputError, match=message):
        NoteClassifier().fit(X, y)


def test_wrong_settings_are_told_at_fit_not_before():
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
    # Unweighted, the sign alone stays under one half: the threshold must come down to find any.
    assert classifier.predict_proba(["signe note"])[0, 1] < 0.45
    assert classifier.predict(["signe note"])[0] == 1


def test_a_column_vector_is_one_class_a_note():
    classifier = NoteClassifier().fit(TEXTS, Y[:, None])
    assert classifier.task_ == "binary"


def test_groups_of_any_kind():
    groups = [None if n < 3 else float(n // 3) for n in range(60)]
    assert NoteClassifier().fit(TEXTS, Y, groups=groups).score(TEXTS, Y) == 1.0
