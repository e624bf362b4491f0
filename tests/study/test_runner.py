"""A study end to end: results, resuming after a kill, choice on validation notes."""

import errno
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn import metrics as sk
from studies import SMALL, comparable, results_of

from clinadapt import Study, load, write_report
from clinadapt.core.errors import InputError, MachineError
from clinadapt.data.columns import Columns
from clinadapt.data.notes import read_notes
from clinadapt.data.split import make_split
from clinadapt.data.synthetic.generator import generate
from clinadapt.study import material, read_results

SPARSE = {
    "name": "x",
    "resamples": 100,
    "configurations": [{"model": "tfidf-logistic"}, {"model": "tfidf-mlp", "epochs": 2}],
}

# ---------------------------------------------------------------- what a study leaves behind


def test_runs_and_leaderboard(finished_study):
    results = results_of(finished_study)
    assert len(results) == 1 + 4 + 8 + 2
    done = [result for result in results.values() if result["status"] == "done"]
    skipped = [result for result in results.values() if result["status"] == "skipped"]
    assert len(done) == 13
    assert "hf download Dr-BERT/DrBERT-7GB" in skipped[0]["reason"]
    for result in done:
        assert set(result["axes"]) >= {"model", "encoder", "adapter", "placement", "tuned_layers"}
        for name, score in result["metrics"].items():
            assert set(score) >= {"value", "low", "high"}
            # Resamples repeat notes, which raises the calibration error: its interval lies high.
            if score["value"] is not None and name != "ece":
                assert score["low"] <= score["value"] + 1e-9
                assert score["value"] <= score["high"] + 1e-9
        assert result["cost"]["fit_seconds"] > 0
        assert result["cost"]["peak_memory_bytes"] > 10**8
        assert result["environment"]["versions"]["torch"]
    board = pl.read_csv(finished_study / "leaderboard.csv")
    assert board["status"].to_list() == ["done"] * 7 + ["skipped"]
    assert board["best"].sum() == 1
    ranked = board.filter(pl.col("status") == "done")
    assert ranked["validation"].is_sorted(descending=True)
    assert ranked["seeds"].to_list().count(1) == 1  # TF-IDF + logistic regression has no seed


def test_every_output_says_synthetic(finished_study):
    import pyarrow.parquet as pq

    assert all(result["data"]["synthetic"] for result in results_of(finished_study).values())
    assert set(pl.read_csv(finished_study / "leaderboard.csv")["notes"]) == {"synthetic"}
    assert "synthetic" in (finished_study / "report.html").read_text(encoding="utf-8").lower()
    assert "synthetic" in (finished_study / "best" / "README.md").read_text(encoding="utf-8")
    predictions = next(finished_study.glob("cells/*/predictions.parquet"))
    assert pq.read_schema(predictions).metadata[b"notes"] == b"synthetic"
    assert pl.read_parquet(predictions)["id"].str.starts_with("synthetic").all()


def test_metrics_recomputed_with_scikit_learn(finished_study):
    for key, result in results_of(finished_study).items():
        if result["status"] != "done":
            continue
        frame = pl.read_parquet(finished_study / "cells" / key / "predictions.parquet")
        for part, found in (
            ("test", result["metrics"]),
            ("validation", result["validation_metrics"]),
        ):
            rows = frame.filter(pl.col("part") == part)
            truth = (rows["label"] == "positive").to_numpy()
            guess = (rows["prediction"] == "positive").to_numpy()
            chance = rows["prob_positive"].to_numpy()
            expected = {
                "accuracy": sk.accuracy_score(truth, guess),
                "precision": sk.precision_score(truth, guess, zero_division=np.nan),
                "recall": sk.recall_score(truth, guess),
                "f1": sk.f1_score(truth, guess),
                "f1_macro": sk.f1_score(truth, guess, average="macro"),
                "f1_weighted": sk.f1_score(truth, guess, average="weighted"),
                "mcc": sk.matthews_corrcoef(truth, guess),
                "auroc": sk.roc_auc_score(truth, chance),
                "auprc": sk.average_precision_score(truth, chance),
                "brier": sk.brier_score_loss(truth, chance),
            }
            for name, value in expected.items():
                if found[name]["value"] is None:  # scikit-learn says 0, we say undefined and why
                    assert found[name]["reason"]
                    assert min(np.unique(guess).size, np.unique(truth).size) == 1
                    continue
                assert found[name]["value"] == pytest.approx(value, abs=1e-9), name
            above = chance >= result["threshold"]["value"]
            assert (above == guess).all()


