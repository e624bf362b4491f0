"""Runs a contestant in a separate process, and evaluates its times and predictions."""

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
    """A row of the results table of a part: runs of one method with one set of settings.

    Attributes
    ----------
    method, settings : str
        Names for readers; the method is `OURS` for clinadapt.
    script : str
        Script in `contestants/`, without suffix.
    environment : {"clinadapt", "peers", "adapters"}
        Environment of its Python.
    runs : list of dict
        Options of each run; all runs share one process.
    stands_for : int
        Number of runs that each run represents, if similar runs were not repeated.
    group : str
        Rows of a group are compared with its first row.
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
    """Input of the entries of a part.

    Attributes
    ----------
    workload : Workload
    complete : bool
        True if peers run all epochs and have scores; otherwise two epochs are extrapolated.
    """

    workload: Workload
    complete: bool

    def timed(self, epochs: int) -> int:
        """Return the number of epochs that a peer runs."""
        return epochs if self.complete else min(epochs, TIMED_EPOCHS)


def run(entry: Entry, plan: Plan, python: Path, keep: Path | None = None) -> dict[str, Any]:
    """Run a contestant and score its predictions.

    Parameters
    ----------
    entry : Entry
    plan : Plan
    python : Path
        Python of the entry's environment.
    keep : Path, optional
        Folder for the log of a contestant that fails.

    Returns
    -------
    dict
        Row of the table: names, versions, ``process_seconds`` (imports included) and, for each
        run, the output of `contestants/exchange.py` and ``f1_macro`` on the test notes; or
        ``failed`` with the reason.
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
    """Return the macro-F1 of the most probable class, a rule without a threshold to choose."""
    import polars as pl

    notes = pl.read_parquet(workload.table)
    labels = notes.filter(pl.col("part") == "test")["label"].to_numpy()
    return float(f1_score(labels, probabilities.argmax(axis=1), average="macro"))


# ---------------------------------------------------------------- times and scores of a row


def unit_seconds(done: dict[str, Any]) -> float | None:
    """Return the mean time of the units of a run, without the first, which includes set-up."""
    marks = done["marks"]
    return (marks[-1] - marks[0]) / (len(marks) - 1) if len(marks) > 1 else None


def total_seconds(done: dict[str, Any]) -> float:
    """Return the time of a complete run; units that were not run are extrapolated."""
    missing = max(0, done["planned"] - len(done["marks"]))
    return float(done["seconds"] + missing * (unit_seconds(done) or 0.0))


def is_extrapolated(row: dict[str, Any]) -> bool:
    """Return whether the total time of a row is partly extrapolated."""
    return row["stands_for"] > 1 or any(
        done["planned"] > len(done["marks"]) for done in row["runs"]
    )


def row_seconds(row: dict[str, Any]) -> float:
    """Return the time of all runs that a row represents, in seconds."""
    return float(row["stands_for"] * sum(total_seconds(done) for done in row["runs"]))


def row_epoch_seconds(row: dict[str, Any]) -> float | None:
    """Return the mean time of a complete epoch over the runs of a row, in seconds."""
    paces = [
        pace * done.get("units_per_epoch", 1)
        for done in row["runs"]
        if (pace := unit_seconds(done)) is not None
    ]
    return statistics.mean(paces) if paces else None


def row_scores(row: dict[str, Any]) -> list[float]:
    """Return the macro-F1 of each run of a row that has one."""
    return [done["f1_macro"] for done in row["runs"] if "f1_macro" in done]
