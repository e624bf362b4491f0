"""What the comparison of the rows found, in sentences, each with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from clinadapt.core import formatting
from clinadapt.study.read_results import Cell, Row, Study

# A cell overfits where its validation loss ends so much above its lowest while training goes on.
OVERFIT = 1.25
HEADINGS = {
    "tuning": "What freezing cost",
    "structure": "What a structure brought",
    "tfidf": "What beats word counts",
    "best": "The leader against the others",
}


@dataclass(frozen=True)
class Pair:
    """Two rows and their difference; positive where the first is better."""

    first: Row
    second: Row
    value: float
    low: float | None
    high: float | None
    p: float
    corrected_p: float
    different: bool
    mcnemar: dict[str, Any]

    @property
    def sentence(self) -> str:
        """Who does better, by how much, and whether it can be told from nothing."""
        if self.low is None or self.high is None:
            return f"{self.first.row} and {self.second.row}: the metric is undefined."
        low, high = formatting.points(self.low), formatting.points(self.high)
        gap = f"{formatting.points(self.value)} [{low}, {high}]"
        if not self.different:
            verdict = "which cannot be told from no difference"
        elif self.value > 0:
            verdict = f"so {self.first.row} is better"
        else:
            verdict = f"so {self.second.row} is better"
        return f"{self.first.row} less {self.second.row}: {gap}, {verdict}{self._price()}."

    def _price(self) -> str:
        one, other = self.first.seconds, self.second.seconds
        if not one or not other or max(one, other) < 2 * min(one, other):
            return ""
        dearer, factor = (self.first, one / other) if one > other else (self.second, other / one)
        return f"; {dearer.row} took {factor:,.0f} times as long to encode and fit"


def pairs(study: Study) -> dict[str, list[Pair]]:
    """Pairs that were compared, by the question that they answer; a pair may answer several."""
    if study.evidence is None:
        return {}
    rows = {row.row_id: row for row in study.done}
    found: dict[str, list[Pair]] = {question: [] for question in HEADINGS}
    for entry in study.evidence["pairs"]:
        if entry["value"] is None:
            continue
        pair = Pair(
            first=rows[entry["first"]],
            second=rows[entry["second"]],
            **{
                name: entry[name]
                for name in ("value", "low", "high", "p", "corrected_p", "different", "mcnemar")
            },
        )
        for question in entry["questions"]:
            found[question].append(pair)
    return {question: several for question, several in found.items() if several}


def told_once(found: dict[str, list[Pair]]) -> dict[str, list[Pair]]:
    """The same, each pair under the first question that it answers."""
    told: set[int] = set()
    once: dict[str, list[Pair]] = {}
    for question, several in found.items():
        fresh = [pair for pair in several if id(pair) not in told]
        told |= {id(pair) for pair in fresh}
        if fresh:
            once[question] = fresh
    return once


def not_useful(study: Study) -> list[Row]:
    """Rows that cannot be told from a constant answer."""
    if study.evidence is None:
        return []
    useless = {entry["row_id"] for entry in study.evidence["rows"] if not entry["useful"]}
    return [row for row in study.done if row.row_id in useless]


def overfitted(study: Study) -> list[Cell]:
    """Cells whose validation loss rose well above its lowest while the training loss fell."""
    return [cell for cell in study.finished if _overfits(cell.training)]


def _overfits(history: list[dict[str, Any]]) -> bool:
    losses = [entry.get("validation_loss") for entry in history]
    known = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    if len(known) < 2 or len(known) < len(losses):
        return False
    fell = history[-1]["loss"] < history[known.index(min(known))]["loss"]
    return fell and known[-1] > OVERFIT * min(known)


def every_pair(study: Study) -> Iterator[tuple[str, str, float, float, float]]:
    """Row ids of any two rows, and their difference with its interval, for the page's chooser."""
    if study.evidence is None:
        return
    for first, second, value, low, high in study.evidence["every_pair"]:
        if value is not None and low is not None:
            yield first, second, value, low, high
