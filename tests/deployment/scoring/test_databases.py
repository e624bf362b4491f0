"""Scoring notes in SQLite and PostgreSQL: order of keys, transactions, messages."""

import copy
import json
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from documents import attachment, document
from omop import OMOP, add_notes, execute
from scored import aside_of, texts
from typer.testing import CliRunner

from clinadapt import NoteClassifier
from clinadapt.cli.main import app
from clinadapt.core.errors import (
    InputError,
    MachineError,
    MissingExtraError,
    NetworkForbiddenError,
)
from clinadapt.core.network_guard import no_network
from clinadapt.deployment.scoring import database_source, loop, omop_rows
from clinadapt.deployment.scoring.database import connect, split_name, tables_of
from clinadapt.deployment.scoring.interfaces import EMPTY, NOT_INTEGER, REPEATED
from clinadapt.deployment.scoring.job import Prediction
from clinadapt.models.bundle.record import fingerprint
from clinadapt.models.load import load

NOTES = 50


@pytest.fixture
def omop(url):
    """URL of a database with the two OMOP tables, and its notes by key."""
    execute(url, *OMOP.strip().rstrip(";").split(";\n"))
    return url, add_notes(url, 0, NOTES)


@pytest.fixture
def few_at_once(monkeypatch):
    monkeypatch.setattr(database_source, "ROWS_AT_ONCE", 8)
    monkeypatch.setattr(loop, "NOTES_AT_ONCE", 8)


@pytest.mark.usefixtures("few_at_once")
def test_notes_of_omop_into_note_nlp(omop, tfidf_bundle, tmp_path):
    url, notes = omop
    existing = "INSERT INTO note_nlp (note_nlp_id, note_id, lexical_variant, nlp_date)"
    execute(url, f"{existing} VALUES (41, 0, 'x', '2024-01-01')")
    asked = Prediction(
        tfidf_bundle.folder, database=url, into="note_nlp", aside=tmp_path / "aside.csv"
    )
    state = asked.run()
    assert (state.read, state.scored, state.aside) == (NOTES, NOTES, 0)
    columns = "note_nlp_id, note_id, lexical_variant, nlp_system, term_modifiers"
    rows = execute(url, f"SELECT {columns} FROM note_nlp WHERE note_nlp_id > 41 ORDER BY 1")
    assert [row[0] for row in rows] == list(range(42, 42 + NOTES))
    assert [row[1] for row in rows] == sorted(notes)
    assert {row[3] for row in rows} == {f"clinadapt {fingerprint(tfidf_bundle.folder)}"}
    classifier = tfidf_bundle.classifier
    ordered = [notes[row[1]] for row in rows]
    assert [row[2] for row in rows] == [str(label) for label in classifier.predict(ordered)]
    modifiers = [dict(item.split("=") for item in row[4].split(", ")) for row in rows]
    expected = classifier.predict_proba(ordered)
    np.testing.assert_allclose(
        [float(each["prob_1"]) for each in modifiers], expected[:, 1], rtol=1e-5
    )
    empty = 'snippet, "offset", term_exists, term_temporal, section_concept_id'
    assert set(execute(url, f"SELECT {empty} FROM note_nlp")) == {(None,) * 5}
    assert not (tmp_path / "aside.csv").exists()


@pytest.mark.usefixtures("few_at_once")
def test_a_custom_table_is_created_and_later_notes_are_added(omop, tfidf_bundle, tmp_path):
    url, notes = omop
    asked = Prediction(tfidf_bundle.folder, database=url, into="scores", aside=tmp_path / "a.csv")
    asked.run()
    notes |= add_notes(url, NOTES, NOTES + 11)
    steps = []
    state = asked.run(lambda stage, done, total: steps.append((done, total)))
    assert (state.read, state.scored) == (NOTES + 11, NOTES + 11)
    assert steps[-1] == (11, 11)
    assert asked.run() == state
    columns = "note_id, model, prediction, probability, probabilities, scored_at"
    rows = execute(url, f"SELECT {columns} FROM scores ORDER BY note_id")
    assert [row[0] for row in rows] == sorted(notes)
    probabilities = tfidf_bundle.classifier.predict_proba([notes[row[0]] for row in rows])
    for row, expected in zip(rows, probabilities, strict=True):
        each = json.loads(row[4])
        np.testing.assert_allclose([each["0"], each["1"]], expected, atol=1e-12)
        assert row[3] == each[row[2]] == max(each.values())
    assert all(row[5] is not None for row in rows)