def test_splits_are_saved_and_patient_disjoint(finished_study):
    ids = json.loads((finished_study / "split.json").read_text())
    patient_of = dict(study_table().select("id", "patient").iter_rows())
    patients = {part: {patient_of[i] for i in rows} for part, rows in ids.items()}
    assert not patients["train"] & patients["test"]
    assert not patients["train"] & patients["validation"]
    assert sum(map(len, ids.values())) == 240


def test_a_study_keeps_the_split_it_began_with(small_notes, tmp_path, monkeypatch):
    """A version that splits otherwise resumes a study, and does not fit its runs again."""
    one = {"name": "one", "configurations": [{"model": "tfidf-logistic"}]}

    def another(notes, *fractions_and_seed):
        return make_split(notes, seed=5)

    monkeypatch.setattr(material, "make_split", another)
    Study(small_notes, one, tmp_path).run()
    monkeypatch.undo()
    (result,) = tmp_path.glob("cells/*/result.json")
    before = result.stat().st_mtime_ns
    study = Study(small_notes, one, tmp_path)
    for name, rows in make_split(small_notes, seed=5).parts().items():
        np.testing.assert_array_equal(study.split.parts()[name], rows)
    study.run()
    assert [result] == list(tmp_path.glob("cells/*/result.json"))
    assert result.stat().st_mtime_ns == before
    with pytest.raises(InputError, match="another split"):
        Study(small_notes, one, tmp_path, overrides={"split_seed": 1}).run()


def study_table():
    return generate(**SMALL)


def test_frozen_features_are_encoded_once(finished_study):
    ledger = pl.read_csv(finished_study / "ledger.csv").filter(
        pl.col("configuration").str.contains("frozen")
    )
    assert len(ledger) == 4
    assert (ledger["encoded_sequences"] > 0).sum() == 1
    assert (ledger["encoded_sequences"] + ledger["reused_sequences"]).n_unique() == 1
    assert (ledger["encode_seconds"] > 0).all()  # each includes the pass that it uses


def test_best_is_chosen_on_validation_and_ready(finished_study):
    best = json.loads((finished_study / "study.json").read_text())["best"]
    done = [result for result in results_of(finished_study).values() if result["status"] == "done"]
    means = {}
    for result in done:
        scores = [
            c["validation_metrics"]["f1"]["value"]
            for c in done
            if c["configuration"] == result["configuration"]
        ]
        means[result["configuration"]] = np.mean(scores)
    assert means[best["configuration"]] == max(means.values())
    frame = pl.read_parquet(finished_study / "cells" / best["run"] / "predictions.parquet")
    test = frame.filter(pl.col("part") == "test")
    text_of = dict(study_table().select("id", "text").iter_rows())
    found = load(finished_study / "best").predict_proba([text_of[i] for i in test["id"]])
    np.testing.assert_allclose(found[:, 1], test["prob_positive"].to_numpy(), atol=2e-3)


def test_at_most_one_bundle_is_kept_besides_the_best(finished_study):
    assert len(list(finished_study.glob("cells/*/bundle"))) == 1


def test_interval_of_a_configuration_is_that_of_its_mean(finished_study):
    board = pl.read_csv(finished_study / "leaderboard.csv")
    results = [
        result for result in results_of(finished_study).values() if result["status"] == "done"
    ]
    for line in board.filter(pl.col("status") == "done").iter_rows(named=True):
        own = [
            result["metrics"]["f1"]
            for result in results
            if result["configuration"] == line["configuration"]
        ]
        assert line["test"] == pytest.approx(np.mean([score["value"] for score in own]), abs=1e-9)
        if len(own) == 1:
            assert line["test_low"] == pytest.approx(own[0]["low"], abs=1e-9)
        else:  # the mean of two seeds is no less certain than the worse of them
            widest = max(score["high"] - score["low"] for score in own)
            assert line["test_high"] - line["test_low"] <= widest + 0.02


