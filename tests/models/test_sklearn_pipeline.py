"""A user's own scikit-learn pipeline: fitted, compared, bundled and opened without running code."""

import json
import sys

import numpy as np
import pipelines
import polars as pl
import pytest

from clinadapt import NoteClassifier, Study, load
from clinadapt.core.errors import InputError
from clinadapt.data.columns import Columns
from clinadapt.data.notes import read_notes
from clinadapt.data.python_inputs import as_labels
from clinadapt.models import registry
from clinadapt.models.files import PIPELINE_FILE
from clinadapt.models.sklearn_pipeline import SklearnModel

TEXTS = [f"{word} note {number}" for number in range(12) for word in ("fever", "cough", "rash")]
TARGETS = {
    "binary": [0, 1, 1] * 12,
    "multiclass": ["a", "b", "c"] * 12,
    "multilabel": [["a"], ["a", "b"], ["c"]] * 12,
}


@pytest.mark.parametrize("task", TARGETS)
def test_probabilities_are_the_pipelines_own(task):
    labels = as_labels(TARGETS[task])
    model = SklearnModel("pipelines:words", options={"C": 2.0}).fit(TEXTS, labels)
    target = labels.matrix.astype(int) if task == "multilabel" else labels.target
    alone = pipelines.words(C=2.0).fit(TEXTS, target)
    np.testing.assert_array_equal(model.predict_proba(TEXTS), alone.predict_proba(TEXTS))


def test_a_list_of_probabilities_is_one_matrix():
    labels = as_labels(TARGETS["multilabel"])
    probabilities = SklearnModel("pipelines:forest").fit(TEXTS, labels).predict_proba(TEXTS)
    alone = pipelines.forest().fit(TEXTS, labels.matrix.astype(int)).predict_proba(TEXTS)
    np.testing.assert_array_equal(probabilities, np.stack([each[:, 1] for each in alone], axis=1))


def test_a_bundle_opens_where_the_users_module_is_not(tmp_path, monkeypatch):
    classifier = NoteClassifier(SklearnModel("pipelines:words")).fit(TEXTS, TARGETS["multiclass"])
    classifier.save(tmp_path / "bundle")
    monkeypatch.delitem(sys.modules, "pipelines")
    monkeypatch.setattr(sys, "path", [p for p in sys.path if not p.endswith("tests")])
    again = load(tmp_path / "bundle")
    assert "pipelines" not in sys.modules
    np.testing.assert_array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


def test_a_pipeline_that_runs_code_of_others_is_not_saved(tmp_path):
    model = SklearnModel("pipelines:own_function").fit(TEXTS, as_labels(TARGETS["binary"]))
    with pytest.raises(InputError, match=r"the pipeline contains pipelines\.shout"):
        model.save(tmp_path)


def test_a_bundle_with_a_foreign_type_is_refused_and_runs_nothing(tmp_path):
    """Return a bundle changed by an attacker, who also writes checksums."""
    import skops.io

    from clinadapt.models.bundle.integrity import seal
    from clinadapt.models.bundle.record import read_record

    classifier = NoteClassifier(SklearnModel("pipelines:words")).fit(TEXTS, TARGETS["binary"])
    folder = classifier.save(tmp_path / "bundle")
    hostile = pipelines.own_function().fit(TEXTS, TARGETS["binary"])
    skops.io.dump(hostile, folder / "model" / PIPELINE_FILE)
    seal(folder, read_record(folder))
    called = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipelines, "shout", called.append)
        with pytest.raises(InputError, match=r"pipelines\.shout"):
            load(folder)
    assert not called
    (folder / "model" / PIPELINE_FILE).write_bytes(b"no archive")
    seal(folder, read_record(folder))
    with pytest.raises(InputError, match="not a file of skops"):
        load(folder)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        ("", "expected 'package.module:function'"),
        ("pipelines", "expected 'package.module:function'"),
        ("pipelines:absent", "cannot be imported"),
        ("no_such_module:words", "ModuleNotFoundError"),
        ("pipelines:not_a_function", "is not a function"),
        ("pipelines:without_probabilities", "CalibratedClassifierCV"),
    ],
)
def test_what_cannot_be_a_pipeline_is_refused_before_the_study(estimator, message):
    (problem,) = registry.file_problems("sklearn", {"estimator": estimator})
    assert message in problem
    wrong = registry.file_problems("sklearn", {"estimator": "pipelines:words", "options": {"D": 1}})
    assert "unexpected keyword argument 'D'" in wrong[0]


def test_a_module_in_the_working_directory_is_found(tmp_path, monkeypatch):
    (tmp_path / "mine_here.py").write_text("from pipelines import words as mine\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    assert registry.file_problems("sklearn", {"estimator": "mine_here:mine"}) == []
    assert sys.path == before


def test_a_study_compares_it(small_table, tmp_path):
    notes = read_notes(small_table, Columns(id="id", group="patient"))
    rows = [
        {"model": "tfidf-logistic"},
        {"model": "sklearn", "estimator": "pipelines:words", "options": [{"C": 1.0}, {"C": 9.0}]},
    ]
    design = {"name": "x", "resamples": 100, "configurations": rows}
    board = Study(notes, design, tmp_path).run().leaderboard
    assert board["status"].to_list() == ["done"] * 3
    named = board.filter(pl.col("model") == "sklearn")["configuration"].to_list()
    assert sorted(named) == ["pipelines:words (C=1.0)", "pipelines:words (C=9.0)"]
    evidence = json.loads((tmp_path / "evidence.json").read_text())
    assert len(evidence["configurations"]) == 3


def test_a_study_says_that_the_extra_is_missing_before_it_fits(monkeypatch):
    monkeypatch.setitem(sys.modules, "skops", None)
    (problem,) = SklearnModel("pipelines:words").file_problems()
    assert "pip install 'clinadapt[sklearn]'" in problem
