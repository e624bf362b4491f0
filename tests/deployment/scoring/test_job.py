"""Scoring files: each note is scored once or set aside with a reason."""

import os
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from scored import SECRET, aside_of, assert_probabilities, texts

from clinadapt import NoteClassifier
from clinadapt.core.errors import InputError, MachineError
from clinadapt.deployment.scoring import file_sink, loop
from clinadapt.deployment.scoring.file_source import find_files
from clinadapt.deployment.scoring.interfaces import (
    EMPTY,
    NAMELESS,
    REPEATED,
    UNDECODABLE,
    UNREADABLE,
)
from clinadapt.deployment.scoring.job import Prediction, bundles_first
from clinadapt.models.bundle.record import fingerprint


@pytest.fixture
def folder(tmp_path):
    """Notes 0 to 39 in files of four kinds, two of them in a folder of the folder."""
    root = tmp_path / "notes"
    (root / "deep").mkdir(parents=True)
    table = pl.DataFrame({"key": [f"n{at}" for at in range(40)], "text": texts(40)})
    table[:10].write_csv(root / "a.csv")
    table[10:20].write_csv(root / "b.tsv", separator="\t")
    table[20:30].write_ndjson(root / "deep" / "c.jsonl")
    table[30:].write_parquet(root / "deep" / "d.parquet")
    (root / "readme.txt").write_text("no notes")
    return root


NAMED = {f"n{at}": text for at, text in enumerate(texts(40))}


