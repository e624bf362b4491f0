"""Plan of a study: the predicted cost of each run, and the runs that exceed a limit.

Configurations are forecast from trials on the user's own notes
(`clinadapt.study.planning.forecast`). A `Budget` then goes through the runs in the study's order,
decides which are skipped for memory or hours, and charges cached features to the first run that
needs them. With a plan in its folder, a study records predicted next to actual cost.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from clinadapt.core import atomic_files
from clinadapt.core.device import environment
from clinadapt.core.messages import Message
from clinadapt.core.permissions import private_folder
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.study.design import Run, identity
from clinadapt.study.planning.forecast import Forecast, Phase, forecast
from clinadapt.study.planning.trial_runs import Prober
from clinadapt.study.setup import StudySetup

PLAN = "plan.json"
FORMAT = 2  # format 1 also held numbers for forecasts of other machines
HOUR = 3600.0
# Settings that affect what is learned but not the cost: configurations that differ only in these
# share their trials.
COSTLESS = ("learning_rate", "encoder_learning_rate", "class_weight", "patience", "dropout")


@dataclass(frozen=True)
class Plan:
    """Forecasts of a study's configurations.

    Attributes
    ----------
    made_for : str
        Hash of the runs, memory limit and machine that the plan is valid for.
    memory : int, optional
        Limit in bytes for each run.
    forecasts : dict of str to Forecast
        Forecasts by configuration id.
    """

    made_for: str
    memory: int | None
    forecasts: Mapping[str, Forecast]

    def save(self, folder: Path) -> Path:
        """Write ``plan.json``, which holds no text of any note."""
        private_folder(folder)
        atomic_files.write_json(folder / PLAN, {"format": FORMAT, **asdict(self)})
        return folder / PLAN


def make_plan(study: StudySetup, progress: Progress = no_progress) -> Plan:
    """Forecast each configuration of a study from trials on some of its notes.

    Nothing is written to the study's folder, and its results do not change.

    Parameters
    ----------
    study : Study
    progress : callable
        Called with a stage's name, the configurations done and their total.
    """
    configurations = {
        study.folders.configuration_id(run.configuration): run for run in reversed(study.runs)
    }
    forecasts: dict[str, Forecast] = {}
    shared: dict[str, Forecast] = {}
    with tempfile.TemporaryDirectory(prefix="clinadapt-") as folder:
        prober = Prober(study, Path(folder))
        for number, (configuration_id, run) in enumerate(reversed(configurations.items())):
            progress(f"plan: {run.configuration.label}", number, len(configurations))
            key = _cost_key(run)
            if key not in shared:
                shared[key] = forecast(prober, run).repeated(study.material.fits)
            forecasts[configuration_id] = shared[key].named(run.configuration.label)
    progress("plan", len(configurations), len(configurations))
    return Plan(_made_for(study), study.memory, forecasts)


def read_plan(study: StudySetup) -> Plan | None:
    """Return the plan in a study's folder; None if it has none for these runs and this machine."""
    content = atomic_files.read_json(study.out / PLAN)
    if content is None or content.get("format") != FORMAT:
        return None
    if content["made_for"] != _made_for(study):
        return None
    forecasts = {key: _from_json(entry) for key, entry in content["forecasts"].items()}
    return Plan(content["made_for"], content["memory"], forecasts)


def _from_json(entry: Mapping[str, Any]) -> Forecast:
    return Forecast(
        **{
            **entry,
            "phases": tuple(Phase(**phase) for phase in entry["phases"]),
            "memory_savings": tuple(entry["memory_savings"]),
        }
    )


def _made_for(study: StudySetup) -> str:
    machine = environment()["machine"] | {"torch": torch.__version__}
    # The ids depend on notes, split, settings and the encoders on this machine.
    runs = [study.folders.id(run) for run in study.runs]
    return identity(FORMAT, runs, study.memory, machine)


def _cost_key(run: Run) -> str:
    settings = {key: value for key, value in run.resolved.items() if key not in COSTLESS}
    return identity(run.configuration.model, settings)


