"""A plan before the hours: what each cell will cost, and which cells do not fit.

Rows are forecast from short runs on the user's own notes (`clinadapt.study.planning.forecast`). A
`Budget` then walks through the cells in the study's order, says which are left out for memory or
hours, and who pays for the states that several share. The plan kept in a study's folder lets the
study record predicted against actual.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from clinadapt.core import atomic_files, formatting
from clinadapt.core.device import environment
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.study.design import Cell, identity
from clinadapt.study.planning.forecast import Forecast, Phase, forecast
from clinadapt.study.planning.trial_runs import Prober
from clinadapt.study.setup import StudySetup

PLAN = "plan.json"
FORMAT = 2  # 1 held numbers for forecasts of other machines, too
HOUR = 3600.0
# Settings that change what is learned and not what it costs: rows that differ in these alone
# share their runs.
COSTLESS = ("learning_rate", "encoder_learning_rate", "class_weight", "patience", "dropout")


@dataclass(frozen=True)
class Plan:
    """Forecasts of a study's rows.

    Attributes
    ----------
    made_for : str
        Hash of cells, memory limit and machine: a plan is good for no other.
    memory : int, optional
        Bytes that a cell may hold.
    forecasts : dict of str to Forecast
        By the row's id.
    """

    made_for: str
    memory: int | None
    forecasts: Mapping[str, Forecast]

    def save(self, folder: Path) -> Path:
        """Write ``plan.json``; it holds numbers only."""
        folder.mkdir(parents=True, exist_ok=True)
        atomic_files.write_json(folder / PLAN, {"format": FORMAT, **asdict(self)})
        return folder / PLAN


def make_plan(study: StudySetup, progress: Progress = no_progress) -> Plan:
    """Run each row of a study on some of its notes, and extrapolate.

    Nothing is written to the study's folder, and its results do not change.

    Parameters
    ----------
    study : Study
    progress : callable
        Called with a stage's name, rows done and rows in all.
    """
    rows = {study.folders.row_id(cell.row): cell for cell in reversed(study.cells)}
    forecasts: dict[str, Forecast] = {}
    shared: dict[str, Forecast] = {}
    with tempfile.TemporaryDirectory(prefix="clinadapt-") as folder:
        prober = Prober(study, Path(folder))
        for number, (row_id, cell) in enumerate(reversed(rows.items())):
            progress(f"plan: {cell.row.label}", number, len(rows))
            key = _what_costs(cell)
            if key not in shared:
                shared[key] = forecast(prober, cell)
            forecasts[row_id] = shared[key].named(cell.row.label)
    progress("plan", len(rows), len(rows))
    return Plan(_made_for(study), study.memory, forecasts)


def read_plan(study: StudySetup) -> Plan | None:
    """The plan in a study's folder; None without one for these cells, limits and machine."""
    found = atomic_files.read_json(study.out / PLAN)
    if found is None or found.get("format") != FORMAT or found["made_for"] != _made_for(study):
        return None
    forecasts = {key: _from_json(entry) for key, entry in found["forecasts"].items()}
    return Plan(found["made_for"], found["memory"], forecasts)


def _from_json(entry: Mapping[str, Any]) -> Forecast:
    return Forecast(
        **{
            **entry,
            "phases": tuple(Phase(**phase) for phase in entry["phases"]),
            "economies": tuple(entry["economies"]),
        }
    )


def _made_for(study: StudySetup) -> str:
    machine = environment()["machine"] | {"torch": torch.__version__}
    # The ids tell of notes, split, settings and of the encoders that are here.
    cells = [study.folders.id(cell) for cell in study.cells]
    return identity(FORMAT, cells, study.memory, machine)


def _what_costs(cell: Cell) -> str:
    settings = {key: value for key, value in cell.resolved.items() if key not in COSTLESS}
    return identity(cell.row.family, settings)


