"""What is said, drawn and written of notes that are left to a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clinadapt import load as load_bundle
from clinadapt.evaluation.abstention import RISKS
from clinadapt.report import abstaining
from clinadapt.study.read_results import load


def _score(value: float | None) -> dict[str, Any]:
    return {"value": value, "low": None, "high": None, "kept": None}


def _content(task: str, limits: dict[float, tuple[float | None, float | None]]) -> dict[str, Any]:
    bands = [
        {
            "risk": risk,
            "yes": limits.get(risk, (None, None))[0],
            "no": limits.get(risk, (None, None))[1],
            "left": _score(0.25),
            "wrong": _score(0.031),
            "missed": None if task == "multiclass" else _score(0.012),
        }
        for risk in RISKS
    ]
    return {"task": task, "positive": "ill", "confidence": 0.9, "bands": bands}


@pytest.mark.parametrize(
    ("task", "limits", "told"),
    [
        ("binary", (0.8, 0.1), ["“ill” are missed (test notes: 1.2%)", "(test notes: 3.1%)"]),
        ("binary", (None, 0.1), ["never with “ill”", "missed (test notes: 1.2%)"]),
        ("binary", (0.8, None), ["only with “ill”", "wrong (test notes: 3.1%)"]),
        ("multiclass", (0.8, None), ["5% of its answers are wrong (test notes: 3.1%)"]),
        ("multilabel", (0.8, 0.1), ["5% of the labels are missed (test notes: 1.2%)"]),
        ("multilabel", (None, 0.1), ["gives no label", "missed (test notes: 1.2%)"]),
        ("multilabel", (0.8, None), ["excludes no label", "wrong (test notes: 3.1%)"]),
    ],
)
def test_the_sentence_says_what_is_promised_and_what_came(
    task: str, limits: tuple[float | None, float | None], told: list[str]
) -> None:
    sentence = abstaining.sentence(_content(task, {0.05: limits}))
    assert sentence.startswith("With 25.0% of the test notes left to a person")
    assert "with 90% confidence" in sentence
    for part in told:
        assert part in sentence


def test_a_larger_risk_is_told_where_the_usual_one_allows_no_answer() -> None:
    sentence = abstaining.sentence(_content("binary", {0.01: (0.9, 0.1), 0.1: (0.7, 0.2)}))
    assert "at most 10% of the notes" in sentence
    nothing = abstaining.sentence(_content("binary", {}))
    assert nothing.startswith("No answer can be promised to be wrong in at most 20%")


def test_a_study_writes_what_its_bundle_keeps_and_what_came_on_its_test_notes(
    finished_study: Path,
) -> None:
    study = load(finished_study)
    content, run = study.abstention, study.handed_over
    assert content is not None
    assert run is not None
    assert content["configuration_id"] == run.configuration_id
    bundle = load_bundle(finished_study / ("recommended" if study.about["recommended"] else "best"))
    assert bundle.abstention_ is not None
    limits = [(band["risk"], band["yes"], band["no"]) for band in content["bands"]]
    assert limits == [(band.risk, band.yes, band.no) for band in bundle.abstention_.bands]
    assert [one["least"] for one in content["sets"]] == [
        one.least for one in bundle.abstention_.sets
    ]
    test = run.predictions("test")
    chance = test[f"prob_{study.about['positive']}"].to_numpy()
    for band in content["bands"]:
        yes = np.inf if band["yes"] is None else band["yes"]
        no = -np.inf if band["no"] is None else band["no"]
        assert band["left"]["value"] == pytest.approx(((chance < yes) & (chance > no)).mean())
    error = (test["label"] != test["prediction"]).mean()
    assert content["curve"]["risk"][-1] == pytest.approx(error)
    assert json.loads((finished_study / "report.json").read_text())["abstention"] == content


def test_the_page_shows_it(finished_study: Path) -> None:
    page = (finished_study / "report.html").read_text(encoding="utf-8")
    for part in ('id="abstaining"', 'data-figure="risk-coverage"', 'href="#abstaining"'):
        assert part in page
    study = load(finished_study)
    drawn = abstaining.risk_coverage(study)
    assert drawn is not None
    assert study.abstention is not None
    assert drawn["data"][1]["x"] == study.abstention["curve"]["coverage"]
