"""A plan before the hours: what each run will cost, and which runs do not fit.

Configurations are forecast from short runs on the user's own notes (`clinadapt.study.planning.forecast`). A
`Budget` then walks through the runs in the study's order, says which are left out for memory or
hours, and who pays for the features that several share. The plan kept in a study's folder lets the
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
from clinadapt.study.design import Run, identity
from clinadapt.study.planning.forecast import Forecast, Phase, forecast
from clinadapt.study.planning.trial_runs import Prober
from clinadapt.study.setup import StudySetup

PLAN = "plan.json"
FORMAT = 2  # 1 held numbers for forecasts of other machines, too
HOUR = 3600.0
# Settings that change what is learned and not what it costs: configurations that differ in these alone
# share their runs.
COSTLESS = ("learning_rate", "encoder_learning_rate", "class_weight", "patience", "dropout")


@dataclass(frozen=True)
class Plan:
    """Forecasts of a study's configurations.

    Attributes
    ----------
    made_for : str
        Hash of runs, memory limit and machine: a plan is good for no other.
    memory : int, optional
        Bytes that a run may hold.
    forecasts : dict of str to Forecast
        By the configuration's id.
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
    """Run each configuration of a study on some of its notes, and extrapolate.

    Nothing is written to the study's folder, and its results do not change.

    Parameters
    ----------
    study : Study
    progress : callable
        Called with a stage's name, configurations done and configurations in all.
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
            key = _what_costs(run)
            if key not in shared:
                shared[key] = forecast(prober, run)
            forecasts[configuration_id] = shared[key].named(run.configuration.label)
    progress("plan", len(configurations), len(configurations))
    return Plan(_made_for(study), study.memory, forecasts)


def read_plan(study: StudySetup) -> Plan | None:
    """The plan in a study's folder; None without one for these runs, limits and machine."""
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
            "memory_savings": tuple(entry["memory_savings"]),
        }
    )


def _made_for(study: StudySetup) -> str:
    machine = environment()["machine"] | {"torch": torch.__version__}
    # The ids tell of notes, split, settings and of the encoders that are here.
    runs = [study.folders.id(run) for run in study.runs]
    return identity(FORMAT, runs, study.memory, machine)


def _what_costs(run: Run) -> str:
    settings = {key: value for key, value in run.resolved.items() if key not in COSTLESS}
    return identity(run.configuration.model, settings)


@dataclass
class Budget:
    """Memory and hours, spent run by run in the study's order.

    Parameters
    ----------
    plan : Plan
    memory : int, optional
        Bytes that a run may hold.
    hours : float, optional
        For all runs.
    """

    plan: Plan
    memory: int | None = None
    hours: float | None = None
    _computed: set[str] = field(default_factory=set, init=False)

    def refusal(self, configuration_id: str, spent: float) -> str | None:
        """Why a run is left out for a limit; None if it is not.

        Parameters
        ----------
        configuration_id : str
        spent : float
            Seconds of the hours that are gone.
        """
        configuration = self.plan.forecasts[configuration_id]
        if configuration.reason is not None:
            return None if configuration.fits else configuration.reason
        peak = configuration.peak(self._computes(configuration))
        if self.memory is not None and peak > self.memory:
            given = (
                f" with {', '.join(configuration.memory_savings)}"
                if configuration.memory_savings
                else ""
            )
            return (
                f"predicted to need {formatting.size(peak)}{given}; the limit is "
                f"{formatting.size(self.memory)}"
            )
        seconds = configuration.seconds(self._computes(configuration))
        left = None if self.hours is None else self.hours * HOUR - spent
        if left is not None and seconds > left:
            return (
                f"predicted to take {formatting.seconds(seconds)}; "
                f"{formatting.seconds(max(0.0, left))} of the {self.hours:g} hours are left"
            )
        return None

    def _computes(self, configuration: Forecast) -> bool:
        return configuration.features is not None and configuration.features not in self._computed

    def spend(self, configuration_id: str) -> bool:
        """Note that a run of a configuration was run; whether it computed the features that it stands on."""
        configuration = self.plan.forecasts[configuration_id]
        computes = self._computes(configuration)
        if configuration.features is not None:
            self._computed.add(configuration.features)
        return computes

    def compare(self, configuration_id: str, result: Mapping[str, Any]) -> dict[str, Any]:
        """What was predicted of a run that has run, to stand beside what it did cost.

        Returns
        -------
        dict
            ``seconds`` of all epochs, ``epochs``, ``seconds_of_epochs_run`` (early stopping cannot
            be foreseen), ``peak_memory_bytes``, ``disk_bytes``.
        """
        configuration, spent = self.plan.forecasts[configuration_id], result["cost"]
        held = spent["held_memory_bytes"]
        if not self._computed:  # the libraries of encoders come yet
            held = max(held, configuration.held_bytes)
        computes = self.spend(configuration_id) and spent["encoded_sequences"] > 0
        return {
            "seconds": configuration.seconds(computes),
            "epochs": configuration.epochs,
            "seconds_of_epochs_run": configuration.seconds(computes, len(result["training"])),
            "peak_memory_bytes": configuration.peak(computes, held),
            "disk_bytes": configuration.bundle_bytes,
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
        Why it is skipped.
    seconds, features_seconds : float
        At most, in all; and of these, of computing features.
    peak_memory_bytes : int
    disk_bytes : int
        That stay: features computed here, and the bundle.
    memory_savings : tuple of str
        What is given up for memory.
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
    """Every run in the study's order, with what it will cost or why it will not run."""
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
            "runs": [asdict(line) for line in lines],
        },
    )


def disk_bytes(plan: Plan, lines: Sequence[Line]) -> int:
    """Largest size of a study's folder: all features, two bundles and a checkpoint."""
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
