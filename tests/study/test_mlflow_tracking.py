"""Runs of MLflow: what result.json holds, once, and nothing about the machine or the notes."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from command import run as command
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from clinadapt import Study
from clinadapt.core.errors import InputError, MissingExtraError
from clinadapt.study import mlflow_tracking
from clinadapt.study.mlflow_tracking import Experiment, store_uri, track

USER = "zqxuser"  # a name that stands nowhere else


def database(path):
    return f"sqlite:///{path}"


def runs_of(path):
    client = MlflowClient(database(path))
    experiments = [e.experiment_id for e in client.search_experiments()]
    return client, {run.data.tags["run"]: run for run in client.search_runs(experiments)}


def contents(path):
    """Every row of a store's tables."""
    with sqlite3.connect(path) as connection:
        return list(connection.iterdump())


def results_of(out):
    found = [json.loads(path.read_text()) for path in out.glob("**/cells/*/result.json")]
    return {result["id"]: result for result in found}


@pytest.fixture(scope="module")
def study(small_notes_synthetic, encoder_folders, tmp_path_factory):
    """Folder of a study with done, failed and skipped runs and a curve, and its store."""
    from clinadapt.models.tfidf_autoencoder import TfidfAutoencoder

    def broken(self, *args, **kwargs):
        raise RuntimeError("zqxsecret words of a note")

    home = tmp_path_factory.mktemp("home") / USER
    out = home / "out"
    shutil.copytree(encoder_folders["bert"], home / "my encoders" / "own")
    short = {"epochs": 1, "max_tokens": 16}
    design = {
        "name": "tiny",
        "resamples": 100,
        "curve": {"shares": [0.5], "draws": 1},
        "configurations": [
            {"model": "tfidf-logistic"},
            {"model": "moe", "epochs": 2, "vocabulary": 300, "max_tokens": 16},
            {"model": "tfidf-autoencoder"},
            {"model": "pretrained", "encoder": str(home / "my encoders" / "own"), **short},
            {"model": "pretrained", "encoder": "drbert"},
        ],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TfidfAutoencoder, "fit", broken)
        for name in ("USER", "LOGNAME", "USERNAME"):
            patch.setenv(name, USER)
        patch.setenv("HOME", str(home))
        Study(small_notes_synthetic, design, out, energy="FRA").run()
        assert track(out, "local") == 10
    return out


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """A store without runs: MLflow takes seconds to make one."""
    path = tmp_path_factory.mktemp("store") / "store.db"
    Experiment(database(path), "nothing")
    return path


@pytest.fixture
def store(empty_store, tmp_path):
    return Path(shutil.copy(empty_store, tmp_path / "store.db"))


@pytest.fixture(scope="module")
def logged(study):
    return runs_of(study / "mlflow.db")


def test_every_run_is_one_run_of_one_experiment(study, logged):
    client, runs = logged
    results = results_of(study)
    assert len(results) == 10  # five configurations, on two amounts of notes
    assert set(runs) == set(results)
    about = json.loads((study / "study.json").read_text())
    name = f"tiny {about['data']['fingerprint'][:8]}"
    experiment = client.get_experiment_by_name(name)
    assert {run.info.experiment_id for run in runs.values()} == {experiment.experiment_id}
    ended = {"done": "FINISHED", "failed": "FAILED", "skipped": "FAILED"}
    assert {result["status"] for result in results.values()} == set(ended)
    for key, run in runs.items():
        assert run.info.status == ended[results[key]["status"]]
        assert run.data.tags["status"] == results[key]["status"]
        assert ("reason" in run.data.tags) == (results[key]["status"] != "done")
        assert run.data.tags["configuration_id"] == results[key]["configuration_id"]
        assert run.data.tags["data_fingerprint"] == results[key]["data"]["fingerprint"]


def test_numbers_are_those_of_the_results(study, logged):
    _, runs = logged
    for key, result in results_of(study).items():
        found = runs[key].data.metrics
        if result["status"] != "done":
            assert found == {}
            continue
        for part, scores in (
            ("test", result["metrics"]),
            ("validation", result["validation_metrics"]),
        ):
            for name, score in scores.items():
                for end, suffix in (("value", ""), ("low", "_low"), ("high", "_high")):
                    assert found.get(f"{part}/{name}{suffix}") == score[end]
        small = not (study / "cells" / key).is_dir()
        about = json.loads((study / "study.json").read_text())["data"]["parts"]
        labelled = about["train"]["notes"] + about["validation"]["notes"]
        assert found["data/labelled"] == pytest.approx(labelled / 2 if small else labelled, rel=0.1)
        cost = result["cost"]
        for name in ("fit_seconds", "peak_memory_bytes", "trainable_parameters", "seconds"):
            assert found[f"cost/{name}"] == cost[name]
        energy = cost["energy"]
        assert found[f"cost/energy {energy['kind']}/kwh"] == energy["kwh"]
        assert runs[key].info.end_time - runs[key].info.start_time == pytest.approx(
            1000 * cost["seconds"], abs=2
        )


