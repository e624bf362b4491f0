"""``--json``: standard output is JSON and nothing else."""

import json

import pytest

from clinadapt.cli.main import main


@pytest.fixture
def answer(capsys):
    """Run a command; return its exit code, standard output as JSON, and standard error."""

    def call(*arguments):
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments), "--json"])
        output = capsys.readouterr()
        return stop.value.code or 0, json.loads(output.out or "null"), output.err

    return call


@pytest.fixture
def notes(small_table, tmp_path):
    small_table.write_csv(tmp_path / "notes.csv")
    return tmp_path / "notes.csv"


def test_check(answer, notes, small_table):
    code, found, error = answer("check", notes, "--id", "id", "--group", "patient")
    assert (code, error) == (0, "")
    assert (found["notes"], found["task"], found["positive"]) == (240, "binary", "positive")
    parts = found["parts"].values()
    assert sum(part["notes"] for part in parts) == 240
    assert sum(part["groups"] for part in parts) == small_table["patient"].n_unique()
    assert sum(part["notes_of_class"][1] for part in parts) == 96
    assert found["words_per_note"]["minimum"] <= found["words_per_note"]["median"]


def test_errors_stay_on_standard_error(answer, notes):
    code, found, error = answer("check", notes, "--label", "nothing")
    assert (code, found) == (2, None)
    assert "nothing" in error


def test_plan(answer, notes, tmp_path):
    design = tmp_path / "one.toml"
    design.write_text('name = "one"\n[[configurations]]\nmodel = "tfidf-logistic"\n')
    code, found, _ = answer(
        "plan", notes, "--group", "patient", "--study", design, "--out", tmp_path / "out"
    )
    assert code == 0
    assert [run["status"] for run in found["runs"]] == ["run"]


def test_encoders(answer):
    code, found, _ = answer("encoders")
    assert code == 0
    known = {one["name"]: one for one in found}
    assert known["clinadapt-mini-fr"]["folder"]
    assert known["clinadapt-mini-fr"]["how_to_get"] is None
    assert "hf download" in known["camembert-bio"]["how_to_get"] or known["camembert-bio"]["folder"]


def test_cache(answer, tmp_path):
    (tmp_path / "cache" / ("a" * 24)).mkdir(parents=True)
    (tmp_path / "cache" / ("a" * 24) / "x.safetensors").write_bytes(b"12345")
    code, found, _ = answer("cache", tmp_path)
    assert code == 0
    own = [one for one in found["caches"] if str(tmp_path) in one["folder"]]
    assert [(one["bytes"], one["deleted"]) for one in own] == [(5, False)]


def test_predict(answer, tfidf_bundle, tmp_path):
    (tmp_path / "new.csv").write_text('text\nfievre\n""\ntoux\n')
    out = tmp_path / "scores.csv"
    code, found, _ = answer("predict", tfidf_bundle.folder, tmp_path / "new.csv", "--out", out)
    assert code == 0
    assert (found["read"], found["scored"], found["set_aside"]) == (3, 2, 1)
    assert found["scores"] == str(out)
    assert found["aside"] == str(tmp_path / "scores.aside.csv")


def test_drift(answer, tfidf_bundle, tmp_path):
    lines = [f"enfant {'fievre toux' if n % 2 else 'apyretique'} jour {n % 5}" for n in range(60)]
    (tmp_path / "new.csv").write_text("\n".join(["text", *lines]))
    out = tmp_path / "drift.html"
    code, found, _ = answer("drift", tfidf_bundle.folder, tmp_path / "new.csv", "--out", out)
    assert code == (3 if found["drifted"] else 0)
    assert found == json.loads(out.with_suffix(".json").read_text())