# ---------------------------------------------------------------- running again


def test_running_again_fits_nothing_new(
    finished_study, small_notes_synthetic, monkeypatch, study_design
):
    before = comparable(finished_study)
    fitted, fit = [], Study._fit

    def watched(self, run, *rest):
        fitted.append(run.configuration.label)
        return fit(self, run, *rest)

    monkeypatch.setattr(Study, "_fit", watched)
    Study(small_notes_synthetic, study_design, finished_study).run()
    assert comparable(finished_study) == before
    assert set(fitted) == {"drbert · none · frozen"}  # skipped before: its encoder may now be there


def test_other_notes_in_the_same_folder_are_refused(finished_study, study_design):
    other = read_notes(generate(240, 80, 96, seed=5), Columns(id="id", group="patient"))
    with pytest.raises(InputError, match="holds a study of other notes"):
        Study(other, study_design, finished_study).run()


def test_a_failed_run_is_kept_shown_and_not_ranked(small_notes, tmp_path, monkeypatch):
    from clinadapt.models.tfidf_mlp import TfidfMLP

    def broken(self, *args, **kwargs):
        raise RuntimeError("zqxsecret words of a note")

    small = {
        "name": "x",
        "resamples": 100,
        "configurations": [{"model": ["tfidf-mlp", "tfidf-logistic"]}],
    }
    monkeypatch.setattr(TfidfMLP, "fit", broken)
    board = Study(small_notes, small, tmp_path).run().leaderboard
    monkeypatch.undo()
    failed = board.filter(pl.col("status") == "failed")
    assert len(failed) == 1
    assert "RuntimeError at cross_validation.py" in failed["reason"][0]
    assert "zqxsecret" not in "".join(path.read_text() for path in tmp_path.rglob("*.json"))
    assert "zqxsecret" not in write_report(tmp_path).read_text(encoding="utf-8")
    assert board["best"].to_list() == [True, False]
    again = Study(small_notes, small, tmp_path).run().leaderboard
    assert again["status"].to_list() == ["done", "failed"]  # failed runs wait for --retry
    retried = Study(small_notes, small, tmp_path).run(retry=True).leaderboard
    assert retried["status"].to_list() == ["done", "done"]


def test_a_run_without_memory_is_skipped_and_comes_later(small_notes, tmp_path, monkeypatch):
    from clinadapt.models.tfidf_mlp import TfidfMLP

    def hungry(self, *args, **kwargs):
        np.empty(10**15)

    monkeypatch.setattr(TfidfMLP, "fit", hungry)
    board = Study(small_notes, SPARSE, tmp_path / "out").run().leaderboard
    monkeypatch.undo()
    assert board["status"].to_list() == ["done", "skipped"]
    assert board["reason"][1].startswith("no memory was left")
    Study(small_notes, SPARSE, tmp_path / "out").run()
    Study(small_notes, SPARSE, tmp_path / "whole").run()
    assert comparable(tmp_path / "out") == comparable(tmp_path / "whole")


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "Permission denied", "/x"),
        FileNotFoundError(errno.ENOENT, "No such file", "/x"),
        BrokenProcessPool("killed"),
    ],
)
def test_a_fault_of_the_machine_stops_the_study_and_is_no_result(
    small_notes, tmp_path, monkeypatch, fault
):
    from clinadapt.models.tfidf_mlp import TfidfMLP

    def broken(self, *args, **kwargs):
        raise fault

    monkeypatch.setattr(TfidfMLP, "fit", broken)
    with pytest.raises(MachineError, match="give the same command again"):
        Study(small_notes, SPARSE, tmp_path).run()
    monkeypatch.undo()
    assert {result["status"] for result in results_of(tmp_path).values()} == {"done"}
    assert Study(small_notes, SPARSE, tmp_path).run().leaderboard["status"].to_list() == [
        "done",
        "done",
    ]


