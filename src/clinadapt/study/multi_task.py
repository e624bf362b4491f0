"""Several label columns of one table: a study of each, and what they amount to together.

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
from clinadapt.evaluation import metrics
from clinadapt.study import result_files

TASKS = "tasks.json"


@dataclass(frozen=True)
class TaskResult:
    """What a task's study came to.

    Attributes
    ----------
    name, folder : str
        The label column; the study's folder below the whole's.
    metric : str
    notes : int
    scores : dict of str to list of float
        Of each finished configuration, its test score, low and high.
    groups : dict of str to int
        Of each configuration that was compared; those of group 1 cannot be told from the best.
    recommended : str, optional
        The configuration, if any is.
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
    """Folder of each task: its name with nothing in it that a path could stumble over.

    Raises
    ------
    InputError
        A task given twice.
    """
    if len(set(names)) < len(names):
        raise InputError(f"expected each task once, got {', '.join(names)}")
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^\w-]+", "-", name).strip("-") or "task"
        taken = {folder.lower() for folder in found.values()}
        numbered = (f"{plain}-{number}" for number in range(2, len(names) + 2))
        free = (folder for folder in (plain, *numbered) if folder.lower() not in taken)
        found[name] = next(free)
    return found


class Tasks:
    """The studies of several tasks together.

    Parameters
    ----------
    tasks : sequence of TaskResult
    labels : dict of str to str
        Of each configuration, by its id.
    """

    def __init__(self, tasks: Sequence[TaskResult], labels: dict[str, str]) -> None:
        self.tasks, self.labels = tasks, labels

    @property
    def learned(self) -> list[TaskResult]:
        """Tasks in which some configuration is shown to know something; the others tell nothing of configurations."""
        return [task for task in self.tasks if task.recommended is not None]

    def ranks(self) -> dict[str, float]:
        """Mean rank on the test notes of each configuration that finished in every task; ties share."""
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
        """In how many tasks each configuration cannot be told from the best."""
        return {
            configuration: sum(task.groups.get(configuration) == 1 for task in self.learned)
            for configuration in self.labels
        }

    def sentences(self) -> list[str]:
        """Which configuration would do for all tasks, and which tasks ask for another."""
        count, ranks = self.among_the_best(), self.ranks()
        told = []
        if ranks:
            first = max(
                ranks, key=lambda configuration: (count[configuration], -ranks[configuration])
            )
            told.append(
                f"If one configuration is to serve all tasks: {self.labels[first]} cannot be told from the "
                f"best in {count[first]} of {len(self.learned)}; its mean rank is "
                f"{ranks[first]:.1f} of {len(ranks)}."
            )
            behind = [task.name for task in self.learned if task.groups.get(first) != 1]
            if behind:
                told.append(f"It falls behind in {', '.join(behind)}.")
        elif self.learned:
            told.append("No configuration finished in every task.")
        nothing = [task.name for task in self.tasks if task.recommended is None]
        if nothing:
            told.append(
                f"Nothing was shown to be learned in {', '.join(nothing)}, so ranks leave "
                f"{'these' if len(nothing) > 1 else 'this'} out."
            )
        return told

    def to_json(self) -> dict[str, Any]:
        """Everything, for ``tasks.json``."""
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
    """Put finished studies together.

    Parameters
    ----------
    out : Path
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