def test_another_table_and_other_columns_into_a_file(url, tfidf_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(database_source, "ROWS_AT_ONCE", 2)
    keys = ["b", "a", "b", "b", "b", "c", "d"]
    bodies = ["toux", "fievre", "toux", "toux 2", None, " ", "apyretique"]
    rows = [{"key": key, "body": body} for key, body in zip(keys, bodies, strict=True)]
    make = 'CREATE TABLE letters ("key" varchar(9), body text)'
    execute(url, make, 'INSERT INTO letters ("key", body) VALUES (:key, :body)', rows=rows)
    out = tmp_path / "p.parquet"
    asked = Prediction(
        tfidf_bundle.folder, out=out, database=url, table="letters", text="body", id="key"
    )
    state = asked.run()
    assert pl.read_parquet(out)["id"].to_list() == ["a", "b", "d"]
    assert sorted(row[::2] for row in aside_of(tmp_path / "p.aside.csv")) == [
        ("b", EMPTY), ("b", REPEATED), ("b", REPEATED), ("c", EMPTY),
    ]  # fmt: skip
    assert (state.read, state.scored, state.aside) == (7, 3, 4)
    execute(url, "INSERT INTO letters (body) VALUES ('toux')")
    with pytest.raises(InputError, match=r"1 row\(s\) of letters have no key"):
        asked.run()
    with pytest.raises(InputError, match="no column 'note', 'words' in table letters; it has"):
        replace(asked, text="words", id="note").run()
    with pytest.raises(InputError, match=r"no table absent in .*; its tables: letters"):
        replace(asked, table="absent").run()


def test_meds_predictions_of_omop(omop, tfidf_bundle, tmp_path):
    url, notes = omop
    out = tmp_path / "p.parquet"
    Prediction(tfidf_bundle.folder, out=out, database=url, meds=True).run()
    frame = pl.read_parquet(out)
    assert frame["subject_id"].to_list() == [1] * NOTES
    assert frame["prediction_time"].dt.second().to_list() == list(range(NOTES))
    expected = tfidf_bundle.classifier.predict_proba([notes[key] for key in sorted(notes)])
    np.testing.assert_allclose(frame["predicted_boolean_probability"], expected[:, 1])


@pytest.mark.usefixtures("few_at_once")
def test_files_into_databases(omop, tfidf_bundle, tmp_path):
    url, _ = omop
    aside, path = tmp_path / "aside.csv", tmp_path / "d.ndjson"
    documents = [document(f"{at}", attachment("toux")) for at in (*range(20), "x", 3)]
    path.write_text("\n".join(map(json.dumps, documents)))
    asked = Prediction(
        tfidf_bundle.folder, [str(path)], fhir=True, database=url, into="own", aside=aside
    )
    assert asked.run().scored == 21
    ids = [id for (id,) in execute(url, "SELECT note_id FROM own")]
    assert sorted(ids) == sorted([*map(str, range(20)), "x"])
    assert [row[::2] for row in aside_of(aside)] == [("3", REPEATED)]
    # OMOP ids are integers; a model does not score a note twice into the same table
    state = replace(asked, into="note_nlp").run()
    assert (state.scored, state.aside) == (20, 2)
    assert [row[::2] for row in aside_of(aside)] == [("x", NOT_INTEGER), ("3", REPEATED)]
    path.write_text(json.dumps(document("20", attachment("toux"))) + "\n" + path.read_text())
    state = replace(asked, into="note_nlp").run()
    assert (state.read, state.scored, state.aside) == (23, 1, 22)


def another(tfidf_bundle, tmp_path):
    """Save a bundle with another fingerprint, which covers the metric."""
    classifier = copy.copy(tfidf_bundle.classifier)
    classifier.metric_ = "accuracy"
    return classifier.save(tmp_path / "other")


@pytest.mark.usefixtures("few_at_once")
@pytest.mark.parametrize("into", ["own", "note_nlp"])
def test_several_bundles_at_once(omop, tfidf_bundle, tmp_path, into):
    url, _ = omop
    bundles = {"cough": tfidf_bundle.folder, "fever": another(tfidf_bundle, tmp_path)}
    asked = Prediction(bundles, database=url, into=into, aside=tmp_path / "a.csv")
    documents = [document(f"{at}", attachment("toux")) for at in (0, 7)]
    (tmp_path / "d.ndjson").write_text("\n".join(map(json.dumps, documents)))
    files = {"notes": [str(tmp_path / "d.ndjson")], "fhir": True}
    if into == "own":  # so that its ids are integers, as in the table of notes
        replace(asked, table="note", text="note_text").run()
        execute(url, "DELETE FROM own", "DELETE FROM clinadapt_runs")
    assert replace(asked, bundle=bundles["fever"], **files).run().scored == 2
    state = asked.run()
    assert (state.read, state.scored, state.aside) == (NOTES, NOTES, 0)
    column = "nlp_system" if into == "note_nlp" else "model"
    query = f"SELECT {column}, count(*), count(DISTINCT note_id) FROM {into} GROUP BY {column}"
    assert sorted(execute(url, query)) == sorted(
        (f"clinadapt {fingerprint(folder)}", NOTES, NOTES) for folder in bundles.values()
    )
    named = "task" if into == "own" else "substr(term_modifiers, 6, 5)"
    query = f"SELECT {named}, count(*) FROM {into} GROUP BY 1 ORDER BY 1"
    # the two notes that were scored before keep the task name of that run
    assert execute(url, query) == [("cough", NOTES), ("fever", NOTES - 2), ("other", 2)]


@pytest.mark.usefixtures("few_at_once")
def test_a_run_in_a_database_resumes_only_with_the_same_settings(
    omop, tfidf_bundle, tmp_path, monkeypatch
):
    url, _ = omop
    asked = Prediction(tfidf_bundle.folder, database=url, into="own", aside=tmp_path / "a.csv")

    def stop(stage, done, total):
        if done >= 16:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        asked.run(stop)
    with pytest.raises(
        InputError,
        match=r"table own has an unfinished run \(16 notes read\) that differs in: "
        r"text \(note_text, now note_title\)\. .*--anew \(its scores are kept\)",
    ):
        replace(asked, text="note_title").run()
    assert execute(url, "SELECT count(*) FROM own") == [(16,)]
    other = replace(asked, bundle=another(tfidf_bundle, tmp_path)).run()
    assert (other.read, other.scored) == (NOTES, NOTES)  # runs of other bundles do not conflict
    with pytest.raises(RuntimeError, match="stop"):
        asked.run(stop)
    # abandoned: notes that were scored before are set aside
    execute(url, "CREATE TABLE letters AS SELECT * FROM note")
    given_up = replace(asked, table="letters", anew=True).run()
    assert (given_up.scored, given_up.aside) == (NOTES - 32, 32)
    counted = "SELECT model, count(*), count(DISTINCT note_id) FROM own GROUP BY model"
    assert {row[1:] for row in execute(url, counted)} == {(NOTES, NOTES)}
    assert {row[0] for row in execute(url, "SELECT finished FROM clinadapt_runs")} == {1}


@pytest.mark.usefixtures("few_at_once")
def test_a_resumed_run_is_unfinished_for_others(omop, tfidf_bundle, tmp_path):
    url, _ = omop
    asked = Prediction(tfidf_bundle.folder, database=url, into="note_nlp", aside=tmp_path / "a.csv")
    asked.run()
    add_notes(url, NOTES, NOTES + 11)

    def stop(stage, done, total):
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):  # before its first batch
        asked.run(stop)
    with pytest.raises(InputError, match=r"unfinished run \(50 notes read\) that differs in: text"):
        replace(asked, text="note_title").run()
    assert asked.run().scored == NOTES + 11


