"""Patients as what is scored: one row each, from notes anywhere in the tables."""

import json

import polars as pl
import pytest
from patients import one_telling, read

from clinadapt import Study, load, patient_documents
from clinadapt.core.errors import InputError
from clinadapt.deployment.scoring.job import Prediction
from clinadapt.deployment.server.models import Models

DESIGN = {
    "name": "one",
    "resamples": 100,
    "level": "group",
    "configurations": [{"model": "tfidf-logistic"}],
}


@pytest.fixture(scope="module")
def table():
    return one_telling(90, 4)


@pytest.fixture(scope="module")
def bundle(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("patients") / "out"
    Study(read(table), DESIGN, out).run()
    return out / "best"


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_one_row_a_patient(bundle, table, tmp_path, suffix):
    half = len(table) // 2
    table[:half].write_csv(tmp_path / "a.csv")
    table[half:].write_csv(tmp_path / "b.csv")
    out = tmp_path / f"out{suffix}"
    files = [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    job = Prediction(bundle, files, out, id="id", group="patient")
    state = job.run()
    assert (state.scored, state.aside) == (90, 0)
    found = pl.read_parquet(out) if suffix == ".parquet" else pl.read_csv(out)
    assert found.columns == ["id", "notes", "prediction", "prob_0", "prob_1"]
    patients, documents = patient_documents(table["text"].to_list(), table["patient"].to_list())
    assert found["id"].to_list() == patients
    counts = dict(table.group_by("patient").len().iter_rows())
    assert found["notes"].to_list() == [counts[name] for name in patients]
    expected = load(bundle).predict_proba(documents)[:, 1].tolist()
    assert found["prob_1"].to_list() == pytest.approx(expected, abs=1e-9)
    job.run()  # an output of before may be written again


def test_notes_that_cannot_be_scored_are_set_aside(bundle, table, tmp_path):
    broken = table.head(6).with_columns(
        pl.Series("id", ["a", "b", "b", "c", "d", "e"]),
        pl.Series("patient", ["p", "p", "p", None, "q", "q"]),
        pl.Series("text", ["toux", "thrombose", "thrombose", "toux", None, "mot1 mot2"]),
    )
    broken.write_parquet(tmp_path / "notes.parquet")
    out = tmp_path / "out.parquet"
    files = [str(tmp_path / "notes.parquet")]
    state = Prediction(bundle, files, out, id="id", group="patient").run()
    assert pl.read_parquet(out).select("id", "notes").rows() == [("p", 2), ("q", 1)]
    assert (state.scored, state.aside) == (2, 3)
    aside = pl.read_csv(tmp_path / "out.aside.csv").rows()
    assert [(row[0], row[2]) for row in aside] == [
        ("b", "the id has already been scored"),
        ("c", "no patient"),
        ("d", "no text"),
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "name the column of the patient with --group"),
        ({"group": "patient", "meds": True, "subject": "s", "time": "t"}, "remove --meds"),
        ({"group": " "}, "--group is blank"),
    ],
)
def test_what_a_bundle_of_patients_cannot_do(bundle, table, tmp_path, options, message):
    table.write_csv(tmp_path / "notes.csv")
    job = Prediction(bundle, [str(tmp_path / "notes.csv")], tmp_path / "out.csv", **options)
    with pytest.raises(InputError, match=message):
        job.run()


def test_levels_are_not_mixed(bundle, tfidf_bundle, table, tmp_path):
    table.write_csv(tmp_path / "notes.csv")
    notes, both = [str(tmp_path / "notes.csv")], {"a": bundle, "b": tfidf_bundle.folder}
    with pytest.raises(InputError, match="these bundles classify patients, the others notes: a"):
        Prediction(both, notes, tmp_path / "out.csv", group="patient").run()
    with pytest.raises(InputError, match="--group is for bundles that classify patients"):
        Prediction(tfidf_bundle.folder, notes, tmp_path / "out.csv", group="patient").run()
    with pytest.raises(InputError, match="start a server for each"):
        Models(both)


def test_a_server_takes_the_notes_of_a_patient(bundle):
    from fastapi.testclient import TestClient

    from clinadapt.deployment.server.app import make_app

    notes = ["mot1 mot2", "mot3 thrombose"]
    with TestClient(make_app(Models({"clot": bundle})), base_url="http://127.0.0.1") as client:
        answer = client.post("/predict", json={"notes": [notes, "mot4"]})
        assert answer.status_code == 200, answer.text
        given = [one["answers"][0]["probabilities"]["1"] for one in answer.json()["notes"]]
        empty = client.post("/predict", json={"notes": [[]]})
        task = client.get("/tasks").json()["tasks"][0]
    (_,), documents = patient_documents(notes, ["p", "p"])
    expected = load(bundle).predict_proba([*documents, "mot4"])[:, 1].tolist()
    assert given == pytest.approx(expected)
    assert empty.status_code == 422
    assert task["level"] == "group"
    assert json.loads((bundle / "bundle.json").read_text())["level"] == "group"