@pytest.mark.parametrize("file", ["result.json", "predictions.parquet"])
@pytest.mark.parametrize("how", ["cut", "changed", "lost"])
def test_a_damaged_run_is_fitted_again(small_notes, tmp_path, file, how, caplog):
    Study(small_notes, SPARSE, tmp_path).run()
    before = comparable(tmp_path)
    for path in tmp_path.glob(f"cells/*/{file}"):
        content = path.read_bytes()
        if how == "lost":
            path.unlink()
        elif how == "cut":
            path.write_bytes(content[: len(content) // 2])
        elif file == "result.json":  # still JSON, and still of a finished run
            result = json.loads(content)
            result["metrics"]["f1"]["value"] = 0.999
            path.write_text(json.dumps(result))
        else:
            table = pl.read_parquet(path)
            table.with_columns(pl.col("id").reverse()).write_parquet(path)
    assert Study(small_notes, SPARSE, tmp_path).run().leaderboard["status"].to_list() == [
        "done",
        "done",
    ]
    assert comparable(tmp_path) == before
    if file == "predictions.parquet" or how == "changed":
        assert "are damaged: this run is fitted again" in caplog.text


def test_a_report_of_damaged_results_says_which(small_notes, tmp_path):
    Study(small_notes, SPARSE, tmp_path).run()
    for name in ("leaderboard.csv", "evidence.json", "study.json"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) * 2 // 3])
        with pytest.raises(InputError, match=rf"{name} is missing or damaged"):
            write_report(tmp_path)
        (tmp_path / name).write_bytes(content)
    next(tmp_path.glob("cells/*/predictions.parquet")).unlink()
    with pytest.raises(InputError, match=r"predictions\.parquet is missing"):
        write_report(tmp_path)


def test_a_study_in_use_is_told(small_notes, tmp_path):
    study = Study(small_notes, SPARSE, tmp_path / "out")
    with study.claimed():
        code = (
            "import sys; from pathlib import Path\n"
            "from clinadapt.core.folder_lock import folder_lock\n"
            "with folder_lock(Path(sys.argv[1])): pass"
        )
        command = [sys.executable, "-c", code, str(tmp_path / "out")]
        done = subprocess.run(command, capture_output=True, text=True)
    assert f"MachineError: {tmp_path / 'out'} is in use by process {os.getpid()}" in done.stderr


def test_encoders_given_take_the_place_of_the_designs(small_notes, tmp_path, encoder_folders):
    study = Study(
        small_notes,
        {
            "name": "x",
            "configurations": [{"model": "pretrained", "encoder": "minilm", "max_tokens": 16}],
        },
        tmp_path,
        encoders=[str(encoder_folders["bert"]), str(encoder_folders["llama"])],
    )
    assert [run.resolved["encoder"] for run in study.runs] == [
        str(encoder_folders["bert"]),
        str(encoder_folders["llama"]),
    ]


@pytest.mark.parametrize("task", ["multiclass", "multilabel"])
def test_other_tasks_run_through(tmp_path, task):
    rng = np.random.default_rng(0)
    words = {"a": "fievre", "b": "dyspnee", "c": "oedeme"}
    carried = [
        sorted(rng.choice(list(words), rng.integers(1, 3 if task == "multilabel" else 2), False))
        for _ in range(150)
    ]
    frame = pl.DataFrame(
        {
            "text": [
                " ".join(words[name] for name in row) + f" jour {n}"
                for n, row in enumerate(carried)
            ],
            "label": ["|".join(row) for row in carried],
        }
    )
    columns = Columns(separator="|" if task == "multilabel" else None)
    notes = read_notes(frame, columns)
    configurations = [{"model": "tfidf-logistic"}, {"model": "transformer", "epochs": 2}]
    study = {"name": "x", "configurations": configurations, "resamples": 100}
    board = Study(notes, study, tmp_path).run().leaderboard
    assert board["status"].to_list() == ["done", "done"]
    assert board["test"].max() > 0.9
    frame = pl.read_parquet(next(tmp_path.glob("cells/*/predictions.parquet")))
    assert frame["label"].dtype == (pl.List(pl.String) if task == "multilabel" else pl.String)


# ---------------------------------------------------------------- folders of version 0.1


OLD_NAMES = {
    "configuration": "row",
    "configuration_id": "row_id",
    "configurations": "rows",
    "model": "family",
    "axes": "model",
    "adapter": "structure",
    "adapter_options": "structure_options",
    "run": "cell",
    "truncation": "cut",
    "truncated": "cut",
    "memory_savings": "economies",
}


def as_written_by_0_1(content):
    """Content of a JSON file of a study's folder, with the keys and format of version 0.1."""
    if isinstance(content, list):
        return [as_written_by_0_1(item) for item in content]
    if not isinstance(content, dict):
        return content
    old = {OLD_NAMES.get(key, key): as_written_by_0_1(value) for key, value in content.items()}
    if "format" in old:
        old["format"] = 1
    if "questions" in old:
        old["questions"] = [OLD_NAMES.get(name, name) for name in old["questions"]]
    return old


def copy_as_0_1(study, folder):
    """Copy a study's folder, its results under the names of version 0.1."""
    shutil.copytree(study, folder)
    names = ("study.json", "evidence.json", "subgroups.json", "curves.json", "cells/*/result.json")
    for path in (found for name in names for found in folder.glob(name)):
        path.write_text(json.dumps(as_written_by_0_1(json.loads(path.read_text()))))
    for name in ("leaderboard.csv", "ledger.csv"):
        table = pl.read_csv(folder / name)
        table.rename(lambda column: OLD_NAMES.get(column, column)).write_csv(folder / name)
    return folder


@pytest.fixture(scope="module")
def small_design(encoder_folders):
    return {
        "name": "small",
        "resamples": 100,
        "truncation": "tail",
        "curve": {"shares": [0.5], "draws": 1},
        "configurations": [
            {"model": "tfidf-logistic"},
            {"model": "transformer", "epochs": 1, "vocabulary": 300, "max_tokens": 16},
            {
                "model": "pretrained",
                "encoder": str(encoder_folders["bert"]),
                "adapter": ["none", "bottleneck"],
                "max_tokens": 16,
                "epochs": 1,
            },
        ],
    }


@pytest.fixture(scope="module")
def small_study(small_notes_synthetic, small_design, tmp_path_factory):
    """Folder of a finished study with an adapter, truncated notes and a learning curve."""
    out = tmp_path_factory.mktemp("small") / "out"
    Study(small_notes_synthetic, small_design, out).run()
    return out


def test_a_finished_folder_of_0_1_is_read_and_reported(small_study, tmp_path):
    old = copy_as_0_1(small_study, tmp_path / "old")
    assert "row_id" in pl.read_csv(old / "leaderboard.csv").columns
    today, before = read_results.load(small_study), read_results.load(old)
    for name in ("about", "configurations", "evidence", "curves", "subgroups"):
        assert getattr(before, name) == getattr(today, name), name
    assert [replace(run, folder=Path()) for run in before.runs] == [
        replace(run, folder=Path()) for run in today.runs
    ]
    assert any(run.axes["adapter"] == "bottleneck" for run in before.runs)
    assert any(run.truncated.get("test") for run in before.runs)
    assert write_report(old).read_text("utf-8") == write_report(small_study).read_text("utf-8")


def test_a_half_finished_folder_of_0_1_is_resumed(
    small_study, small_notes_synthetic, small_design, tmp_path, monkeypatch
):
    old = copy_as_0_1(small_study, tmp_path / "old")
    about = json.loads((old / "study.json").read_text())
    handed_over = {about[name]["cell"] for name in ("best", "recommended") if about[name]}
    missing = next(
        key
        for key, result in results_of(old).items()
        if key not in handed_over and result["model"]["family"] == "pretrained"
    )
    shutil.rmtree(old / "cells" / missing)
    for name in ("leaderboard.csv", "ledger.csv", "evidence.json", "subgroups.json"):
        (old / name).unlink(missing_ok=True)
    before = {path: path.read_bytes() for path in old.glob("**/result.json")}
    fitted, fit = [], Study._fit

    def watched(self, run, *rest):
        fitted.append(self.folders.id(run))
        return fit(self, run, *rest)

    monkeypatch.setattr(Study, "_fit", watched)
    # The study file has the old names too.
    Study(small_notes_synthetic, as_written_by_0_1(small_design), old).run()
    assert fitted == [missing]
    assert {path: path.read_bytes() for path in before} == before
    assert comparable(old) == comparable(small_study)