@pytest.mark.usefixtures("few_at_once")
def test_everything_is_read_again_after_the_row_of_a_run_is_deleted(omop, tfidf_bundle, tmp_path):
    url, _ = omop
    execute(url, "UPDATE note SET note_text = ' ' WHERE note_id IN (7, 14)")
    asked = Prediction(tfidf_bundle.folder, database=url, into="own", aside=tmp_path / "a.csv")
    assert asked.run().aside == 2
    execute(url, "DELETE FROM clinadapt_runs")
    execute(url, "UPDATE note SET note_text = 'toux' WHERE note_id = 7")
    state = asked.run()
    assert (state.read, state.scored, state.aside) == (NOTES, 1, NOTES - 1)
    reasons = [row[2] for row in aside_of(tmp_path / "a.csv")]
    assert sorted(reasons) == [EMPTY] + [REPEATED] * (NOTES - 2)
    assert execute(url, "SELECT count(*) FROM own") == [(NOTES - 1,)]


def test_keys_that_compare_equal(tfidf_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(database_source, "ROWS_AT_ONCE", 2)
    url = f"sqlite:///{tmp_path / 'notes.db'}"
    (tmp_path / "notes.db").touch()
    make = "CREATE TABLE note (note_id text COLLATE NOCASE, note_text text)"
    keys = ["a", "b", "B", "B", "c"]
    execute(url, make, "INSERT INTO note VALUES (:key, 'toux')", rows=[{"key": k} for k in keys])
    out = tmp_path / "p.csv"
    asked = Prediction(tfidf_bundle.folder, out=out, database=url)
    assert asked.run().read == len(keys)
    assert sorted(pl.read_csv(out)["id"]) == ["B", "a", "b", "c"]
    execute(url, "INSERT INTO note VALUES (CAST(x'66E8' AS TEXT), 'toux')")
    with pytest.raises(InputError, match=r"1 key\(s\) of note are not UTF-8"):
        asked.run()


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)  # SQLite casts any text
def test_database_messages_that_quote_a_note_are_not_shown(omop, tfidf_bundle, tmp_path):
    url, _ = omop
    cast = "CAST(note_text AS integer) AS note_text"
    execute(url, f"CREATE VIEW odd AS SELECT note_id, {cast} FROM note")
    asked = Prediction(tfidf_bundle.folder, out=tmp_path / "p.csv", database=url, table="odd")
    with pytest.raises(InputError, match=r"raised \w+\. Committed batches are kept") as failed:
        asked.run()
    assert "fievre" not in str(failed.value)
    assert "toux" not in str(failed.value)


