"""One contestant in one process: what it is asked for, and what its times amount to."""

import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import f1_score

from benchmarks.workload import Workload

HERE = Path(__file__).resolve().parent
TIMED_EPOCHS = 2
OURS = "clinadapt"


@dataclass(frozen=True)
class Entry:
    """A row of a part's table: runs of one method at one setting.

    Attributes
    ----------
    method, settings : str
        For people; the method is `OURS` where it is clinadapt.
    script : str
        Of `contestants/`, without its suffix.
    environment : {"clinadapt", "peers", "adapters"}
        Whose Python runs it.
    runs : list of dict
        Options of each run; all are done in one process.
    stands_for : int
        Real runs that each of them stands for, where like runs were not repeated.
    group : str
        Rows of one group are compared with that group's first row.
    variables : dict of str to str
        Environment variables.
    """

    method: str
    settings: str
    script: str
    environment: str
    runs: list[dict[str, Any]]
    stands_for: int = 1
    group: str = ""
    variables: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Plan:
    """What a part's entries depend on.

    Attributes
    ----------
    workload : Workload
    complete : bool
        Whether peers do all their epochs, so that they have scores, or two that are extrapolated.
    """

    workload: Workload
    complete: bool

    def timed(self, epochs: int) -> int:
        """Epochs that a peer does of so many."""
        return epochs if self.complete else min(epochs, TIMED_EPOCHS)


def run(entry: Entry, plan: Plan, python: Path, keep: Path | None = None) -> dict[str, Any]:
    """Have a contestant do its runs, and score what it predicts.

    Parameters
    ----------
    entry : Entry
    plan : Plan
    python : Path
        Of the entry's environment.
    keep : Path, optional
        Folder for the contestant's log where it fails.

    Returns
    -------
    dict
        The row: names, versions, ``process_seconds`` (imports included) and, of each run, what
        `contestants/exchange.py` writes and ``f1_macro`` on the test notes; or ``failed``, why.
    """
    row: dict[str, Any] = {
        "method": entry.method,
        "settings": entry.settings,
        "group": entry.group,
        "stands_for": entry.stands_for,
    }
    if not python.is_file():
        return row | {"failed": f"no environment {entry.environment}: run make bench"}
    with tempfile.TemporaryDirectory(prefix="contestant-") as name:
        folder = Path(name)
        _write_spec(entry, plan.workload, folder)
        log = folder / "log.txt"
        clock = time.perf_counter()
        with log.open("wb") as stream:
            process = subprocess.run(
                [str(python), str(HERE / "contestants" / f"{entry.script}.py"), str(folder)],
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=os.environ | OFFLINE | entry.variables,
            )
        row["process_seconds"] = time.perf_counter() - clock
        result = folder / "result.json"
        content = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else {}
        failed = not content or any("failed" in done for done in content["runs"])
        if failed and keep is not None:
            shutil.copyfile(log, keep / f"{entry.script}.log")
        if not content:
            return row | {"failed": f"ended with status {process.returncode}"}
        for number, done in enumerate(content["runs"]):
            done["options"] = entry.runs[number]
            predicted = folder / f"probabilities-{number}.npy"
            if predicted.is_file() and len(done["marks"]) >= done["planned"]:
                done["f1_macro"] = _score(np.load(predicted), plan.workload)
        return row | content


OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "true",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}


def _write_spec(entry: Entry, workload: Workload, folder: Path) -> None:
    spec = {
        "notes": workload.table,
        "encoder": workload.encoder_folder,
        "max_tokens": workload.max_tokens,
        "classes": workload.classes,
        "runs": entry.runs,
    }
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")


def _score(probabilities: np.ndarray[Any, Any], workload: Workload) -> float:
    """Macro-F1 of the most probable class: one rule for all, with no threshold to choose."""
    import polars as pl

    notes = pl.read_parquet(workload.table)
    labels = notes.filter(pl.col("part") == "test")["label"].to_numpy()
    return float(f1_score(labels, probabilities.argmax(axis=1), average="macro"))


# ---------------------------------------------------------------- what a row's times amount to


def unit_seconds(done: dict[str, Any]) -> float | None:
    """Mean of the complete units of a run but the first, which holds set-up and warm-up."""
    marks = done["marks"]
    return (marks[-1] - marks[0]) / (len(marks) - 1) if len(marks) > 1 else None


def total_seconds(done: dict[str, Any]) -> float:
    """Seconds of a whole run: measured, with what was not waited for added at the unit's pace."""
    missing = max(0, done["planned"] - len(done["marks"]))
    return float(done["seconds"] + missing * (unit_seconds(done) or 0.0))


def is_extrapolated(row: dict[str, Any]) -> bool:
    """Whether a row's total holds anything that was not run."""
    return row["stands_for"] > 1 or any(
        done["planned"] > len(done["marks"]) for done in row["runs"]
    )


def row_seconds(row: dict[str, Any]) -> float:
    """Seconds of all the runs that a row is, or stands for."""
    return float(row["stands_for"] * sum(total_seconds(done) for done in row["runs"]))


def row_epoch_seconds(row: dict[str, Any]) -> float | None:
    """Mean seconds of a complete epoch over a row's runs."""
    paces = [
        pace * done.get("units_per_epoch", 1)
        for done in row["runs"]
        if (pace := unit_seconds(done)) is not None
    ]
    return statistics.mean(paces) if paces else None


def row_scores(row: dict[str, Any]) -> list[float]:
    """Macro-F1 of each run of a row that has one."""
    return [done["f1_macro"] for done in row["runs"] if "f1_macro" in done]