@dataclass
class Budget:
    """Memory and hours, spent cell by cell in the study's order.

    Parameters
    ----------
    plan : Plan
    memory : int, optional
        Bytes that a cell may hold.
    hours : float, optional
        For all cells.
    """

    plan: Plan
    memory: int | None = None
    hours: float | None = None
    _computed: set[str] = field(default_factory=set, init=False)

    def refusal(self, row_id: str, spent: float) -> str | None:
        """Why a cell is left out for a limit; None if it is not.

        Parameters
        ----------
        row_id : str
        spent : float
            Seconds of the hours that are gone.
        """
        row = self.plan.forecasts[row_id]
        if row.reason is not None:
            return None if row.fits else row.reason
        peak = row.peak(self._computes(row))
        if self.memory is not None and peak > self.memory:
            given = f" with {', '.join(row.economies)}" if row.economies else ""
            return (
                f"predicted to need {formatting.size(peak)}{given}; the limit is "
                f"{formatting.size(self.memory)}"
            )
        seconds = row.seconds(self._computes(row))
        left = None if self.hours is None else self.hours * HOUR - spent
        if left is not None and seconds > left:
            return (
                f"predicted to take {formatting.seconds(seconds)}; "
                f"{formatting.seconds(max(0.0, left))} of the {self.hours:g} hours are left"
            )
        return None

    def _computes(self, row: Forecast) -> bool:
        return row.states is not None and row.states not in self._computed

    def spend(self, row_id: str) -> bool:
        """Note that a cell of a row was run; whether it computed the states that it stands on."""
        row = self.plan.forecasts[row_id]
        computes = self._computes(row)
        if row.states is not None:
            self._computed.add(row.states)
        return computes

    def compare(self, row_id: str, result: Mapping[str, Any]) -> dict[str, Any]:
        """What was predicted of a cell that has run, to stand beside what it did cost.

        Returns
        -------
        dict
            ``seconds`` of all epochs, ``epochs``, ``seconds_of_epochs_run`` (early stopping cannot
            be foreseen), ``peak_memory_bytes``, ``disk_bytes``.
        """
        row, spent = self.plan.forecasts[row_id], result["cost"]
        held = spent["held_memory_bytes"]
        if not self._computed:  # the libraries of encoders come yet
            held = max(held, row.held_bytes)
        computes = self.spend(row_id) and spent["encoded_sequences"] > 0
        return {
            "seconds": row.seconds(computes),
            "epochs": row.epochs,
            "seconds_of_epochs_run": row.seconds(computes, len(result["training"])),
            "peak_memory_bytes": row.peak(computes, held),
            "disk_bytes": row.bundle_bytes,
        }


@dataclass(frozen=True)
class Line:
    """A cell in a plan.

    Attributes
    ----------
    row : str
    seed : int
    status : {"run", "done", "skip"}
    reason : str, optional
        Why it is skipped.
    seconds, states_seconds : float
        At most, in all; and of these, of computing states.
    peak_memory_bytes : int
    disk_bytes : int
        That stay: states computed here, and the bundle.
    economies : tuple of str
        What is given up for memory.
    """

    row: str
    seed: int
    status: str
    reason: str | None = None
    seconds: float = 0.0
    states_seconds: float = 0.0
    peak_memory_bytes: int = 0
    disk_bytes: int = 0
    economies: tuple[str, ...] = ()


def schedule(study: StudySetup, plan: Plan) -> list[Line]:
    """Every cell in the study's order, with what it will cost or why it will not run."""
    budget = Budget(plan, plan.memory, study.hours)
    lines: list[Line] = []
    for cell in study.cells:
        row_id = study.folders.row_id(cell.row)
        row = plan.forecasts[row_id]
        if row.reason is None and study.folders.settled(cell) is not None:
            budget.spend(row_id)
            lines.append(Line(cell.row.label, cell.seed, "done"))
            continue
        refusal = row.reason or budget.refusal(row_id, sum(line.seconds for line in lines))
        if refusal is not None:
            lines.append(Line(cell.row.label, cell.seed, "skip", refusal))
            continue
        computes = budget.spend(row_id)
        lines.append(
            Line(
                row=cell.row.label,
                seed=cell.seed,
                status="run",
                seconds=row.seconds(computes),
                states_seconds=row.states_seconds * computes,
                peak_memory_bytes=row.peak(computes),
                disk_bytes=row.states_bytes * computes + row.bundle_bytes,
                economies=row.economies,
            )
        )
    return lines


def write_schedule(study: StudySetup, plan: Plan, path: Path) -> None:
    """Write every line of a plan as JSON."""
    lines = schedule(study, plan)
    atomic_files.write_json(
        path,
        {
            "format": FORMAT,
            "memory": study.memory,
            "hours": study.hours,
            "seconds": sum(line.seconds for line in lines),
            "disk_bytes": disk_bytes(plan, lines),
            "cells": [asdict(line) for line in lines],
        },
    )


def disk_bytes(plan: Plan, lines: Sequence[Line]) -> int:
    """Largest size of a study's folder: all states, two bundles and a checkpoint."""
    running = {line.row for line in lines if line.status == "run"}
    rows = [row for row in plan.forecasts.values() if row.row in running]
    states = {row.states: row.states_bytes for row in rows if row.states is not None}
    bundle = max((row.bundle_bytes for row in rows), default=0)
    checkpoint = max((row.checkpoint_bytes for row in rows), default=0)
    return sum(states.values()) + 2 * bundle + checkpoint