def test_two_processes_do_not_write_one_batch_twice(omop, tfidf_bundle, tmp_path, monkeypatch):
    url, _ = omop
    asked = Prediction(tfidf_bundle.folder, database=url, into="own", aside=tmp_path / "a.csv")
    right = loop._scored

    def overtaken(*batch):
        monkeypatch.setattr(loop, "_scored", right)
        asked.run()
        return right(*batch)

    monkeypatch.setattr(loop, "_scored", overtaken)
    with pytest.raises(MachineError, match="another process has resumed this run"):
        replace(asked).run()
    assert execute(url, "SELECT count(*) FROM own") == [(NOTES,)]


def test_several_labels_and_long_ones(omop, tmp_path, monkeypatch):
    url, notes = omop
    sets = [("a",) if at % 2 else ("a", "b") for at in range(60)]
    bundle = NoteClassifier().fit(texts(60), sets).save(tmp_path / "bundle")
    asked = Prediction(bundle, database=url, into="own", aside=tmp_path / "a.csv")
    asked.run()
    predicted = {"|".join(labels) for labels in load(bundle).predict([*notes.values()])}
    assert set(execute(url, "SELECT prediction, probability FROM own")) == {
        (labels, None) for labels in predicted
    }
    assert "a|b" in predicted
    monkeypatch.setattr(omop_rows, "LONGEST_MODIFIERS", 5)
    replace(asked, into="note_nlp").run()
    assert execute(url, "SELECT DISTINCT term_modifiers FROM note_nlp") == [("task=bundle",)]
    monkeypatch.setattr(omop_rows, "LONGEST_VARIANT", 2)
    execute(url, "DELETE FROM note_nlp", "DELETE FROM clinadapt_runs")
    with pytest.raises(InputError, match="a prediction of 3 characters does not fit"):
        replace(asked, into="note_nlp").run()
    assert execute(url, "SELECT count(*) FROM note_nlp") == [(0,)]


def test_bytes_that_are_not_utf8_are_set_aside(tfidf_bundle, tmp_path):
    url = f"sqlite:///{tmp_path / 'notes.db'}"
    (tmp_path / "notes.db").touch()
    make = "CREATE TABLE note (note_id integer PRIMARY KEY, note_text)"
    rows = (
        "(1, 'toux'), (2, CAST(x'66E8' AS TEXT)), (3, x'66E8'), (4, x'746F757820C3A8'), (5, NULL)"
    )
    execute(url, make, f"INSERT INTO note VALUES {rows}")
    out = tmp_path / "p.csv"
    Prediction(tfidf_bundle.folder, out=out, database=url).run()
    assert pl.read_csv(out)["id"].to_list() == [1, 4]
    assert [row[::2] for row in aside_of(tmp_path / "p.aside.csv")] == [
        ("2", database_source.NOT_UTF8), ("3", database_source.NOT_UTF8), ("5", EMPTY),
    ]  # fmt: skip


