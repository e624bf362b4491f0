"""Several label columns of one table: folders, ranks, and a complete study of tasks."""

import json

import polars as pl
import pytest
from typer.testing import CliRunner

from clinadapt.cli.main import app
from clinadapt.core.errors import InputError
from clinadapt.study.multi_task import TaskResult, Tasks, folders_of

LABELS = {"a": "MODEL A", "b": "MODEL B", "c": "MODEL C"}


def task(name, scores, groups, metric="f1", recommended="a"):
    intervals = {name: [score, score - 0.1, score + 0.1] for name, score in scores.items()}
    return TaskResult(name, name, metric, 100, intervals, groups, recommended, None)


def test_folders_are_plain_and_distinct():
    assert folders_of(["smoker", "../etc", "a b", "A/B", "é"]) == {
        "smoker": "smoker",
        "../etc": "etc",
        "a b": "a-b",
        "A/B": "A-B-2",
        "é": "é",
    }
    assert folders_of(["..", "//"]) == {"..": "task", "//": "task-2"}
    with pytest.raises(InputError, match="each task once"):
        folders_of(["x", "x"])


def test_ranks_are_means_over_tasks_and_ties_share():
    both = Tasks(
        [
            task("one", {"a": 0.9, "b": 0.8, "c": 0.8}, {"a": 1, "b": 1, "c": 2}),
            task("two", {"a": 0.3, "b": 0.1, "c": 0.2}, {"a": 2, "b": 1, "c": 1}, "brier"),
        ],
        LABELS,
    )
    assert both.ranks() == {"a": 2.0, "b": (2.5 + 1) / 2, "c": (2.5 + 2) / 2}
    assert both.among_the_best() == {"a": 1, "b": 2, "c": 1}
    assert both.sentences() == [
        "If one configuration is to serve all tasks, choose MODEL B: it is not significantly "
        "different from the best in 2 of 2, and its mean rank is 1.8 of 3."
    ]
    assert [one["configuration_id"] for one in both.to_json()["configurations"]] == ["b", "a", "c"]


def test_a_configuration_that_is_worse_or_did_not_finish():
    tasks = Tasks(
        [
            task("one", {"a": 0.9, "b": 0.8}, {"a": 1, "b": 2}),
            task("two", {"a": 0.3, "b": 0.9, "c": 0.99}, {"a": 2, "b": 2, "c": 1}),
        ],
        LABELS,
    )
    assert set(tasks.ranks()) == {"a", "b"}
    assert tasks.sentences()[1] == "It is significantly worse than the best in two."
    nothing = Tasks([task("one", {"a": 0.5}, {"a": 1}), task("two", {}, {})], LABELS)
    assert nothing.sentences() == ["No configuration finished in every task."]


def test_a_task_in_which_nothing_was_learned_does_not_rank():
    noise = task("noise", {"a": 0.1, "b": 0.9}, {"a": 1, "b": 1}, recommended=None)
    tasks = Tasks([task("one", {"a": 0.9, "b": 0.8}, {"a": 1, "b": 2}), noise], LABELS)
    assert tasks.ranks() == {"a": 1.0, "b": 2.0}
    assert tasks.among_the_best() == {"a": 1, "b": 0, "c": 0}
    assert tasks.sentences()[1:] == [
        "No configuration is significantly better than a constant answer in noise, so the ranks "
        "leave this task out."
    ]
    assert Tasks([noise], LABELS).sentences() == [
        "No configuration is significantly better than a constant answer in noise, so the ranks "
        "leave this task out."
    ]


def test_each_task_has_a_study_of_its_own(study_of_tasks):
    out, output = study_of_tasks
    for folder, classes in (("failure", ["negative", "positive"]), ("long-note", ["0", "1"])):
        study = json.loads((out / folder / "study.json").read_text(encoding="utf-8"))
        assert study["classes"] == classes
        assert (out / folder / "report.html").is_file()
        assert (out / folder / "best" / "bundle.json").is_file()
    assert "If one configuration is to serve all tasks" in " ".join(output.split())


def test_the_summary_agrees_with_each_task(study_of_tasks):
    out, _ = study_of_tasks
    together = json.loads((out / "tasks.json").read_text(encoding="utf-8"))
    page = (out / "report.html").read_text(encoding="utf-8")
    assert [task["name"] for task in together["tasks"]] == ["failure", "long note"]
    for task in together["tasks"]:
        board = pl.read_csv(out / task["folder"] / "leaderboard.csv")
        for line in board.iter_rows(named=True):
            assert task["scores"][line["configuration_id"]][0] == line["test"]
            assert task["groups"][line["configuration_id"]] == line["group"]
            assert f"{line['test']:.3f}" in page
        evidence = json.loads((out / task["folder"] / "evidence.json").read_text())
        assert task["sentence"] == evidence["sentence"]
        assert f'href="{task["folder"]}/report.html"' in page
    assert page.count("<script") == 0


def test_tasks_need_a_table():
    done = CliRunner().invoke(app, ["study", "--task", "smoker"])
    assert isinstance(done.exception, InputError)
    assert "no notes given: expected a table" in str(done.exception)
