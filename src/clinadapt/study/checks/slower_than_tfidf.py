"""Configurations that take longer than TF-IDF and are not shown to be better."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clinadapt.core.messages import Message
from clinadapt.models import registry
from clinadapt.study.checks.contract import Subject
from clinadapt.study.read_results import LeaderboardRow, StudyResults

TIMES, SECONDS = 2.0, 1.0  # at least so many times as long, and so much longer


@dataclass(frozen=True)
class Dearer:
    """A configuration that takes longer than the baseline, and its gain with its interval."""

    configuration: str
    baseline: str
    times: float
    value: float
    low: float
    high: float

    @property
    def gain(self) -> Message:
        """The gain in points."""
        ends = {"value": self.value, "low": self.low, "high": self.high}
        return Message("{value:points} points [{low:points}, {high:points}]", **ends)


def slower_and_no_better(subject: Subject) -> str | None:
    """Return what is found where the time of a configuration buys nothing over word counts."""
    assert subject.results is not None
    found = sorted(_dearer(subject.results), key=lambda one: one.times)
    if not found:
        return None
    slowest = found[-1]
    if len(found) == 1:
        return Message(
            "{name} took {times:,.0f} times as long as {baseline} and is not shown to be better: "
            "{gain}.",
            name=slowest.configuration,
            times=slowest.times,
            baseline=slowest.baseline,
            gain=slowest.gain,
        )
    return Message(
        "{n:,} configurations took at least twice as long as {baseline} and are not shown to be "
        "better; the slowest, {name}, took {times:,.0f} times as long: {gain}.",
        n=len(found),
        baseline=slowest.baseline,
        name=slowest.configuration,
        times=slowest.times,
        gain=slowest.gain,
    )


def _dearer(results: StudyResults) -> Iterator[Dearer]:
    """Yield the configurations that are slower than the baseline and not shown to be better."""
    rows = {row.configuration_id: row for row in results.done}
    asked = [
        pair
        for pair in (results.evidence or {}).get("pairs", [])
        if "tfidf" in pair["questions"] and pair["low"] is not None
    ]
    baseline = _baseline(asked, rows)
    base = None if baseline is None else baseline.seconds
    for pair in asked if baseline is not None and base else ():
        assert baseline is not None
        assert base
        value, low, high = pair["value"], pair["low"], pair["high"]
        other = rows[pair["first"]]
        if other is baseline:
            other, value, low, high = rows[pair["second"]], -value, -high, -low
        seconds = other.seconds or 0.0
        is_better = pair["different"] and value > 0
        if seconds >= max(TIMES * base, base + SECONDS) and not is_better:
            yield Dearer(
                other.configuration, baseline.configuration, seconds / base, value, low, high
            )


def _baseline(
    asked: list[dict[str, Any]], rows: dict[str, LeaderboardRow]
) -> LeaderboardRow | None:
    """Return the configuration that all others were compared with; None if there is none."""
    both = [{pair["first"], pair["second"]} for pair in asked]
    in_all = set.intersection(*both) if both else set()
    models = registry.models()
    return next(
        (
            rows[one]
            for one in sorted(in_all)
            if (model := rows[one].model) in models and models[model].cls.is_baseline
        ),
        None,
    )