def test_values_of_another_type_than_their_column(tfidf_bundle, tmp_path, monkeypatch):
    """SQLite stores any value in any column; integers come before text, text before bytes."""
    monkeypatch.setattr(database_source, "ROWS_AT_ONCE", 1)
    url = f"sqlite:///{tmp_path / 'notes.db'}"
    (tmp_path / "notes.db").touch()
    rows = (
        "(1, 'toux', '2024-05-01'), (2, x'746F7578', 'x'), (2.5, 'toux', 'yesterday'), "
        "('V-7', 'toux', 'x'), (x'00FF', 'toux', 'x'), (3, 'fievre', 'x')"
    )
    make = "CREATE TABLE note (note_id integer, note_text text, note_datetime datetime)"
    execute(url, make, f"INSERT INTO note VALUES {rows}")
    asked = Prediction(tfidf_bundle.folder, database=url, into="scores", aside=tmp_path / "a.csv")
    state = asked.run()
    assert (state.read, state.scored) == (6, 2)
    assert execute(url, "SELECT note_id FROM scores ORDER BY 1") == [(1,), (3,)]
    assert [(id, reason) for id, _, reason in aside_of(tmp_path / "a.csv")] == [
        ("2", database_source.NOT_TEXT),
        ("2.5", database_source.OTHER_KEY),
        ("V-7", database_source.OTHER_KEY),
        (None, database_source.OTHER_KEY),
    ]
    assert asked.run() == state  # goes on after a key of bytes
    execute(url, "INSERT INTO note VALUES (x'0100', 'toux', 'x')")
    assert asked.run().read == 7


def test_text_keys_of_another_type(tfidf_bundle, tmp_path):
    url = f"sqlite:///{tmp_path / 'notes.db'}"
    (tmp_path / "notes.db").touch()
    make = "CREATE TABLE note (note_id varchar(9), note_text text)"
    execute(url, make, "INSERT INTO note VALUES ('a', 'toux'), (7, 'toux'), (x'61', 'toux')")
    out = tmp_path / "p.csv"
    Prediction(tfidf_bundle.folder, out=out, database=url).run()
    assert pl.read_csv(out, infer_schema=False)["id"].to_list() == ["7", "a"]
    assert aside_of(tmp_path / "p.aside.csv") == [(None, "note", database_source.OTHER_KEY)]


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("scores", (None, "scores")),
        ("a b", (None, "a b")),
        ("results.scores", ("results", "scores")),
        ('"a.b"', (None, "a.b")),
        ('"a.b"."c""d"', ("a.b", 'c"d')),
        ('results."a.b"', ("results", "a.b")),
    ],
)
def test_names_of_tables(name, parts):
    assert split_name(name) == parts


@pytest.mark.parametrize("name", ["", "  ", ".", "a.", ".a", "a.b.c", '"', '""', 'a"b', " . "])
def test_what_names_no_table(name, omop, tfidf_bundle):
    with pytest.raises(InputError, match="names no table"):
        split_name(name)
    url, _ = omop
    for options in ({"into": name}, {"table": name, "into": "scores"}):
        with pytest.raises(InputError, match=r"names no table|is blank"):
            Prediction(tfidf_bundle.folder, database=url, **options).run()
    assert tables_of(connect(url), "any") == "note, note_nlp"


@pytest.mark.parametrize("name", ["clinadapt_runs", "CLINADAPT_SET_ASIDE", '"clinadapt_runs"'])
def test_own_tables_hold_no_scores(name, omop, tfidf_bundle, tmp_path):
    url, _ = omop
    asked = Prediction(tfidf_bundle.folder, database=url, into=name, aside=tmp_path / "a.csv")
    with pytest.raises(InputError, match="keeps its own records"):
        asked.run()
    assert replace(asked, into="scores").run().scored == NOTES


