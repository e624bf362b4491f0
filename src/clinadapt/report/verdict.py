"""What a reader must know first: which configuration, how sure it is, what would settle it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from clinadapt.core import formatting
from clinadapt.core.messages import Message, looked_up, shown, translate
from clinadapt.report.words import metric
from clinadapt.study.read_results import LeaderboardRow, StudyResults

HEADINGS = {
    "recommended": Message("Recommended"),
    "candidate": Message("Candidate"),
    "none": Message("None recommended"),
}


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
        heading=shown(HEADINGS[status]),
        row=row,
        sentence=evidence.get("sentence", ""),
        facts=facts,
        cautions=doubts.get("cautions", doubts["sentences"]) if doubts else [],
        findings=(study.checks or {}).get("findings", []),
    )


def _doubts(doubts: dict[str, Any]) -> list[Fact]:
    rarest, patients = doubts["rarest"], looked_up(doubts["patients"])
    stands, folds = doubts["validation"], doubts.get("folds", 1)
    facts = [
        Fact(
            translate("Test {patients} of class {rarest}", patients=patients, rarest=rarest),
            formatting.count(doubts["test"]),
            translate("the choice itself stands on {n:,} of validation", n=stands)
            if folds == 1
            else translate(
                "the choice itself stands on {n:,} in {folds} folds", n=stands, folds=folds
            ),
        )
    ]
    if doubts["others"]:
        facts.append(
            Fact(
                translate("Cannot be told apart from it"),
                translate("{n} of {all}", n=doubts["alike"], all=doubts["others"]),
                translate("other configurations, at the {level:percent} level", level=0.05),
            )
        )
    name, rival = translate("What would settle it"), doubts["rival"]
    if doubts["more"] is not None:
        settled = translate(
            "≈ {n:estimate} more test {patients}", n=doubts["more"], patients=patients
        )
        facts.append(Fact(name, settled, translate("would tell it from {rival}", rival=rival)))
    elif rival is not None:
        settled = translate("not more {patients}", patients=patients)
        facts.append(Fact(name, settled, translate("{rival} may be as good", rival=rival)))
    else:
        facts.append(Fact(name, translate("nothing is open")))
    return facts


def _score(study: StudyResults, row: LeaderboardRow) -> Fact:
    note = translate("without an interval: its uncertainty is unknown")
    if row.test_low is not None:
        note = translate(
            "{level:percent} interval {low:score} to {high:score}",
            level=0.95,
            low=row.test_low,
            high=row.test_high,
        )
    name = translate("Test {metric}", metric=metric(study.about["metric"]))
    return Fact(name, formatting.score(row.test), note)
