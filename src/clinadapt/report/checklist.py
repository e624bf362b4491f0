"""Reporting checklists, filled in where the run knows the answer; the rest is marked open."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clinadapt.study.read_results import Study

OPEN = "**Open.**"


@dataclass(frozen=True)
class Item:
    """An item of a checklist.

    Attributes
    ----------
    number : str
        In the statement.
    topic : str
    answer : callable, optional
        What the run knows of it; None where it knows nothing.
    """

    number: str
    topic: str
    answer: Callable[[Study], str] | None = None


def checklist(title: str, items: Sequence[Item], study: Study) -> str:
    """The list as Markdown; what is open is counted first."""
    lines = []
    unanswered = 0
    for item in items:
        told = OPEN if item.answer is None else item.answer(study)
        unanswered += OPEN in told
        lines.append(f"| {item.number} | {item.topic} | {told} |")
    return "\n".join(
        [
            f"# {title}: {study.about['name']}",
            "",
            f"Filled in by clinadapt from the run: {len(items) - unanswered} of {len(items)} "
            f"items; {unanswered} hold something that only the authors know, marked open.",
            "",
            "| item | about | what the run knows |",
            "|---|---|---|",
            *lines,
            "",
        ]
    )