def test_a_table_of_somebody_else_with_the_name_of_an_own_one(omop, tfidf_bundle, tmp_path):
    url, _ = omop
    execute(url, "CREATE TABLE clinadapt_runs (mine integer)")
    asked = Prediction(tfidf_bundle.folder, database=url, into="scores", aside=tmp_path / "a.csv")
    with pytest.raises(InputError, match="in table clinadapt_runs"):
        asked.run()
    assert execute(url, "SELECT * FROM clinadapt_runs") == []


@pytest.mark.parametrize("name", ["a b", '"a.b"', '"a""b"'])
def test_names_that_need_quotes(name, omop, tfidf_bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    url, _ = omop
    assert Prediction(tfidf_bundle.folder, database=url, into=name).run().scored == NOTES
    bare = split_name(name)[1].replace('"', '""')
    assert execute(url, f'SELECT count(*) FROM "{bare}"') == [(NOTES,)]


def test_unsuitable_and_missing_tables(omop, tfidf_bundle, tmp_path):
    url, _ = omop
    asked = Prediction(tfidf_bundle.folder, database=url, aside=tmp_path / "a.csv")
    with pytest.raises(InputError, match="no column 'model', 'task', 'prediction'"):
        replace(asked, into="note").run()
    execute(url, "DROP TABLE note_nlp")
    with pytest.raises(InputError, match="OMOP tables are not created here"):
        replace(asked, into="note_nlp").run()
    with pytest.raises(InputError, match="expected integer or text"):
        replace(asked, id="note_date", into="own").run()


@pytest.mark.parametrize(
    ("url", "kind", "message"),
    [
        ("postgresql://me:secret-word@127.0.0.1:1/db?sslpassword=secret-word", InputError,
         "postgresql://127.0.0.1:1/db raised OperationalError"),
        ("secret-word", InputError, "not a database URL"),
        ("postgresql://me:secret-word@host:port/db", InputError, "not a database URL"),
        ("nosuch://me:secret-word@host/db", MissingExtraError, "no driver for nosuch://host/db"),
        ("sqlite:///absent.db", InputError, "no such SQLite file: absent.db"),
    ],
)  # fmt: skip
def test_no_password_is_shown(url, kind, message):
    with pytest.raises(kind, match=message) as failed:
        connect(url)
    assert "secret-word" not in str(failed.value)
    assert failed.value.__cause__ is None
    assert failed.value.__context__ is None or failed.value.__suppress_context__


def test_only_the_database_host_may_be_reached(monkeypatch):
    reached = []
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.9", 5432))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda host, *_: answer)
    monkeypatch.setattr(socket.socket, "connect", lambda self, to: reached.append(to))
    url = "postgresql://me:secret-word@db.hospital/notes?host=second.hospital:5433"
    hosts = Prediction(Path("bundle"), database=url).hosts
    assert hosts == ["db.hospital", "second.hospital"]
    assert Prediction(Path("bundle"), ["notes.csv"], database=url).hosts == []
    with no_network(hosts), socket.socket() as end:
        with pytest.raises(NetworkForbiddenError):
            end.connect(("10.0.0.9", 5432))
        assert socket.getaddrinfo("db.hospital", 5432) == answer
        end.connect(("10.0.0.9", 5432))
        with pytest.raises(NetworkForbiddenError, match=r"elsewhere\.org"):
            socket.getaddrinfo("elsewhere.org", 443)
    assert reached == [("10.0.0.9", 5432)]


@pytest.mark.parametrize("way", ["option", "variable", "file"])
def test_the_command_line(omop, tfidf_bundle, tmp_path, monkeypatch, way):
    url, _ = omop
    monkeypatch.chdir(tmp_path)
    (tmp_path / "url").write_text(f"{url}\n")
    given = {"option": ["--database", url], "file": ["--database-file", "url"], "variable": []}
    command = ["predict", str(tfidf_bundle.folder), "--into", "own", *given[way]]
    variables = {"CLINADAPT_DATABASE": url} if way == "variable" else {}
    done = CliRunner().invoke(app, command, env=variables)
    assert done.exit_code == 0, done.output
    assert f"{NOTES} notes read: {NOTES} notes classified, 0 set aside" in done.output
    assert "table own" in done.output
    assert "secret-word" not in done.output
    stored = execute(url, "SELECT identity FROM clinadapt_runs")
    assert "secret-word" not in str(stored)
