"""A study may grow in its folder; it is never replaced by another without a word."""

import polars as pl
import pytest

from clinadapt import Study
from clinadapt.core.errors import InputError

LOGISTIC, CHARACTERS = {"model": "tfidf-logistic"}, {"model": "tfidf-logistic", "characters": True}
MLP = {"model": "tfidf-mlp", "epochs": 1}


def run(notes, out, *configurations, **more):
    design = {"name": "mine", "resamples": 100, "configurations": list(configurations), **more}
    return Study(notes, design, out).run().leaderboard


@pytest.fixture
def out(small_notes, tmp_path):
    run(small_notes, tmp_path / "out", LOGISTIC)
    return tmp_path / "out"


def test_configurations_and_seeds_are_added_in_silence(small_notes, out, caplog):
    run(small_notes, out, LOGISTIC, MLP)
    board = run(small_notes, out, LOGISTIC, MLP, seeds=[0, 1], name="more")
    assert sorted(board["seeds"].to_list()) == [1, 2]
    assert caplog.text == ""


def test_configurations_that_leave_are_told(small_notes, out, caplog):
    run(small_notes, out, LOGISTIC, CHARACTERS)
    run(small_notes, out, CHARACTERS)
    assert "1 of its 2 configurations are not in this one (TF-IDF + log" in caplog.text
    caplog.clear()
    run(small_notes, out, CHARACTERS, LOGISTIC)
    assert caplog.text == ""


def test_another_metric_is_told(small_notes, out, caplog):
    run(small_notes, out, LOGISTIC, metric="auroc")
    assert "it ranks by f1, this one by auroc" in caplog.text


@pytest.mark.parametrize("begun", [False, True])
def test_another_study_is_refused_and_the_first_stays(small_notes, out, begun):
    if begun:  # the first was stopped before it had a leaderboard
        (out / "leaderboard.csv").unlink()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"holds another study, 'mine': none of its config"):
        run(small_notes, out, MLP, name="other")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("more", "words"),
    [({"resamples": 200}, "resamples = 100 (now 200)"), ({"split_seed": 1}, "split_seed = 0")],
)
def test_another_split_is_named(small_notes, out, more, words):
    with pytest.raises(InputError) as caught:
        run(small_notes, out, LOGISTIC, **more)
    assert "holds a study of another split" in str(caught.value)
    assert words in str(caught.value)
    assert len(pl.read_csv(out / "leaderboard.csv")) == 1
