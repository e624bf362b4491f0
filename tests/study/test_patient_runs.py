"""Studies of patients."""

import json

import numpy as np
import polars as pl
import pytest
from patients import one_telling, read
from studies import results_of

from clinadapt import Study, load, patient_documents, write_report
from clinadapt.core.errors import InputError
from clinadapt.core.language import use_language
from clinadapt.core.messages import shown
from clinadapt.data.prediction_tables import read_run
from clinadapt.evaluation.patient_level import aggregate
from clinadapt.explain.error_analysis import find_mistakes
from clinadapt.explain.explain import explain
from clinadapt.study.patient_runs import NOTE_PREDICTIONS
from clinadapt.study.read_results import load as read_study

DESIGN = {
    "name": "patients",
    "resamples": 100,
    "level": "group",
    "configurations": [{"model": "tfidf-logistic"}, {"model": "tfidf-mlp", "epochs": 2}],
}
HIDDEN = ("seconds", "memory", "recommended", "disk")


@pytest.fixture(scope="module")
def telling():
    return read(one_telling(120, 5))


@pytest.fixture(scope="module")
def study(telling, tmp_path_factory):
    out = tmp_path_factory.mktemp("patients") / "out"
    Study(telling, DESIGN, out).run()
    write_report(out)
    return out


@pytest.mark.parametrize("chosen_on", [{"folds": 1}, {"folds": 3}, {"nested": True, "folds": 2}])
def test_with_one_note_a_patient_the_level_changes_nothing(tmp_path, chosen_on):
    notes = read(one_telling(120, 3).unique("patient", keep="first").sort("patient"))
    boards, runs = {}, {}
    for level in ("note", "group"):
        out = tmp_path / level
        asked = {**DESIGN, **chosen_on, "level": level}
        board = Study(notes, asked, out).run().leaderboard
        boards[level] = board.select(c for c in board.columns if not any(h in c for h in HIDDEN))
        runs[level] = [
            (r["configuration"], r["metrics"], r["validation_metrics"], r["threshold"])
            for r in sorted(results_of(out).values(), key=lambda r: r["configuration"])
        ]
    assert boards["note"].equals(boards["group"])
    assert runs["note"] == runs["group"]


def test_patients_are_scored_and_notes_kept(study, telling):
    results = read_study(study)
    assert results.unit.many == "patients"
    run = results.first_runs[0]
    patients, notes = read_run(run.folder), pl.read_parquet(run.folder / NOTE_PREDICTIONS)
    assert set(patients["id"]) == set(telling.groups)
    owner = dict(zip(telling.ids, telling.groups, strict=True))
    for part in ("validation", "test"):
        of_notes = notes.filter(pl.col("part") == part)
        own = run.predictions(part)
        names = [owner[name] for name in of_notes["id"]]
        assert own["id"].to_list() == sorted(set(names))
        numbers = np.unique(names, return_inverse=True)[1]
        probabilities = of_notes.select("prob_0", "prob_1").to_numpy()
        again = aggregate("binary", probabilities, numbers, run.aggregation["name"])
        assert np.array_equal(again, own.select("prob_0", "prob_1").to_numpy())
        expected = np.where(again[:, 1] >= run.threshold["value"], "1", "0").tolist()
        assert own["prediction"].to_list() == expected


def test_what_is_said_counts_patients(study, telling):
    evidence = json.loads((study / "evidence.json").read_text())
    assert evidence["patients"] == 36
    assert "notes" not in evidence
    report = json.loads((study / "report.json").read_text())
    assert "36 patients, with" in report["summary"][0]
    assert "of 100 patients" in report["summary"][1]
    assert "note length" not in {g["column"] for g in report["subgroups"]["subgroups"]}
    parts = json.loads((study / "study.json").read_text())["data"]["parts"]
    assert parts["test"]["patients"] == {"0": 18, "1": 18}
    tested = set(read_study(study).first_runs[0].predictions("test")["id"])
    assert parts["test"]["notes"] == sum(group in tested for group in telling.groups)
    abstention = json.loads((study / "abstention.json").read_text())
    assert abstention["units"] == "patients"
    page = (study / "report.html").read_text()
    for said in ("of the test patients left to a person", "patients of class"):
        assert said in page
    with use_language("fr"):
        assert "chaque patient" in shown(read_study(study).evidence["sentence"])


def test_a_bundle_classifies_documents(study, telling):
    classifier = load(study / "best")
    run = read_study(study).handed_over
    own = run.predictions("test")
    names, documents = patient_documents(list(telling.texts), list(telling.groups))
    rows = [names.index(name) for name in own["id"]]
    probabilities = classifier.predict_proba(documents)[rows]
    assert np.allclose(probabilities, own.select("prob_0", "prob_1").to_numpy(), atol=1e-12)
    assert classifier.predict(documents)[rows].astype(str).tolist() == own["prediction"].to_list()
    record = json.loads((study / "best" / "bundle.json").read_text())
    assert (record["level"], record["aggregation"]) == ("group", run.aggregation["name"])


def test_an_explanation_is_of_the_note_that_speaks_most(study):
    classifier = load(study / "best")
    told = "mot1 mot2 thrombose mot3"
    (_,), documents = patient_documents(["mot4 mot5", told, "mot6"], ["p"] * 3)
    (one,) = explain(classifier, list(documents))
    assert one.text == told
    assert not one.truncated
    (strongest,) = one.strongest(1)
    assert one.text[strongest.start : strongest.end] == "thrombose"


def test_errors_are_of_patients(study, telling):
    mistakes = find_mistakes(study, telling)
    assert mistakes.wrong + mistakes.right == 36
    assert {one.id for one in mistakes.shown} <= set(telling.groups)


def test_a_folder_keeps_its_level(study, telling):
    with pytest.raises(InputError, match="level = group"):
        Study(telling, {**DESIGN, "level": "note"}, study).run()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"level": "note", "group_label": "any"}, "group_label is for studies of patients"),
        ({"level": "patient"}, "level"),
        ({"aggregation": ["mean", "mean"]}, "twice: mean"),
        ({"aggregation": []}, "aggregation"),
        ({"level": "note", "configurations": [{"model": "attention"}]}, 'set level = "group"'),
    ],
)
def test_what_cannot_be_asked(telling, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        Study(telling, {**DESIGN, **change}, tmp_path / "out")
