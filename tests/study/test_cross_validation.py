"""Studies on folds: what decides, what is kept, and what an independent implementation gives."""

import json

import numpy as np
import polars as pl
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from studies import SMALL, results_of

from clinadapt import load, write_report
from clinadapt.core.errors import InputError
from clinadapt.data.columns import Columns
from clinadapt.data.notes import read_notes
from clinadapt.data.synthetic.generator import generate
from clinadapt.evaluation import threshold
from clinadapt.study import read_results
from clinadapt.study.cross_validation import cross_validate
from clinadapt.study.runner import StudyRunner

CONFIGURATIONS = [
    {"model": "tfidf-logistic", "C": [1.0, 30.0]},
    {"model": "tfidf-mlp", "epochs": 4, "inner": 8},
]


@pytest.fixture(scope="module")
def notes():
    return read_notes(generate(**SMALL, seed=3), Columns(group="patient"))


def design(**more):
    return {"name": "folds", "resamples": 100, "configurations": CONFIGURATIONS, **more}


@pytest.fixture(scope="module")
def study(notes, tmp_path_factory):
    run = StudyRunner(notes, design(folds=4), tmp_path_factory.mktemp("folds") / "out")
    run.complete()
    return run


@pytest.fixture(scope="module")
def nested(notes, tmp_path_factory):
    out = tmp_path_factory.mktemp("nested") / "out"
    run = StudyRunner(notes, design(folds=3, nested=True, configurations=CONFIGURATIONS[:1]), out)
    run.complete()
    return run


def predictions(run, configuration, part):
    chosen = next(r for r in run.runs if r.configuration.label == configuration)
    frame = pl.read_parquet(run.folders.folder(chosen) / "predictions.parquet")
    return frame.filter(pl.col("part") == part)


def labels_of(run):
    return [r.configuration.label for r in run.runs]


def test_out_of_fold_probabilities_are_those_of_scikit_learn(study):
    frame = predictions(study, labels_of(study)[0], "validation")
    texts, positive = np.array(list(study.notes.texts)), study.notes.labels.matrix[:, 1]
    expected = np.empty(len(study.material.labelled_rows))
    for fold in study.material.folds:
        rest = np.sort(np.r_[fold.train, fold.validation])
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
        model = LogisticRegression(C=1.0, class_weight="balanced", max_iter=2000)
        model.fit(words.fit_transform(texts[rest]), positive[rest])
        own = model.predict_proba(words.transform(texts[fold.test]))[:, 1]
        expected[np.searchsorted(study.material.labelled_rows, fold.test)] = own
    assert frame["id"].to_list() == [str(study.notes.ids[r]) for r in study.material.labelled_rows]
    assert frame["prob_positive"].to_numpy() == pytest.approx(expected, abs=1e-4)


def test_the_threshold_is_the_best_out_of_fold(study):
    for run in study.runs:
        result = study.folders.result(run)
        assert result["threshold"]["chosen_on"] == "out-of-fold"
        frame = predictions(study, run.configuration.label, "validation")
        own = np.column_stack([frame["prob_negative"], frame["prob_positive"]])
        best = threshold.choose(study.material.labelled.labels, own, "f1")
        assert result["threshold"]["value"] == best.value
        assert (frame["prediction"] == "positive").to_list() == (own[:, 1] >= best.value).tolist()


def test_the_choice_stands_on_all_labelled_patients(study):
    evidence = json.loads((study.out / "evidence.json").read_text())
    labelled = study.material.labelled
    positive = len(np.unique(labelled.clusters[labelled.labels.matrix[:, 1]]))
    assert evidence["doubts"]["validation"] == positive
    assert evidence["doubts"]["folds"] == 4
    assert any("in 4 folds" in one for one in evidence["doubts"]["sentences"])
    about = json.loads((study.out / "study.json").read_text())
    assert about["design"]["folds"] == 4
    assert read_results.load(study.out).best is not None


def test_training_stops_where_the_folds_did(study):
    run = study.runs[-1]
    result = study.folders.result(run)
    bests = []
    for number in range(1, 5):
        with np.load(study.folders.folder(run) / "folds" / f"{number}.npz") as kept:
            about = json.loads(str(kept["about"]))
        scores = [(e["validation_score"], -e["validation_loss"]) for e in about["history"]]
        bests.append(1 + scores.index(max(scores)))
    assert result["decisions"]["epochs"] == np.mean(bests)
    assert len(result["training"]) == 4  # the folds' mean history, all epochs of the longest


def test_the_handed_over_model_knows_all_labelled_notes(study):
    board = study.folders.standing()
    classifier = load(study.out / "best")
    texts = study.material.labelled.texts
    assert board.leader is not None
    # Fitted on them: nearer to their labels than the out-of-fold predictions are.
    label = next(
        runs[0].configuration.label
        for name, runs in study.folders.configurations.items()
        if name == board.leader
    )
    truth = study.material.labelled.labels.matrix[:, 1]
    outside = predictions(study, label, "validation")["prob_positive"].to_numpy()
    inside = classifier.predict_proba(list(texts))[:, list(classifier.classes_).index("positive")]
    assert np.abs(truth - inside).mean() < np.abs(truth - outside).mean()


