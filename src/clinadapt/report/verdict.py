"""What a reader must know first: which configuration, how sure it is, what would settle it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clinadapt.core import formatting
from clinadapt.study.read_results import LeaderboardRow, StudyResults

HEADINGS = {"recommended": "Recommended", "candidate": "Candidate", "none": "None recommended"}


@dataclass(frozen=True)
class Fact:
    """A number of the verdict, what it is, and what qualifies it."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """The verdict on a study, with its doubts.

    Attributes
    ----------
    status : str
        "recommended", "candidate" or "none".
    heading : str
        The status in words.
    row : LeaderboardRow
        The recommended configuration, the candidate, or else the best on validation.
    sentence : str
        The reason.
    facts : list of Fact
        The doubts in numbers, then the test score.
    cautions : list of str
        Doubts that the facts do not tell.
    findings : list of dict
        Code, title and sentence of what checks found.
    """

    status: str
    heading: str
    row: LeaderboardRow
    sentence: str
    facts: list[Fact]
    cautions: list[str]
    findings: list[dict[str, str]]


def verdict(study: StudyResults) -> Verdict | None:
    """Return the verdict on a study; None if no configuration finished."""
    run = study.handed_over
    if run is None:
        return None
    row = next(one for one in study.done if one.configuration_id == run.configuration_id)
    evidence = study.evidence or {}
    doubts = evidence.get("doubts")  # neither it nor the status is in studies of earlier versions
    status = "none"
    if study.about["recommended"] is not None:
        status = evidence.get("status") or "recommended"
    facts = [*_doubts(doubts), _score(study, row)] if doubts else [_score(study, row)]
    return Verdict(
        status=status,
        heading=HEADINGS[status],
        row=row,
        sentence=evidence.get("sentence", ""),
        facts=facts,
        cautions=doubts.get("cautions", doubts["sentences"]) if doubts else [],
        findings=(study.checks or {}).get("findings", []),
    )


def _doubts(doubts: dict[str, Any]) -> list[Fact]:
    rarest, patients = doubts["rarest"], doubts["patients"]
    stands = f"the choice itself stands on {formatting.count(doubts['validation'])}"
    folds = doubts.get("folds", 1)
    where = "of validation" if folds == 1 else f"in {folds} folds"
    tested = formatting.count(doubts["test"])
    facts = [Fact(f"Test {patients} of class {rarest}", tested, f"{stands} {where}")]
    if doubts["others"]:
        facts.append(
            Fact(
                "Cannot be told apart from it",
                f"{doubts['alike']} of {doubts['others']}",
                "other configurations, at the 5 % level",
            )
        )
    if doubts["more"] is not None:
        settled = f"≈ {formatting.estimate(doubts['more'])} more test {patients}"
        facts.append(Fact("What would settle it", settled, f"would tell it from {doubts['rival']}"))
    elif doubts["rival"] is not None:
        rival = f"{doubts['rival']} may be as good"
        facts.append(Fact("What would settle it", f"not more {patients}", rival))
    else:
        facts.append(Fact("What would settle it", "nothing is open"))
    return facts


def _score(study: StudyResults, row: LeaderboardRow) -> Fact:
    note = "without an interval: its uncertainty is unknown"
    if row.test_low is not None:
        low, high = formatting.score(row.test_low), formatting.score(row.test_high)
        note = f"95 % interval {low} to {high}"
    name = f"Test {formatting.metric(study.about['metric'])}"
    return Fact(name, formatting.score(row.test), note)
