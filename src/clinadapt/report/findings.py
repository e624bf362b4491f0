"""Findings of the comparison of configurations, in sentences with intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clinadapt.core import formatting
from clinadapt.core.messages import Message
from clinadapt.study.read_results import LeaderboardRow, RunResult, StudyResults

# A run overfits if its last validation loss exceeds its lowest by this factor.
OVERFIT = 1.25
HEADINGS = {
    "tuning": Message("Effect of freezing the encoder"),
    "adapter": Message("Effect of the adapter"),
    "tfidf": Message("Comparison with word counts (TF-IDF)"),
    "best": Message("Best configuration on validation compared with the others"),
}


@dataclass(frozen=True)
class Pair:
    """Difference of two configurations; positive where the first is better."""

    first: LeaderboardRow
    second: LeaderboardRow
    value: float
    low: float | None
    high: float | None
    p: float
    corrected_p: float
    different: bool
    mcnemar: dict[str, Any]

    @property
    def better(self) -> LeaderboardRow | None:
        """The configuration that is significantly better, if any."""
        if not self.different:
            return None
        return self.first if self.value > 0 else self.second

    @property
    def slower(self) -> tuple[LeaderboardRow, float] | None:
        """The one that took at least twice as long to encode and fit, and how many times as long.

        None if neither did.
        """
        one, other = self.first.seconds, self.second.seconds
        if not one or not other or max(one, other) < 2 * min(one, other):
            return None
        return (self.first, one / other) if one > other else (self.second, other / one)

    @property
    def sentence(self) -> str:
        """The difference, its interval, and which configuration is significantly better, if any."""
        if self.low is None or self.high is None:
            return (
                f"{self.first.configuration} and {self.second.configuration}: "
                "the metric is undefined."
            )
        low, high = formatting.points(self.low), formatting.points(self.high)
        gap = f"{formatting.points(self.value)} points [{low}, {high}]"
        verdict = "not significantly different"
        if self.better is not None:
            verdict = f"{self.better.configuration} is significantly better"
        price = ""
        if self.slower is not None:
            slower, factor = self.slower
            price = f"; {slower.configuration} took {factor:,.0f} times as long to encode and fit"
        compared = f"{self.first.configuration} minus {self.second.configuration}"
        return f"{compared}: {gap}; {verdict}{price}."


def pairs(study: StudyResults) -> dict[str, list[Pair]]:
    """Return the compared pairs by the question they answer; a pair may answer several."""
    if study.evidence is None:
        return {}
    configurations = {configuration.configuration_id: configuration for configuration in study.done}
    by_question: dict[str, list[Pair]] = {question: [] for question in HEADINGS}
    for entry in study.evidence["pairs"]:
        if entry["value"] is None:
            continue
        pair = Pair(
            first=configurations[entry["first"]],
            second=configurations[entry["second"]],
            **{
                name: entry[name]
                for name in ("value", "low", "high", "p", "corrected_p", "different", "mcnemar")
            },
        )
        for question in entry["questions"]:
            by_question[question].append(pair)
    return {question: several for question, several in by_question.items() if several}


def without_repeats(by_question: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
    """Keep each pair only under the first question it answers."""
    listed: set[int] = set()
    once: dict[str, list[Pair]] = {}
    for question, several in by_question.items():
        fresh = [pair for pair in several if id(pair) not in listed]
        listed |= {id(pair) for pair in fresh}
        if fresh:
            once[question] = fresh
    return once


def not_useful(study: StudyResults) -> list[LeaderboardRow]:
    """Return the configurations that are not significantly better than a constant answer."""
    if study.evidence is None:
        return []
    useless = {
        entry["configuration_id"]
        for entry in study.evidence["configurations"]
        if not entry["useful"]
    }
    return [
        configuration for configuration in study.done if configuration.configuration_id in useless
    ]


def overfitted(study: StudyResults) -> list[RunResult]:
    """Return the runs whose validation loss rose clearly while their training loss fell."""
    return [run for run in study.finished if _overfits(run.training)]


def _overfits(history: list[dict[str, Any]]) -> bool:
    losses = [entry.get("validation_loss") for entry in history]
    known = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    if len(known) < 2 or len(known) < len(losses):
        return False
    fell = history[-1]["loss"] < history[known.index(min(known))]["loss"]
    return fell and known[-1] > OVERFIT * min(known)


def every_pair(study: StudyResults) -> Iterator[tuple[str, str, float, float, float]]:
    """Yield the ids of any two configurations and their difference with its interval."""
    if study.evidence is None:
        return
    for first, second, value, low, high in study.evidence["every_pair"]:
        if value is not None and low is not None:
            yield first, second, value, low, high
