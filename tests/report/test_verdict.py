"""The verdict shows the study's own doubts, whichever its status and version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clinadapt.report.verdict import Verdict, verdict
from clinadapt.report.write import write_report
from clinadapt.study.read_results import load

DOUBTS: dict[str, Any] = {
    "chosen": "a model",
    "others": 9,
    "alike": 2,
    "rarest": "positive",
    "patients": "patients",
    "validation": 84,
    "test": 1236,
    "weak": {},
    "rival": "another model",
    "more": 1234,
    "unrepeated": True,
    "sentences": ["The choice stands on few.", "One seed."],
    "cautions": ["One seed."],
}


@pytest.fixture
def folder(finished_study: Path, tmp_path: Path) -> Path:
    """A copy of a study that a test may change."""
    for file in finished_study.rglob("*"):
        if file.is_file() and file.suffix in (".json", ".csv", ".parquet"):
            copy = tmp_path / file.relative_to(finished_study)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    return tmp_path


def _said(folder: Path, status: str | None, doubts: dict[str, Any] | None) -> Verdict:
    evidence, about = (
        json.loads((folder / name).read_text(encoding="utf-8"))
        for name in ("evidence.json", "study.json")
    )
    evidence |= {"status": status, "doubts": doubts}
    about |= {"recommended": about["best"] if status else None}
    (folder / "evidence.json").write_text(json.dumps(evidence), encoding="utf-8")
    (folder / "study.json").write_text(json.dumps(about), encoding="utf-8")
    said = verdict(load(folder))
    assert said is not None
    return said


def _facts(said: Verdict) -> dict[str, tuple[str, str]]:
    return {fact.name: (fact.value, fact.note) for fact in said.facts}


def test_the_verdict_of_a_real_study_is_its_own(finished_study: Path) -> None:
    said = verdict(load(finished_study))
    evidence = json.loads((finished_study / "evidence.json").read_text())
    doubts = evidence["doubts"]
    assert said is not None
    assert said.status == (evidence["status"] or "none")
    assert said.row.configuration == doubts["chosen"]
    assert said.sentence == evidence["sentence"]
    facts = _facts(said)
    test, validation = facts[f"Test {doubts['patients']} of class {doubts['rarest']}"]
    assert test == f"{doubts['test']:,}"
    assert f"{doubts['validation']:,} of validation" in validation
    told = f"{doubts['alike']} of {doubts['others']}"
    assert facts["Cannot be told apart from it"][0] == told
    assert set(said.cautions) <= set(doubts["sentences"])


def test_a_candidate_says_what_would_settle_it(folder: Path) -> None:
    said = _said(folder, "candidate", DOUBTS)
    assert (said.status, said.heading) == ("candidate", "Candidate")
    facts = _facts(said)
    assert facts["Test patients of class positive"][0] == "1,236"
    assert facts["What would settle it"] == (
        "≈ 1,200 more test patients",
        "would tell it from another model",
    )
    assert said.cautions == ["One seed."]
    html = write_report(folder).read_text(encoding="utf-8")
    assert '<section class="card candidate"' in html
    assert html.index("2 of 9") < html.index('id="leaderboard"')


@pytest.mark.parametrize(
    ("rival", "settles"), [(None, "nothing is open"), ("another model", "not more patients")]
)
def test_what_more_patients_would_not_settle(folder: Path, rival: str | None, settles: str) -> None:
    said = _said(folder, "recommended", DOUBTS | {"rival": rival, "more": None})
    assert _facts(said)["What would settle it"][0] == settles


def test_where_none_is_recommended(folder: Path) -> None:
    said = _said(folder, None, DOUBTS)
    assert said.status == "none"
    assert "Best on validation:" in write_report(folder).read_text(encoding="utf-8")


def test_studies_of_before_have_a_verdict_without_doubts(folder: Path) -> None:
    said = _said(folder, "recommended", None)
    assert [fact.name.split()[0] for fact in said.facts] == ["Test"]
    assert said.cautions == []
    old = {key: value for key, value in DOUBTS.items() if key != "cautions"}
    assert _said(folder, "recommended", old).cautions == DOUBTS["sentences"]