def test_settings_are_parameters(study, logged):
    _, runs = logged
    for key, result in results_of(study).items():
        expected = {name: str(value) for name, value in result["settings"].items()}
        if "encoder" in expected:
            expected["encoder"] = Path(expected["encoder"]).name
        assert runs[key].data.params == expected


def test_epochs_are_steps(study, logged):
    client, runs = logged
    (key, result) = next(
        (key, result)
        for key, result in results_of(study).items()
        if result["configuration"].startswith("MoE") and result["status"] == "done"
    )
    history = result["training"]
    assert len(history) == 2
    for name in ("loss", "validation_loss"):
        points = client.get_metric_history(runs[key].info.run_id, f"training/{name}")
        assert [(point.step, point.value) for point in points] == [
            (epoch["epoch"], epoch[name]) for epoch in history
        ]
    expert = client.get_metric_history(runs[key].info.run_id, "training/router_load/1")
    assert [point.value for point in expert] == [epoch["router_load"][1] for epoch in history]


def test_the_store_reveals_nothing_of_notes_machine_or_user(study, small_table):
    content = (study / "mlflow.db").read_bytes()
    assert b"tfidf-logistic" not in content  # the label names the model ...
    assert b"TF-IDF + logistic regression" in content  # ... and the search finds what is there
    forbidden = [USER, str(study), str(Path.cwd()), str(Path.home()) + "/", sys.prefix, "zqxsecret"]
    forbidden += [text[start : start + 30] for text in small_table["text"] for start in (0, 60)]
    forbidden += small_table["id"].to_list()
    for text in forbidden:
        assert text
        assert text.encode() not in content, text
    values = "\n".join(line for line in contents(study / "mlflow.db") if "INSERT INTO" in line)
    assert not re.search(r"'(file:)?/[^']", values)
    assert "mlflow-artifacts:/" in values


def test_a_second_run_adds_nothing(study, small_notes_synthetic):
    before = contents(study / "mlflow.db")
    assert track(study, "local") == 10
    assert contents(study / "mlflow.db") == before


@pytest.mark.parametrize(
    ("at", "holding"),
    [("create_run", None), ("log_batch", "params"), ("log_batch", "metrics"),
     ("set_terminated", None)],
)  # fmt: skip
def test_an_interrupted_log_is_completed_once(study, store, at, holding, monkeypatch):
    """Killed after a call to the store; the next run leaves what an undisturbed one leaves."""
    call = getattr(MlflowClient, at)

    def killed(self, *args, **kwargs):
        answer = call(self, *args, **kwargs)
        if holding is None or holding in kwargs:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(MlflowClient, at, killed)
    with pytest.raises(KeyboardInterrupt):
        track(study, database(store))
    monkeypatch.undo()
    track(study, database(store))

    def logged_in(path):
        client, runs = runs_of(path)
        return {
            key: (
                run.data.params,
                run.data.metrics,
                run.data.tags,
                run.info.status,
                [
                    (point.step, point.value)
                    for point in client.get_metric_history(run.info.run_id, "training/loss")
                ],
            )
            for key, run in runs.items()
        }

    assert logged_in(store) == logged_in(study / "mlflow.db")

    def points(path):
        with sqlite3.connect(path) as connection:
            return connection.execute("SELECT count(*) FROM metrics").fetchone()

    assert points(store) == points(study / "mlflow.db")


def test_a_run_that_is_fitted_again_replaces_its_failure(study, store):
    (failed,) = (
        result
        for result in results_of(study).values()
        if result["status"] == "failed" and (study / "cells" / result["id"]).is_dir()
    )
    done = next(result for result in results_of(study).values() if result["status"] == "done")
    Experiment(database(store), "x").log(failed)
    again = {**done, "id": failed["id"], "settings": failed["settings"]}
    Experiment(database(store), "x").log(again)
    _, runs = runs_of(store)
    (run,) = runs.values()
    assert run.info.status == "FINISHED"
    assert run.data.tags["status"] == "done"
    assert "reason" not in run.data.tags
    assert run.data.metrics["test/f1"] == done["metrics"]["f1"]["value"]


def test_a_long_history_is_logged_completely(study, store):
    done = next(result for result in results_of(study).values() if result["status"] == "done")
    epochs = [{"epoch": n, "loss": 1 / n, "validation_loss": 2 / n} for n in range(1, 701)]
    Experiment(database(store), "x").log({**done, "training": epochs})
    client, runs = runs_of(store)
    (run,) = runs.values()
    points = client.get_metric_history(run.info.run_id, "training/validation_loss")
    assert [point.value for point in points] == [epoch["validation_loss"] for epoch in epochs]


def test_a_store_that_fails_is_reported(study, store, monkeypatch):
    def refused(self, *args, **kwargs):
        raise MlflowException("the disk is full")

    monkeypatch.setattr(MlflowClient, "log_batch", refused)
    with pytest.raises(InputError, match="the disk is full"):
        track(study, database(store))


