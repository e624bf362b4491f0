"""Several label columns of one table: a study of each, and a summary over all of them.

Every task has its own folder, split and threshold; cached features are computed once for all.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from clinadapt.core.errors import InputError
from clinadapt.core.messages import Message, plural
from clinadapt.evaluation import metrics
from clinadapt.study import result_files

TASKS = "tasks.json"


@dataclass(frozen=True)
class TaskResult:
    """Result of a task's study.

    Attributes
    ----------
    name, folder : str
        The label column; the study's folder, below that of all tasks.
    metric : str
    notes : int
    scores : dict of str to list of float
        Test score, lower and upper limit of each finished configuration, by id.
    groups : dict of str to int
        Group of each compared configuration, by id; group 1 is not significantly different from
        the best.
    recommended : str, optional
        Id of the recommended configuration, if any.
    sentence : str, optional
        The recommendation in words.
    """

    name: str
    folder: str
    metric: str
    notes: int
    scores: dict[str, list[float]]
    groups: dict[str, int]
    recommended: str | None
    sentence: str | None


def folders_of(names: Sequence[str]) -> dict[str, str]:
    """Return the folder of each task: its name in letters, digits, "_" and "-".

    Raises
    ------
    InputError
        A task is given twice.
    """
    if len(set(names)) < len(names):
        raise InputError(f"expected each task once, got {', '.join(names)}")
    folders: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^\w-]+", "-", name).strip("-") or "task"
        taken = {folder.lower() for folder in folders.values()}
        numbered = (f"{plain}-{number}" for number in range(2, len(names) + 2))
        free = (folder for folder in (plain, *numbered) if folder.lower() not in taken)
        folders[name] = next(free)
    return folders


class Tasks:
    """Summary of the studies of several tasks.

    Parameters
    ----------
    tasks : sequence of TaskResult
    labels : dict of str to str
        Label of each configuration, by id.
    """

    def __init__(self, tasks: Sequence[TaskResult], labels: dict[str, str]) -> None:
        self.tasks, self.labels = tasks, labels

    @property
    def learned(self) -> list[TaskResult]:
        """Tasks in which some configuration is better than a constant answer; only these rank."""
        return [task for task in self.tasks if task.recommended is not None]

    def ranks(self) -> dict[str, float]:
        """Return the mean rank on test notes of each configuration that finished in every task."""
        shared = [
            configuration
            for configuration in self.labels
            if all(configuration in task.scores for task in self.learned)
        ]
        if not shared or not self.learned:
            return {}
        ranked = []
        for task in self.learned:
            values = pl.Series([task.scores[configuration][0] for configuration in shared])
            better_first = -metrics.sign(task.metric) * values
            ranked.append(better_first.rank("average").to_numpy())
        return dict(zip(shared, np.mean(ranked, axis=0).tolist(), strict=True))

    def among_the_best(self) -> dict[str, int]:
        """Count the tasks in which each configuration is not significantly worse than the best."""
        return {
            configuration: sum(task.groups.get(configuration) == 1 for task in self.learned)
            for configuration in self.labels
        }

    def sentences(self) -> list[str]:
        """Describe which configuration suits all tasks best, and where another is better."""
        count, ranks = self.among_the_best(), self.ranks()
        sentences: list[str] = []
        if ranks:
            first = max(
                ranks, key=lambda configuration: (count[configuration], -ranks[configuration])
            )
            sentences.append(
                Message(
                    "If one configuration is to serve all tasks, choose {label}: it is not "
                    "significantly different from the best in {best} of {tasks}, and its mean rank "
                    "is {rank:.1f} of {ranked}.",
                    label=self.labels[first],
                    best=count[first],
                    tasks=len(self.learned),
                    rank=ranks[first],
                    ranked=len(ranks),
                )
            )
            behind = [task.name for task in self.learned if task.groups.get(first) != 1]
            if behind:
                sentences.append(
                    Message("It is significantly worse than the best in {tasks}.", tasks=behind)
                )
        elif self.learned:
            sentences.append(Message("No configuration finished in every task."))
        nothing = [task.name for task in self.tasks if task.recommended is None]
        if nothing:
            sentences.append(
                plural(
                    "No configuration is significantly better than a constant answer in {tasks}, "
                    "so the ranks leave this task out.",
                    "No configuration is significantly better than a constant answer in {tasks}, "
                    "so the ranks leave these tasks out.",
                    count=len(nothing),
                    tasks=nothing,
                )
            )
        return sentences

    def to_json(self) -> dict[str, Any]:
        """Return the content of ``tasks.json``."""
        ranks, count = self.ranks(), self.among_the_best()
        in_order = sorted(
            self.labels,
            key=lambda configuration: (-count[configuration], ranks.get(configuration, np.inf)),
        )
        return {
            "sentences": self.sentences(),
            "learned": len(self.learned),
            "tasks": [asdict(task) for task in self.tasks],
            "configurations": [
                {
                    "configuration_id": configuration,
                    "configuration": self.labels[configuration],
                    "mean_rank": ranks.get(configuration),
                    "among_the_best": count[configuration],
                }
                for configuration in in_order
            ],
        }


def read_tasks(out: Path, folders: dict[str, str]) -> Tasks:
    """Read the finished studies of several tasks.

    Parameters
    ----------
    out : Path
        Folder of all tasks.
    folders : dict of str to str
        Folder of each task's study below `out`.
    """
    tasks: list[TaskResult] = []
    labels: dict[str, str] = {}
    for name, folder in folders.items():
        study = result_files.read_result_file(out / folder / "study.json") or {}
        evidence = result_files.read_result_file(out / folder / result_files.EVIDENCE) or {}
        board = result_files.read_leaderboard(
            out / folder / result_files.LEADERBOARD, result_files.LEADERBOARD_COLUMNS
        )
        labels |= dict(zip(board["configuration_id"], board["configuration"], strict=True))
        done = board.filter((pl.col("status") == "done") & pl.col("test").is_not_null())
        scores = done.select("test", "test_low", "test_high").rows()
        tasks.append(
            TaskResult(
                name=name,
                folder=folder,
                metric=study["metric"],
                notes=study["data"]["notes"],
                scores=dict(zip(done["configuration_id"], map(list, scores), strict=True)),
                groups={
                    configuration["configuration_id"]: configuration["group"]
                    for configuration in evidence.get("configurations", [])
                },
                recommended=evidence.get("recommended"),
                sentence=evidence.get("sentence"),
            )
        )
    return Tasks(tasks, labels)