@pytest.mark.parametrize(
    ("patterns", "ids"),
    [
        (["{}"], range(40)),
        (["{}/*.?sv", "{}/deep/d.parquet"], [*range(20), *range(30, 40)]),
        (["{}/**/*.parquet", "{}/a.csv"], [*range(30, 40), *range(10)]),
        (["{}/a.csv", "{}/a.csv"], range(10)),
    ],
)
def test_files_folders_and_patterns(folder, tfidf_bundle, tmp_path, patterns, ids):
    out = tmp_path / "p.parquet"
    notes = [pattern.format(folder) for pattern in patterns]
    state = Prediction(tfidf_bundle.folder, notes, out, id="key").run()
    frame = pl.read_parquet(out)
    assert frame["id"].to_list() == [f"n{at}" for at in ids]
    assert_probabilities(frame, tfidf_bundle.classifier, {f"n{at}": NAMED[f"n{at}"] for at in ids})
    assert (state.read, state.scored, state.aside) == (len(ids), len(ids), 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes", "p.parquet"]


def test_without_ids_rows_are_named_by_their_file(folder, tfidf_bundle, tmp_path):
    Prediction(tfidf_bundle.folder, [str(folder)], tmp_path / "p.csv").run()
    ids = pl.read_csv(tmp_path / "p.csv")["id"].to_list()
    assert ids[0] == "a.csv:1"
    assert ids[-1] == "deep/d.parquet:10"
    assert len(set(ids)) == 40


@pytest.mark.parametrize("link", [None, os.symlink, os.link])
@pytest.mark.parametrize("option", ["out", "aside"])
def test_notes_are_never_overwritten(tfidf_bundle, tmp_path, link, option):
    notes = tmp_path / "notes.csv"
    notes.write_text("id,text\n1,toux\n")
    written = notes
    if link is not None:
        written = tmp_path / "link.csv"
        link(notes, written)
    outputs = {"out": tmp_path / "p.csv", "aside": tmp_path / "a.csv", option: written}
    for given in ([str(notes)], [str(tmp_path)]):
        with pytest.raises(InputError, match=r"this command reads|not written by clinadapt"):
            Prediction(tfidf_bundle.folder, given, id="id", **outputs).run()
    assert notes.read_text() == "id,text\n1,toux\n"


def test_only_earlier_outputs_are_replaced(tfidf_bundle, tmp_path):
    notes, out, aside = (tmp_path / name for name in ("notes.csv", "p.csv", "a.csv"))
    notes.write_text("id,text\n1,toux\n2,\n")
    asked = Prediction(tfidf_bundle.folder, [str(notes)], out, id="id", aside=aside)
    asked.run()
    asked.run()
    for path, content in ((out, "id,prediction,prob_0,mine\n"), (aside, "id,place,mine\n")):
        before = path.read_text()
        path.write_text(content)
        with pytest.raises(InputError, match="not written by clinadapt"):
            asked.run()
        assert path.read_text() == content
        path.write_text(before)
    assert asked.run().scored == 1


def test_an_output_among_the_notes_is_not_read(folder, tfidf_bundle):
    for _ in range(2):
        state = Prediction(tfidf_bundle.folder, [str(folder)], folder / "p.parquet", id="key").run()
        assert state.read == 40


def test_patterns_that_match_no_file_are_reported_together(folder):
    with pytest.raises(InputError) as refused:
        find_files(["absent.csv", str(folder / "*.xml"), str(folder)], [".pdf"])
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [
        "no such file",
        "no such file",
        "no .pdf file in",
    ]


def test_every_file_must_have_the_columns(folder, tfidf_bundle, tmp_path):
    (folder / "x.csv").write_text("key,body\nn1,b\n")
    (folder / "y.parquet").write_text("not Parquet")
    with pytest.raises(InputError) as refused:
        Prediction(tfidf_bundle.folder, [str(folder)], tmp_path / "p.csv", id="key").run()
    first, second = refused.value.problems
    assert "'text'" in first
    assert "x.csv" in first
    assert "y.parquet" in second


def test_notes_that_cannot_be_scored_are_set_aside_without_text(tfidf_bundle, tmp_path, capsys):
    notes, out = tmp_path / "notes.csv", tmp_path / "p.csv"
    known = f"{SECRET} toux"
    rows = [("a", known), ("b", ""), ("a", f"{known} 2"), ("", known), ("c", " \t"), ("c", "toux")]
    notes.write_text("id,text\n" + "".join(f"{id},{text}\n" for id, text in rows))
    state = Prediction(tfidf_bundle.folder, [str(notes)], out, id="id").run()
    assert pl.read_csv(out)["id"].to_list() == ["a", "c"]  # the first c has no text
    path = tmp_path / "p.aside.csv"
    assert sorted(aside_of(path), key=lambda row: row[1]) == [
        ("b", "notes.csv:2", EMPTY),
        ("a", "notes.csv:3", REPEATED),
        (None, "notes.csv:4", NAMELESS),
        ("c", "notes.csv:5", EMPTY),
    ]
    assert (state.read, state.scored, state.aside) == (6, 2, 4)
    assert SECRET not in path.read_text() + out.read_text()
    assert path.stat().st_mode & 0o077 == 0
    notes.write_text("id,text\na,toux\n")
    Prediction(tfidf_bundle.folder, [str(notes)], out, id="id").run()
    assert not path.exists()


def test_duplicates_are_found_across_batches_and_files(tfidf_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "NOTES_AT_ONCE", 3)
    for name in ("a", "b"):
        frame = pl.DataFrame({"id": [f"{at}" for at in range(7)], "text": [f"{name} toux"] * 7})
        frame.write_parquet(tmp_path / f"{name}.parquet")
    out = tmp_path / "p.parquet"
    state = Prediction(tfidf_bundle.folder, [str(tmp_path / "[ab].parquet")], out, id="id").run()
    assert pl.read_parquet(out)["id"].to_list() == [f"{at}" for at in range(7)]
    assert [row[1] for row in aside_of(tmp_path / "p.aside.csv")] == [
        f"b.parquet:{at}" for at in range(1, 8)
    ]
    assert (state.read, state.scored, state.aside) == (14, 7, 7)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_bytes_of_another_encoding_are_set_aside(tfidf_bundle, tmp_path, suffix):
    notes, out = tmp_path / f"notes{suffix}", tmp_path / "p.csv"
    rows = [
        ("a", "fièvre"),
        ("b", f"{SECRET} toux ?"),
        ("c", "toux é"),
        ("?d", "toux"),
        ("e", "toux"),
    ]
    if suffix == ".csv":
        text = "id,text\n" + "".join(f"{id},{text}\n" for id, text in rows)
    else:
        text = "".join(f'{{"id": "{id}", "text": "{text}"}}\n' for id, text in rows)
    notes.write_bytes(text.encode().replace(b"?", b"\xe9"))  # é in cp1252, invalid in UTF-8
    state = Prediction(tfidf_bundle.folder, [str(notes)], out, id="id").run()
    assert pl.read_csv(out)["id"].to_list() == ["a", "c", "e"]
    assert aside_of(tmp_path / "p.aside.csv") == [
        ("b", f"{notes.name}:2", UNDECODABLE),
        ("\ufffdd", f"{notes.name}:4", UNDECODABLE),
    ]
    assert (state.read, state.scored, state.aside) == (5, 3, 2)
    notes.write_bytes(text.replace("?", "é").encode("cp1252"))  # only ASCII lines are valid UTF-8
    with pytest.raises(InputError, match=r"4 line\(s\) are not utf-8 .*--encoding cp1252"):
        Prediction(tfidf_bundle.folder, [str(notes)], out, id="id").run()
    asked = Prediction(tfidf_bundle.folder, [str(notes)], out, id="id", encoding="cp1252")
    assert asked.run().scored == 5


def test_parse_errors_are_reported_before_the_first_note(tfidf_bundle, tmp_path):
    notes = tmp_path / "notes.csv"
    notes.write_text("id,text\n" + "n,toux\n" * 20_000 + "n,toux,x,y\n" + "n,toux\n" * 9)
    with pytest.raises(InputError, match=r"notes\.csv: .* but line 20002 has 4"):
        Prediction(tfidf_bundle.folder, [str(notes)], tmp_path / "p.csv", id="id").run()
    assert [path.name for path in tmp_path.iterdir()] == ["notes.csv"]


def test_notes_that_a_model_cannot_read_are_set_aside(tfidf_bundle, tmp_path, monkeypatch):
    notes, out = tmp_path / "notes.csv", tmp_path / "p.csv"
    notes.write_text("id,text\na,toux\nb,???\nc,fievre\n")
    right = NoteClassifier.predict_proba

    def lost(self, batch):
        return np.where([[text == "???"] for text in batch], np.nan, right(self, batch))

    monkeypatch.setattr(NoteClassifier, "predict_proba", lost)
    state = Prediction(tfidf_bundle.folder, [str(notes)], out, id="id").run()
    assert pl.read_csv(out)["id"].to_list() == ["a", "c"]
    assert aside_of(tmp_path / "p.aside.csv") == [("b", "notes.csv:2", UNREADABLE)]
    assert (state.scored, state.aside) == (2, 1)
    # Of several notes with the same id, the first readable one is scored.
    notes.write_text("id,text\nb,???\nb,???\nb,toux\nb,fievre\nc,fievre\n")
    state = Prediction(tfidf_bundle.folder, [str(notes)], out, id="id").run()
    frame = pl.read_csv(out).sort("id")
    assert frame["id"].to_list() == ["b", "c"]
    expected = right(tfidf_bundle.classifier, ["toux", "fievre"])
    np.testing.assert_allclose(frame["prob_1"], expected[:, 1], atol=1e-12)
    assert sorted(aside_of(tmp_path / "p.aside.csv")) == [
        ("b", "notes.csv:1", UNREADABLE),
        ("b", "notes.csv:2", UNREADABLE),
        ("b", "notes.csv:4", REPEATED),
    ]
    assert (state.read, state.scored, state.aside) == (5, 2, 3)


def test_several_bundles_at_once(folder, tfidf_bundle, tmp_path):
    three = [["mild", "severe", "none"][at % 3] for at in range(40)]
    other = NoteClassifier().fit(texts(40), three)
    bundles = {"cough": tfidf_bundle.folder, "severity": other.save(tmp_path / "severity")}
    out = tmp_path / "p.parquet"
    asked = Prediction(bundles, [str(folder)], out, id="key")
    assert asked.run().scored == 40
    frame = pl.read_parquet(out)
    assert frame.columns == ["id", "cough.prediction", "cough.prob_0", "cough.prob_1"] + [
        f"severity.{name}" for name in ("prediction", "prob_mild", "prob_none", "prob_severe")
    ]
    cough = frame.select("id", pl.col("cough.prob_1").alias("prob_1"))
    assert_probabilities(cough, tfidf_bundle.classifier, NAMED)
    notes = [NAMED[id] for id in frame["id"]]
    assert frame["severity.prediction"].to_list() == other.predict(notes).tolist()
    probabilities = frame.select(r"^severity\.prob_.*$").to_numpy()
    np.testing.assert_allclose(probabilities, other.predict_proba(notes), atol=1e-12)
    with pytest.raises(InputError, match="--meds supports one bundle per file, got 2"):
        replace(asked, meds=True, subject="key", time="key").run()
    with pytest.raises(InputError, match="bundles a, b are identical"):
        replace(asked, bundle=dict.fromkeys("ab", tfidf_bundle.folder)).run()


def test_bundles_come_first(tfidf_bundle, tmp_path):
    one, other = tfidf_bundle.folder, tmp_path / "severity"
    shutil.copytree(one, other)
    notes = ["a.csv", "more/*.csv"]
    assert bundles_first([str(one), *notes]) == (one, notes)
    assert bundles_first([str(other), f"cough={one}", *notes]) == (
        {"severity": other, "cough": one},
        notes,
    )
    assert bundles_first([str(one), str(other)]) == ({one.name: one, "severity": other}, [])
    assert bundles_first([f"cough={one}", *notes]) == ({"cough": one}, notes)
    assert bundles_first(["nothing", *notes]) == (Path("nothing"), notes)  # refused when opened
    with pytest.raises(InputError, match="two tasks are called 'severity'"):
        bundles_first([str(other), f"severity={one}", *notes])


@pytest.fixture
def stopped(tfidf_bundle, tmp_path, monkeypatch):
    """A run of 30 notes that ended with an error after two of its batches."""
    monkeypatch.setattr("clinadapt.data.tables.table.ROWS_AT_ONCE", 10)
    monkeypatch.setattr(loop, "NOTES_AT_ONCE", 10)
    notes = tmp_path / "notes.parquet"
    frame = pl.DataFrame({"id": [f"{at}" for at in range(30)], "text": texts(30), "other": "toux"})
    frame.write_parquet(notes)
    asked = Prediction(tfidf_bundle.folder, [str(notes)], tmp_path / "p.parquet", id="id")
    right, calls = NoteClassifier.predict_proba, []

    def fails(self, batch):
        calls.append(len(batch))
        if len(calls) == 3:
            raise RuntimeError("stop")
        return right(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(NoteClassifier, "predict_proba", fails)
        with pytest.raises(RuntimeError, match="stop"):
            asked.run()
    return asked


def test_a_stopped_run_goes_on_and_scores_nothing_twice(
    stopped, tfidf_bundle, tmp_path, monkeypatch
):
    ledger = tmp_path / "p.parquet.partial"
    assert ledger.stat().st_mode & 0o077 == 0
    assert b"apyretique" not in ledger.read_bytes()
    right, seen, steps = NoteClassifier.predict_proba, [], []

    def counted(self, batch):
        seen.extend(batch)
        return right(self, batch)

    monkeypatch.setattr(NoteClassifier, "predict_proba", counted)
    state = stopped.run(lambda stage, done, total: steps.append((done, total)))
    assert seen == texts(30)[20:]
    assert steps == [(0, 10), (10, 10)]
    assert (state.read, state.scored) == (30, 30)
    monkeypatch.undo()
    by_id = {f"{at}": text for at, text in enumerate(texts(30))}
    assert_probabilities(pl.read_parquet(tmp_path / "p.parquet"), tfidf_bundle.classifier, by_id)
    assert not ledger.exists()


def test_a_run_goes_on_only_as_it_was_begun(stopped, tfidf_bundle, tmp_path):
    other = tmp_path / "other"
    NoteClassifier().fit(texts(40), [at % 3 % 2 for at in range(40)]).save(other)
    with pytest.raises(
        InputError,
        match=r"p\.parquet\.partial has an unfinished run \(20 notes read\) that differs in: "
        r"bundle \(\w{16}, now \w{16}\), text \(text, now other\)\. .*--anew",
    ):
        replace(stopped, bundle=other, text="other").run()
    with pytest.raises(InputError, match=r"differs in: layout"):
        replace(stopped, meds=True, subject="id", time="id").run()
    assert not (tmp_path / "p.parquet").exists()
    assert replace(stopped, text="other", anew=True).run().scored == 30


def test_a_second_process_waits(stopped, tmp_path, monkeypatch):
    monkeypatch.setattr(file_sink, "POLL_SECONDS", 0)
    other = sqlite3.connect(tmp_path / "p.parquet.partial")
    other.execute("BEGIN EXCLUSIVE")
    stages = []

    def progress(stage, done, total):
        stages.append(stage)
        if "waiting" in stage:
            other.close()

    assert stopped.run(progress).scored == 30
    assert stages[0] == "waiting for another process that writes p.parquet"


def test_a_ledger_that_vanishes_while_it_is_waited_for(stopped, tmp_path, monkeypatch):
    """The other process finishes: its ledger, opened by this one, is no file any more."""
    monkeypatch.setattr(file_sink, "POLL_SECONDS", 0)
    ledger = tmp_path / "p.parquet.partial"
    other = sqlite3.connect(ledger)
    other.execute("BEGIN EXCLUSIVE")
    connect = sqlite3.connect
    waited = []

    def connects(*arguments, **named):
        file = connect(*arguments, **named)
        if waited == [1]:  # between the look at the file and the lock
            file.execute("SELECT 1 FROM sqlite_master").fetchone()
            ledger.unlink()
            waited.append(2)
        return file

    def progress(stage, done, total):
        if "waiting" in stage and not waited:
            other.close()
            waited.append(1)

    monkeypatch.setattr(file_sink.sqlite3, "connect", connects)
    assert stopped.run(progress).read == 30  # from the beginning, in a new ledger
    assert waited == [1, 2]
    assert not ledger.exists()
    assert pl.read_parquet(tmp_path / "p.parquet")["id"].n_unique() == 30


def test_something_else_in_place_of_the_ledger(stopped, tmp_path):
    (tmp_path / "p.parquet.partial").write_text("something else" * 100)
    with pytest.raises(InputError, match="was not written by clinadapt"):
        stopped.run()


@pytest.mark.skipif(os.name != "posix", reason="limits of POSIX")
def test_no_room_for_scores_is_told_and_then_each_note_is_scored_once(
    tfidf_bundle, tmp_path, monkeypatch
):
    import resource

    monkeypatch.setattr(loop, "NOTES_AT_ONCE", 200)
    monkeypatch.setattr("clinadapt.data.tables.table.ROWS_AT_ONCE", 200)
    frame = pl.DataFrame({"id": [f"{at}" for at in range(2000)], "text": texts(2000)})
    frame.write_parquet(tmp_path / "notes.parquet")
    asked = Prediction(
        tfidf_bundle.folder, [str(tmp_path / "notes.parquet")], tmp_path / "p.csv", id="id"
    )
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    for room in (1, 40_000, 60_000):  # for no ledger, for some batches, for all but the output
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
        try:
            with pytest.raises(MachineError, match=r"p\.csv.*then give the same command again"):
                asked.run()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert not (tmp_path / "p.csv").exists()
    assert asked.run().scored == 2000
    assert pl.read_csv(tmp_path / "p.csv")["id"].n_unique() == 2000


def test_the_fingerprint_is_of_the_model_not_of_the_folder(tfidf_bundle, tmp_path):
    again = tfidf_bundle.classifier.save(tmp_path / "again")
    (again / "README.md").write_text("another card")
    assert fingerprint(again) == fingerprint(tfidf_bundle.folder)
    labels = [at % 3 == 0 for at in range(40)]
    other = NoteClassifier().fit(texts(40), labels).save(tmp_path / "other")
    assert fingerprint(other) != fingerprint(tfidf_bundle.folder)


def test_options_that_do_not_go_together_are_told_at_once(tfidf_bundle):
    with pytest.raises(InputError) as refused:
        Prediction(tfidf_bundle.folder, ["notes.csv"], into="results", meds=True).run()
    assert len(refused.value.problems) == 4
    with pytest.raises(InputError, match="no notes"):
        Prediction(tfidf_bundle.folder).run()