@dataclass
class Budget:
    """Limits of memory and hours, applied run by run in the study's order.

    Parameters
    ----------
    plan : Plan
    memory : int, optional
        Limit in bytes for each run.
    hours : float, optional
        Limit for all runs together.
    """

    plan: Plan
    memory: int | None = None
    hours: float | None = None
    _computed: set[str] = field(default_factory=set, init=False)

    def refusal(self, configuration_id: str, spent: float) -> str | None:
        """Return why a run exceeds a limit; None if it does not.

        Parameters
        ----------
        configuration_id : str
        spent : float
            Seconds used so far.
        """
        configuration = self.plan.forecasts[configuration_id]
        if configuration.reason is not None:
            return None if configuration.fits else configuration.reason
        peak = configuration.peak(self._computes(configuration))
        if self.memory is not None and peak > self.memory:
            savings = configuration.memory_savings
            if savings:
                return Message(
                    "predicted to need {peak:size} with {savings}; the limit is {limit:size}",
                    peak=peak,
                    savings=savings,
                    limit=self.memory,
                )
            return Message(
                "predicted to need {peak:size}; the limit is {limit:size}",
                peak=peak,
                limit=self.memory,
            )
        seconds = configuration.seconds(self._computes(configuration))
        left = None if self.hours is None else self.hours * HOUR - spent
        if left is not None and seconds > left:
            return Message(
                "predicted to take {time:seconds}; {left:seconds} of the {hours:g} hours are left",
                time=seconds,
                left=max(0.0, left),
                hours=self.hours,
            )
        return None

    def _computes(self, configuration: Forecast) -> bool:
        return configuration.features is not None and configuration.features not in self._computed

    def spend(self, configuration_id: str) -> bool:
        """Record that a run was fitted; return whether it computed the features it uses."""
        configuration = self.plan.forecasts[configuration_id]
        computes = self._computes(configuration)
        if configuration.features is not None:
            self._computed.add(configuration.features)
        return computes

    def compare(self, configuration_id: str, result: Mapping[str, Any]) -> dict[str, Any]:
        """Return the predicted cost of a finished run, to be recorded next to its actual cost.

        Returns
        -------
        dict
            ``seconds`` of all epochs; ``epochs``; ``seconds_of_epochs_run``, because early stopping
            cannot be predicted; ``peak_memory_bytes``; ``disk_bytes``.
        """
        predicted, cost = self.plan.forecasts[configuration_id], result["cost"]
        held_bytes = cost["held_memory_bytes"]
        if not self._computed:  # the encoders' libraries are not loaded yet
            held_bytes = max(held_bytes, predicted.held_bytes)
        computes = self.spend(configuration_id) and cost["encoded_sequences"] > 0
        return {
            "seconds": predicted.seconds(computes),
            "epochs": predicted.epochs,
            "seconds_of_epochs_run": predicted.seconds(computes, len(result["training"])),
            "peak_memory_bytes": predicted.peak(computes, held_bytes),
            "disk_bytes": predicted.bundle_bytes,
        }


@dataclass(frozen=True)
class Line:
    """A run in a plan.

    Attributes
    ----------
    configuration : str
    seed : int
    status : {"run", "done", "skip"}
    reason : str, optional
        Reason if it is skipped.
    seconds, features_seconds : float
        Upper limit of the run's time, and the part of it that computes features.
    peak_memory_bytes : int
    disk_bytes : int
        Bytes that stay on disk: features computed by this run, and the bundle.
    memory_savings : tuple of str
        Measures taken to stay within the memory limit.
    """

    configuration: str
    seed: int
    status: str
    reason: str | None = None
    seconds: float = 0.0
    features_seconds: float = 0.0
    peak_memory_bytes: int = 0
    disk_bytes: int = 0
    memory_savings: tuple[str, ...] = ()


def schedule(study: StudySetup, plan: Plan) -> list[Line]:
    """Return every run in the study's order, with its cost or the reason for skipping it."""
    budget = Budget(plan, plan.memory, study.hours)
    lines: list[Line] = []
    for run in study.runs:
        configuration_id = study.folders.configuration_id(run.configuration)
        configuration = plan.forecasts[configuration_id]
        if configuration.reason is None and study.folders.settled(run) is not None:
            budget.spend(configuration_id)
            lines.append(Line(run.configuration.label, run.seed, "done"))
            continue
        refusal = configuration.reason or budget.refusal(
            configuration_id, sum(line.seconds for line in lines)
        )
        if refusal is not None:
            lines.append(Line(run.configuration.label, run.seed, "skip", refusal))
            continue
        computes = budget.spend(configuration_id)
        lines.append(
            Line(
                configuration=run.configuration.label,
                seed=run.seed,
                status="run",
                seconds=configuration.seconds(computes),
                features_seconds=configuration.features_seconds * computes,
                peak_memory_bytes=configuration.peak(computes),
                disk_bytes=configuration.features_bytes * computes + configuration.bundle_bytes,
                memory_savings=configuration.memory_savings,
            )
        )
    return lines


def schedule_as_json(study: StudySetup, plan: Plan) -> dict[str, Any]:
    """Return the schedule of a plan as values for JSON."""
    lines = schedule(study, plan)
    return {
        "format": FORMAT,
        "memory": study.memory,
        "hours": study.hours,
        "seconds": sum(line.seconds for line in lines),
        "disk_bytes": disk_bytes(plan, lines),
        "runs": [asdict(line) for line in lines],
    }


def disk_bytes(plan: Plan, lines: Sequence[Line]) -> int:
    """Return the largest size of a study's folder: all features, two bundles, a checkpoint."""
    running = {line.configuration for line in lines if line.status == "run"}
    configurations = [
        configuration
        for configuration in plan.forecasts.values()
        if configuration.configuration in running
    ]
    features = {
        configuration.features: configuration.features_bytes
        for configuration in configurations
        if configuration.features is not None
    }
    bundle = max((configuration.bundle_bytes for configuration in configurations), default=0)
    checkpoint = max(
        (configuration.checkpoint_bytes for configuration in configurations), default=0
    )
    return sum(features.values()) + 2 * bundle + checkpoint
