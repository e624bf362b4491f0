"""Outputs that would destroy an input, each other or a file of somebody's are refused."""

import os
import sqlite3
from contextlib import closing

import polars as pl
import pytest

from clinadapt.core.errors import InputError
from clinadapt.core.output_guard import (
    GENERATOR,
    Output,
    check_outputs,
    csv_with,
    is_page,
    is_same,
    json_with,
    jsonl_with,
    parquet_columns,
    sqlite_tables,
)


def never(path):
    return False


def out(path, option="--out", is_own=never, folder=False):
    return Output(path, option, is_own, folder)


def problems(outputs, inputs=()):
    with pytest.raises(InputError) as refusal:
        check_outputs(outputs, inputs)
    return refusal.value.problems


@pytest.fixture
def notes(tmp_path):
    path = tmp_path / "notes.csv"
    path.write_text("id,text\n1,x\n")
    return path


class TestInputs:
    def test_by_another_path(self, notes, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "deep").mkdir()
        for path in ("notes.csv", "deep/../notes.csv", "./notes.csv"):
            (problem,) = problems([out(type(notes)(path))], [notes])
            assert "which this command reads: choose another --out" in problem

    @pytest.mark.parametrize("link", [os.symlink, os.link])
    def test_through_links(self, notes, tmp_path, link):
        link(notes, tmp_path / "scores.csv")
        accepted = out(tmp_path / "scores.csv", is_own=lambda path: True)
        (problem,) = problems([accepted], [notes])
        assert "which this command reads" in problem

    def test_what_lies_in_a_bundle(self, tmp_path):
        bundle = tmp_path / "bundle"
        bundle.mkdir()
        (problem,) = problems([out(bundle / "page.html")], [bundle])
        assert f"lies in {bundle}" in problem

    def test_what_is_no_path_is_ignored(self, tmp_path):
        check_outputs([out(tmp_path / "a")], [pl.DataFrame({"text": ["a"]}), None])


class TestOutputs:
    def test_two_that_are_one(self, tmp_path):
        outputs = [out(tmp_path / "a.csv"), out(tmp_path / "A.CSV", "--aside")]
        (problem,) = problems(outputs)
        assert "--out and --aside are the same file" in problem

    def test_a_folder_in_the_way(self, tmp_path):
        (tmp_path / "scores.csv").mkdir()
        (problem,) = problems([out(tmp_path / "scores.csv")])
        assert "scores.csv exists and is not a file" in problem

    def test_a_file_in_the_way_of_a_folder(self, notes):
        assert "is not a folder" in problems([out(notes, folder=True)])[0]
        assert "is not a folder" in problems([out(notes / "deep" / "a.csv")])[0]

    def test_a_pipe(self, tmp_path):
        os.mkfifo(tmp_path / "feed")
        assert "is not a plain file" in problems([out(tmp_path / "feed")])[0]

    def test_a_folder_that_is_not_clinadapts(self, notes):
        assert "was not written by clinadapt" in problems([out(notes.parent, folder=True)])[0]

    def test_free_places(self, tmp_path):
        (tmp_path / "empty").mkdir()
        (tmp_path / "empty.csv").touch()
        check_outputs([out(tmp_path / "new" / "deep" / "a.csv"), out(tmp_path / "empty.csv")])
        check_outputs([out(tmp_path / "empty", folder=True)])

    def test_everything_is_told_at_once(self, notes, tmp_path):
        (tmp_path / "a").mkdir()
        told = problems([out(notes), out(tmp_path / "a", "--aside")], [notes])
        assert len(told) == 2

    def test_what_is_written_beside_another(self, tmp_path):
        (tmp_path / "a.json").write_text("mine")
        beside = Output(tmp_path / "a.json", "--out", never, beside=True)
        (problem,) = problems([out(tmp_path / "a.html"), beside])
        assert problem.startswith(f"{tmp_path / 'a.json'}, which is written beside --out, exists")
        assert problem.endswith("delete it, or choose another --out")


class TestRecognition:
    def test_pages(self, tmp_path):
        path = tmp_path / "page.html"
        for content, own in (
            (f"<!doctype html><head>{GENERATOR}", True),
            ("<meta content=\"default-src 'none'\">\n<title>x – study report</title>", True),
            ("<title>My thesis – study report</title>", False),
            ("\0" * 100, False),
        ):
            path.write_text(content, encoding="utf-8")
            assert is_page(path) is own

    def test_csv(self, tmp_path):
        path = tmp_path / "a.csv"
        for content, own in (("id,place,reason\n", True), ("id,place,reason,why\n", False)):
            path.write_text(content)
            assert csv_with("id", "place", "reason")(path) is own

    def test_json(self, tmp_path):
        path = tmp_path / "a.json"
        path.write_text('{"a": 1, "b": 2}')
        assert json_with("a", "b")(path)
        assert jsonl_with("a", "b")(path)
        assert not json_with("a", "c")(path)
        assert not jsonl_with("a")(path)

    def test_parquet(self, tmp_path):
        pl.DataFrame({"a": [1], "b": [2]}).write_parquet(tmp_path / "a")
        (tmp_path / "b").write_text("mine")
        assert parquet_columns(tmp_path / "a") == ["a", "b"]
        assert parquet_columns(tmp_path / "b") == []

    def test_sqlite(self, tmp_path):
        path = tmp_path / "a ?#%.db"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE run (a)")
        assert sqlite_tables(path) == {"run"}
        (tmp_path / "b").write_text("mine " * 100)
        with pytest.raises(ValueError, match="DatabaseError"):
            sqlite_tables(tmp_path / "b")

    def test_what_cannot_be_read_is_not_own(self, tmp_path):
        (tmp_path / "a.json").write_text("{")
        assert "was not written" in problems([out(tmp_path / "a.json", is_own=json_with())])[0]


def test_same_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_same(tmp_path / "a", type(tmp_path)("a"))
    assert not is_same(tmp_path / "a", tmp_path / "b")
