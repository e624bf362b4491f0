"""A choice that ended at the edge of what it could choose from: the last epoch, the largest value.

Two choices are looked at: early stopping, and the leader among configurations that differ in one
number. Where the best lies at the edge, a better one may lie beyond.
"""

from collections.abc import Iterator
from typing import Any

from clinadapt.core.messages import Message
from clinadapt.study.checks.contract import Subject
from clinadapt.study.read_results import RunResult, StudyResults

LEAST_VALUES = 3  # of a number that is searched


def at_the_edge(subject: Subject) -> str | None:
    """Return what is found where the best epoch is the last, or the best value the outermost."""
    assert subject.results is not None
    return _last_epoch(subject.results) or _outermost_value(subject.results)


def _last_epoch(results: StudyResults) -> str | None:
    """Return what is found where training ended by the number of epochs while it still gained."""
    stopped = [(run, best) for run in results.finished if (best := _best_epoch(run)) is not None]
    cut = [run for run, best in stopped if round(best) >= run.settings["epochs"]]
    handed = results.handed_over
    if not cut or handed is None:
        return None
    own = [run for run in cut if run.configuration_id == handed.configuration_id]
    if own:
        return Message(
            "{name} was best on validation in its last epoch, {epoch:,}, so more epochs may make "
            "it better.",
            name=handed.configuration,
            epoch=own[0].settings["epochs"],
        )
    if len(cut) < 2 or 2 * len(cut) <= len(stopped):
        return None
    return Message(
        "{n:,} of the {runs:,} runs that stop early were best on validation in their last epoch, "
        "so more epochs may make them better.",
        n=len(cut),
        runs=len(stopped),
    )


def _best_epoch(run: RunResult) -> float | None:
    """Return the epoch that was best on validation; None where nothing stops early.

    On folds it is the mean over them. Where no number of epochs was given, none is an edge.
    """
    if run.settings.get("epochs") is None:
        return None
    if run.decisions and "epochs" in run.decisions:
        return run.decisions["epochs"]
    scores = [
        (entry["validation_score"], -entry["validation_loss"])
        for entry in run.training
        if entry.get("validation_score") is not None and entry.get("validation_loss") is not None
    ]
    if not scores:
        return None
    return 1 + scores.index(max(scores))


def _outermost_value(results: StudyResults) -> str | None:
    """Return what is found where the leader has the smallest or largest of several values."""
    best = results.best
    runs = {run.configuration_id: run for run in results.first_runs}
    if best is None or best.configuration_id not in runs:
        return None
    leader = runs[best.configuration_id]
    for name, values in _searched(leader, list(runs.values())):
        own = leader.settings[name]
        if len(values) >= LEAST_VALUES and own in (min(values), max(values)):
            return Message(
                "{leader} is best on validation with {setting} = {own:g}, the outermost of the "
                "{n:,} values tried ({low:g} to {high:g}), so a value beyond may do better.",
                leader=leader.configuration,
                setting=name,
                own=own,
                n=len(values),
                low=min(values),
                high=max(values),
            )
    return None


def _searched(leader: RunResult, runs: list[RunResult]) -> Iterator[tuple[str, set[Any]]]:
    """Yield each setting that is a number, with its values where all other settings are equal."""
    for name, own in leader.settings.items():
        if name == "seed" or isinstance(own, bool) or not isinstance(own, int | float):
            continue
        rest = _without(leader, name)
        alike = [run for run in runs if _without(run, name) == rest]
        values = {run.settings[name] for run in alike if name in run.settings}
        if all(isinstance(value, int | float) for value in values):
            yield name, values


def _without(run: RunResult, name: str) -> dict[str, Any]:
    rest = {key: value for key, value in run.settings.items() if key not in (name, "seed")}
    return {**rest, "model": run.axes.get("model")}