# ---------------------------------------------------------------- stores, and what is refused


@pytest.mark.parametrize("address", ["http://127.0.0.1:5000", "https://mlflow.example.org"])
def test_a_server_is_refused_offline(address, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="offline mode"):
        store_uri(address, tmp_path)
    for name in ("CLINADAPT_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name)
    assert store_uri(address, tmp_path) == address


@pytest.mark.parametrize("other", ["mlruns", "postgresql://host/base", "databricks", "file:///x"])
def test_other_stores_are_refused(other, tmp_path):
    with pytest.raises(InputError, match="expected local, sqlite:///FILE or a server's"):
        store_uri(other, tmp_path)


def test_a_file_that_is_no_database(study, tmp_path):
    (tmp_path / "notes.csv").write_text("id,text\n" * 100)
    for path in (tmp_path / "notes.csv", tmp_path / "notes.csv" / "store.db", tmp_path):
        with pytest.raises(InputError, match=r"not written by clinadapt|not a folder|not a file"):
            track(study, database(path))


def test_a_database_of_somebody_else(study, tmp_path):
    with closing(sqlite3.connect(tmp_path / "notes.db")) as connection:
        connection.execute("CREATE TABLE note (note_id INTEGER)")
    with pytest.raises(InputError, match="was not written by clinadapt"):
        track(study, database(tmp_path / "notes.db"))


def test_a_store_of_another_version(study, store):
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '451aebb31d03'")
    with pytest.raises(InputError, match="out-of-date database schema"):
        track(study, database(store))


def test_a_missing_library_is_named(study, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mlflow.exceptions", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'clinadapt\[mlflow\]'"):
        track(study, database(tmp_path / "store.db"))


def test_a_folder_without_a_study(tmp_path):
    with pytest.raises(InputError, match="holds no study"):
        track(tmp_path, "local")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("copy the folder to /data/a/drbert", "copy the folder to drbert"),
        ("'/data/a/drbert' is none", "'drbert' is none"),
        ("in ~/encoders/ours", "in ours"),
        ("at /home/of me/my models/ours: no", "at ours: no"),
        ("hf download Dr-BERT/DrBERT-7GB --local-dir=/x/y", None),
        ("see https://example.org/a/b", "see https://example.org/a/b"),
        ("TF-IDF / MLP, 1/2", "TF-IDF / MLP, 1/2"),
    ],
)
def test_of_a_path_its_last_part_is_left(text, expected):
    result = {"settings": {"encoder": "/home/of me/my models/ours"}}
    expected = expected or "hf download Dr-BERT/DrBERT-7GB --local-dir=y"
    assert mlflow_tracking._portable(text, result) == expected


# ---------------------------------------------------------------- the command line, and silence


def test_a_study_is_tracked_on_the_command_line(small_table, tmp_path, capsys, store):
    notes, design, out = tmp_path / "notes.csv", tmp_path / "d.toml", tmp_path / "out"
    small_table.write_csv(notes)
    design.write_text('name = "d"\nresamples = 100\n[[configurations]]\nmodel = "tfidf-logistic"\n')
    out.mkdir()
    shutil.move(store, out / "mlflow.db")
    code, shown, _ = command(
        "study", notes, "--study", design, "--offline", "--out", out, "--energy", "FRA",
        capsys=capsys,
    )  # fmt: skip
    assert code == 0
    assert "energy of the whole machine" in shown
    code, shown, _ = command("track", out, "--offline", capsys=capsys)
    assert code == 0
    assert "1 runs are in MLflow" in shown
    (found,) = runs_of(out / "mlflow.db")[1].values()
    assert found.info.status == "FINISHED"
    before = contents(out / "mlflow.db")
    code, shown, _ = command("track", out, "--offline", capsys=capsys)
    assert code == 0
    assert "1 runs are in MLflow" in shown
    assert contents(out / "mlflow.db") == before


def test_a_server_is_refused_offline_on_the_command_line(study, capsys):
    code, _, errors = command("track", study, "--offline", "--store", "http://x", capsys=capsys)
    assert code == 2
    assert "offline mode" in errors


SILENT = """
import socket, sys
from pathlib import Path

def reached(*args, **kwargs):
    Path(sys.argv[2]).open("a").write("reached\\n")
    raise OSError
socket.socket.connect = socket.getaddrinfo = reached
from clinadapt.study.mlflow_tracking import track
track(Path(sys.argv[1]), sys.argv[3])
"""


def test_no_usage_data_are_collected_or_sent(study, tmp_path, store):
    """In a process that does not look like a test, where MLflow would send some."""
    marks = ("PYTEST", "CI", "GITHUB", "MLFLOW", "DO_NOT_TRACK", "CLINADAPT_OFFLINE")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(marks)}
    environment |= {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    arguments = [str(study), str(tmp_path / "reached"), database(store)]
    answer = subprocess.run(
        [sys.executable, "-c", SILENT, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == answer.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["store.db"]