def test_a_second_call_fits_nothing(study):
    again = []
    StudyRunner(study.notes, design(folds=4), study.out).complete(finished=again.append)
    assert [one["reused"] for one in again] == [True] * 3
    # "auto" keeps the folds that the folder's study has.
    assert StudyRunner(study.notes, design(), study.out).design.folds == 4
    with pytest.raises(InputError, match=r"folds = 4 \(now 1\)"):
        StudyRunner(study.notes, design(folds=1), study.out).complete()


def test_an_interrupted_run_keeps_its_finished_folds(study, tmp_path):
    from clinadapt.core.run_context import Context

    run, kept = study.runs[0], tmp_path / "folds"
    whole = cross_validate(study.material, run, kept, Context())
    (kept / "2.npz").write_bytes((kept / "2.npz").read_bytes()[:100])  # damaged
    untouched = (kept / "1.npz").stat().st_mtime_ns
    again = cross_validate(study.material, run, kept, Context())
    assert np.array_equal(whole.probabilities, again.probabilities)
    assert (kept / "1.npz").stat().st_mtime_ns == untouched


def test_auto_takes_folds_where_that_costs_little(notes, tmp_path):
    def folds_of(configurations):
        return StudyRunner(notes, design(configurations=configurations), tmp_path).design.folds

    frozen = {"model": "pretrained", "encoder": "clinadapt-mini-fr"}
    assert folds_of([{"model": "tfidf-logistic"}, frozen]) == 5
    assert folds_of([{"model": "stacked", "encoder": "clinadapt-mini-fr"}]) == 5
    assert folds_of([{"model": "tfidf-logistic"}, {**frozen, "tuned_layers": 1}]) == 1
    low_rank = {**frozen, "adapter": "lora", "placement": "layers"}
    assert folds_of([low_rank]) == 1


def test_folds_are_refused_where_they_would_break_a_guarantee(notes, tmp_path):
    private = [{"model": "private", "encoder": "clinadapt-mini-fr", "delta": 1e-3}]
    assert StudyRunner(notes, design(configurations=private), tmp_path).design.folds == 1
    with pytest.raises(InputError, match="the guarantee of"):
        StudyRunner(notes, design(configurations=private, folds=5), tmp_path)


# ---------------------------------------------------------------- nested


def test_a_nested_study_has_a_report(nested):
    page = write_report(nested.out).read_text(encoding="utf-8")
    assert "every note was tested in turn" in page
    assert "Choosing anew in each of 3 folds" in page


def test_nested_tests_every_note_without_its_patient(nested):
    material = nested.material
    assert not len(nested.split.test)
    assert len(material.scored["test"]) == len(nested.notes)
    for outer in material.outer:
        own = outer.split.test
        assert not set(nested.notes.groups.take(own)) & set(outer.labelled.groups)
        for inner in outer.folds:
            assert not set(inner.test) & set(own)
            assert not set(nested.notes.clusters[inner.train]) & set(
                nested.notes.clusters[inner.test]
            )
    result = next(iter(results_of(nested.out).values()))
    assert len(result["outer_validation"]) == 3
    board = pl.read_csv(nested.out / "leaderboard.csv")
    assert board["test"].is_not_null().all()


def test_nested_choice_is_made_anew_in_every_fold(nested):
    choice = json.loads((nested.out / "evidence.json").read_text())["doubts"]["nested"]
    results = [nested.folders.result(run) for run in nested.runs]
    labels = [result["configuration"] for result in results]
    by_fold = np.array([result["outer_validation"] for result in results])
    expected = by_fold.argmax(axis=0)
    counted = {entry["configuration"]: entry["folds"] for entry in choice["chosen"]}
    assert counted == {
        label: int((expected == number).sum())
        for number, label in enumerate(labels)
        if (expected == number).any()
    }
    hit = wrong = 0
    for number, outer in zip(expected, nested.material.outer, strict=True):
        frame = predictions(nested, labels[number], "test")
        ids = {str(nested.notes.ids[row]) for row in outer.split.test}
        own = frame.filter(pl.col("id").is_in(ids))
        predicted, truth = own["prediction"] == "positive", own["label"] == "positive"
        hit += (predicted & truth).sum()
        wrong += (predicted != truth).sum()
    assert choice["value"] == pytest.approx(2 * hit / (2 * hit + wrong))


def test_nested_needs_folds_and_no_official_parts(notes, tmp_path):
    with pytest.raises(InputError, match="needs folds"):
        StudyRunner(notes, design(folds=1, nested=True), tmp_path)
    table = generate(**SMALL, seed=3)
    parts = table.with_columns(
        split=pl.Series(["train", "validation", "test"] * (len(table) // 3))
    ).with_columns(patient=pl.Series([f"p{n}" for n in range(len(table))]))
    official = read_notes(parts, Columns(group="patient", split="split"))
    with pytest.raises(InputError, match="leave the column of the parts out"):
        StudyRunner(official, design(folds=3, nested=True), tmp_path)
