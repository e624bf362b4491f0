"""A study's result in Python: frames, comparison, chart, report and what a notebook shows."""

import json

import polars as pl
import pytest

from clinadapt import FinishedStudy, NoteClassifier
from clinadapt.core.errors import InputError


@pytest.fixture(scope="module")
def study(finished_study):
    return FinishedStudy(finished_study)


@pytest.fixture(scope="module")
def evidence(finished_study):
    return json.loads((finished_study / "evidence.json").read_text())


def test_leaderboard_is_that_of_the_folder_and_becomes_a_pandas_frame(study, finished_study):
    written = pl.read_csv(finished_study / "leaderboard.csv")
    assert study.leaderboard["configuration"].to_list() == written["configuration"].to_list()
    assert study.leaderboard["test"].to_list() == pytest.approx(written["test"].to_list())
    assert study.leaderboard.to_pandas()["status"].tolist() == written["status"].to_list()


def test_recommended_is_a_classifier_if_the_study_recommends_one(study, finished_study):
    about = json.loads((finished_study / "study.json").read_text())
    expected = NoteClassifier if about["recommended"] else type(None)
    assert isinstance(study.recommended, expected)


def test_a_comparison_is_the_evidence_in_either_direction(study, evidence):
    one, other, value, low, high = evidence["every_pair"][0]
    forth, back = study.compare(one, other), study.compare(other, one)
    assert (forth.value, forth.low, forth.high) == (value, low, high)
    assert (back.value, back.low, back.high) == (-value, -high, -low)
    assert forth.corrected_p == back.corrected_p
    assert (back.first, back.second) == (forth.second, forth.first)


def test_the_corrected_p_value_is_that_of_the_pair(study, evidence):
    known = {tuple(sorted((p["first"], p["second"]))): p["corrected_p"] for p in evidence["pairs"]}
    for one, other, value, *_ in evidence["every_pair"]:
        if value is not None:
            expected = known.get(tuple(sorted((one, other))))
            assert study.compare(one, other).corrected_p == expected
            assert ("not one of the pairs" in str(study.compare(one, other))) == (expected is None)


def test_what_cannot_be_compared_is_told(study, evidence):
    done = study.leaderboard.filter(pl.col("status") == "done")
    name = done["configuration_id"][0]
    with pytest.raises(InputError, match="'nothing' is no finished configuration; expected one of"):
        study.compare("nothing", name)
    with pytest.raises(InputError, match="the same is named twice"):
        study.compare(name, name)


@pytest.mark.parametrize("cost", ["seconds", "memory", "parameters"])
def test_the_chart_has_a_mark_for_each_configuration_with_a_cost(study, cost):
    column = {
        "seconds": "fit_seconds",
        "memory": "peak_memory_bytes",
        "parameters": "trainable_parameters",
    }
    done = study.leaderboard.filter((pl.col("status") == "done") & (pl.col(column[cost]) > 0))
    marks = [trace for trace in study.plot(cost).data if trace.mode == "markers" and trace.text]
    assert sum(len(trace.x) for trace in marks) == len(done)
    with pytest.raises(InputError, match="no cost 'euros'; expected one of: seconds"):
        study.plot("euros")


def test_report_is_written_when_asked_for(study, finished_study):
    (finished_study / "report.html").unlink()
    assert study.report == finished_study / "report.html"
    assert study.report.is_file()


def test_a_notebook_shows_every_configuration_and_the_verdict(study, evidence):
    shown = study._repr_html_()
    for line in study.leaderboard.iter_rows(named=True):
        assert line["configuration"] in shown
    assert evidence["sentence"].split(":")[0] in shown
    assert shown.count("(recommended)") == (evidence["recommended"] is not None)
    assert "synthetic" in shown
    assert "done>" in repr(study)


def test_a_folder_without_a_study(tmp_path):
    with pytest.raises(InputError, match="not a study folder"):
        FinishedStudy(tmp_path)
