"""The report shows what the study folder holds, and needs no network."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import polars as pl
import pytest
from sklearn.metrics import confusion_matrix, roc_auc_score, roc_curve

from clinadapt.core import formatting, html
from clinadapt.report import charts, drawing, findings, summary, tables
from clinadapt.report.write import write_report
from clinadapt.study.read_results import load

CLASSES = {
    "binary": ["negative", "positive"],
    "multiclass": ["cardiology", "neurology", "oncology", "paediatrics", "surgery"],
    "multilabel": ["anaemia", "diabetes", "hypertension", "sepsis"],
}
METRIC = {"binary": "f1", "multiclass": "f1_macro", "multilabel": "f1_weighted"}
MODELS = ["pretrained", "tfidf-logistic", "moe", "transformer"]


def fabricate(
    folder: Path,
    task: str,
    *,
    configurations: int = 4,
    seeds: int = 2,
    notes: int = 120,
    synthetic: bool = False,
    name: str = "configuration",
    unfinished: tuple[str, ...] = ("failed", "skipped"),
) -> Path:
    """Write a study folder with made-up results, in the format of the study's own."""
    random = np.random.default_rng(0)
    classes, metric = CLASSES[task], METRIC[task]
    statuses = ["done"] * configurations + list(unfinished)
    lines = []
    for number, status in enumerate(statuses):
        model = MODELS[number % len(MODELS)]
        named = {
            "configuration": f"{name} {number}: {model}",
            "configuration_id": f"c{number}",
            "status": status,
        }
        reason = None if status == "done" else f"{status} because of <reason> {number}"
        axes = {
            "model": model,
            "encoder": "almanach/camembert-bio-base" if model == "pretrained" else None,
            "adapter": "bottleneck" if model == "pretrained" else None,
            "placement": "token" if model == "pretrained" else None,
            "tuned_layers": 0 if model == "pretrained" else None,
        }
        results = []
        for seed in range(seeds):
            where = folder / "cells" / f"{named['configuration_id']}-{seed}"
            where.mkdir(parents=True)
            result: dict[str, Any] = {
                **named,
                "format": 2,
                "id": where.name,
                "reason": reason,
                "axes": axes,
                "settings": {"epochs": 3, "learning_rate": 1e-3},
                "seed": seed,
                "data": {"truncated": {"train": 3 * number, "validation": number, "test": number}},
                "environment": {},
            }
            if status == "done":
                predictions = _predictions(
                    random, task, classes, notes, 1.2 - number / configurations
                )
                predictions.write_parquet(where / "predictions.parquet")
                result |= _outcome(random, metric, model, 0.88 - 0.05 * number / configurations)
            (where / "result.json").write_text(json.dumps(result), encoding="utf-8")
            results.append(result)
        lines.append(_line(number, results, metric))
    pl.DataFrame(lines, infer_schema_length=None).write_csv(folder / "leaderboard.csv")
    part = {"notes": notes, "groups": notes // 4, "labels": dict.fromkeys(classes, notes // 3)}
    about = {
        "format": 2,
        "name": f"{task} study",
        "task": task,
        "classes": classes,
        "positive": "positive" if task == "binary" else None,
        "metric": metric,
        "design": {"seeds": list(range(seeds)), "resamples": 1000},
        "best": {"run": "c0-0", "configuration": lines[0]["configuration"]}
        if configurations
        else None,
        "recommended": {"run": "c0-0", "configuration": lines[0]["configuration"]}
        if configurations
        else None,
        "data": {
            "source": "notes.csv",
            "synthetic": synthetic,
            "notes": 3 * notes,
            "groups": None,
            "parts": {"train": part, "validation": part, "test": part},
            "left_out": [
                {"row": 7, "id": "n7", "reason": "the text is empty"},
                {"row": 9, "id": None, "reason": "the text is empty"},
                {"row": 11, "id": "n11", "reason": "the label is missing"},
            ],
            "duplicates": {"exact_across_parts": 2, "near_across_parts": 1, "pairs": []},
            "warnings": ["class sepsis has only 3 notes in the test part"],
        },
        "environment": {
            "machine": {"cpu": "a processor", "cores": 2, "memory_bytes": 8e9, "gpu": None},
            "versions": {"clinadapt": "0.1.0", "python": "3.11.7"},
            "commit": "0123abc",
            "started": "2025-01-31T12:00:00+00:00",
        },
    }
    (folder / "study.json").write_text(json.dumps(about), encoding="utf-8")
    if configurations:
        evidence = _evidence([line for line in lines if line["status"] == "done"])
        (folder / "evidence.json").write_text(json.dumps(evidence), encoding="utf-8")
    return folder


def _evidence(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The first configuration against each, a point and a half more for each further down."""
    pairs = [
        {
            "first": lines[0]["configuration_id"],
            "second": line["configuration_id"],
            "questions": ["best", "tfidf"] if line["model"] == "tfidf-logistic" else ["best"],
            "value": 0.015 * number,
            "low": 0.015 * number - 0.02,
            "high": 0.015 * number + 0.02,
            "p": 0.2 / 4**number,
            "corrected_p": 0.6 / 4**number,
            "different": number > 1,
            "mcnemar": {"first": 3 + number, "second": 3, "p": 0.5},
        }
        for number, line in enumerate(lines)
        if number
    ]
    return {
        "sentence": f"{lines[0]['configuration']} is <recommended>.",
        "constant": 0.53,
        "configurations": [
            {"configuration_id": line["configuration_id"], "useful": number < len(lines) - 1}
            for number, line in enumerate(lines)
        ],
        "pairs": pairs,
        "every_pair": [
            [one["configuration_id"], other["configuration_id"], 0.01, -0.01, 0.03]
            for one, other in combinations(lines, 2)
        ],
    }


def _predictions(
    random: np.random.Generator, task: str, classes: list[str], notes: int, skill: float
) -> pl.DataFrame:
    names = np.array(classes)
    if task == "multilabel":
        truth = random.random((notes, len(classes))) < 0.3
        scores = 1 / (1 + np.exp(-random.normal(3 * skill * (truth - 0.5))))
        label: Any = [list(names[line]) for line in truth]
        prediction: Any = [list(names[line]) for line in scores > 0.5]
    else:
        true = random.integers(len(classes), size=notes)
        logits = random.normal(size=(notes, len(classes)))
        logits[np.arange(notes), true] += 2 * skill
        scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        label, prediction = names[true], names[scores.argmax(axis=1)]
    return pl.DataFrame(
        {
            "id": [f"n{i}" for i in range(notes)],
            "part": ["validation" if i % 3 == 0 else "test" for i in range(notes)],
            "label": label,
            "prediction": prediction,
            **{f"prob_{c}": scores[:, i] for i, c in enumerate(classes)},
        }
    )


def _outcome(random: np.random.Generator, metric: str, model: str, centre: float) -> dict[str, Any]:
    value = centre + random.normal(scale=0.005)
    estimate = {"value": value, "low": value - 0.021, "high": value + 0.019}
    undefined = {"value": None, "low": None, "high": None, "reason": "no <positive> note"}
    metrics = {
        "accuracy": {**estimate, "value": value + 0.01},
        "precision": {**estimate, "value": value - 0.011},
        "recall": {**estimate, "value": value + 0.012},
        "recall_weighted": {**estimate, "value": value + 0.013},
        metric: estimate,
        "mcc": undefined,
    }
    epochs = [
        {
            "epoch": epoch,
            "loss": 0.7 / epoch,
            "validation_loss": 0.8 / epoch,
            "validation_score": value - 0.2 / epoch,
            **({"router_load": [0.4, 0.3, 0.2, 0.1]} if model == "moe" else {}),
        }
        for epoch in range(1, 9)
    ]
    pretrained = model == "pretrained"
    return {
        "threshold": {"value": 0.42, "chosen_on": "validation", "metric": metric},
        "metrics": metrics,
        "validation_metrics": metrics,
        "cost": {
            "encode_seconds": 400.0 * random.random() if pretrained else 0.0,
            "fit_seconds": 0.4 + 60 * random.random(),
            "predict_seconds": 0.02,
            "peak_memory_bytes": int(10 ** random.uniform(8, 9.4)),
            "trainable_parameters": int(10 ** random.uniform(4, 6.5)),
            "total_parameters": 110_000_000 if pretrained else 90_000,
            "disk_bytes": 400_000,
        },
        "training": [] if model.startswith("tfidf") else epochs,
    }


def _line(number: int, results: list[dict[str, Any]], metric: str) -> dict[str, Any]:
    first = results[0]
    done = first["status"] == "done"
    estimate = first["metrics"][metric] if done else {"value": None, "low": None, "high": None}
    costs = first["cost"] if done else {}
    return {
        "rank": number + 1 if done else None,
        "configuration": first["configuration"],
        "configuration_id": first["configuration_id"],
        "status": first["status"],
        "reason": first["reason"],
        **first["axes"],
        "seeds": len(results),
        "best": number == 0 and done,
        "recommended": number == 0 if done else None,
        "group": 1 + number // 2 if done else None,
        "validation": estimate["value"],
        "test": estimate["value"],
        "test_low": estimate["low"],
        "test_high": estimate["high"],
        **{
            cost: costs.get(cost)
            for cost in (
                "encode_seconds",
                "fit_seconds",
                "predict_seconds",
                "peak_memory_bytes",
                "trainable_parameters",
                "total_parameters",
            )
        },
    }


def opening(file: Path) -> str:
    """A page without what it holds in other languages."""
    html = file.read_text(encoding="utf-8")
    return re.sub(r"<template data-language.*?</template>", "", html, flags=re.DOTALL)


class Page(HTMLParser):
    """A page's tags, and its text without scripts and styles, as it opens: in one language."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open = ""
        self.feed(opening(file))
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._open = tag
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open not in ("script", "style"):
            self.text += data


@pytest.fixture(params=list(CLASSES))
def study(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return fabricate(tmp_path, request.param)


def _results(study: Path) -> list[dict[str, Any]]:
    files = study.glob("cells/*/result.json")
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def _check_numbers(study: Path) -> None:
    file = write_report(study)
    html = opening(file)
    lines = dict(re.findall(r'<tr id="([^"]+)">(.*?)</tr>', html, re.DOTALL))
    done = [result for result in _results(study) if result["status"] == "done"]
    assert set(lines) == {result["id"] for result in done}
    for result in done:
        shown = dict(re.findall(r'data-metric="(\w+)" data-value="([^"]*)"', lines[result["id"]]))
        for name, metric in result["metrics"].items():
            if metric["value"] is None:
                assert shown[name] == ""
            else:
                assert float(shown[name]) == metric["value"]
                assert formatting.score(metric["value"]) in lines[result["id"]]
    board = pl.read_csv(study / "leaderboard.csv").filter(pl.col("status") == "done")
    for test in board["test"].drop_nulls():
        assert f'<td data-value="{test}"><strong>{test:.3f}</strong></td>' in html


def test_numbers_of_every_task_are_those_of_the_study(study: Path) -> None:
    _check_numbers(study)


def test_numbers_of_a_real_study_are_its_own(finished_study: Path) -> None:
    _check_numbers(finished_study)


def test_the_page_is_one_file(study: Path) -> None:
    file = write_report(study)
    assert file == study / "report.html"
    assert sorted(p.name for p in study.iterdir()) == [
        "cells",
        "evidence.json",
        "leaderboard.csv",
        "report.html",
        "report.json",
        "study.json",
        "tables",
        "tripod-ai.md",
    ]
    page = Page(file)
    references = [
        value
        for _, attributes in page.tags
        for name in ("src", "href", "action", "data", "poster", "srcset")
        if (value := attributes.get(name)) is not None
    ]
    assert all(reference.startswith(("#", "?language=")) for reference in references)
    assert "url(" not in (Path(html.__file__).parent / "page" / "page.css").read_text()


def test_what_has_no_score_is_shown_with_its_reason(study: Path) -> None:
    text = Page(write_report(study)).text
    assert "failed because of <reason> 4" in text
    assert "skipped because of <reason> 5" in text
    assert "undefined: no <positive> note" in text


def test_the_data_are_described(study: Path) -> None:
    text = Page(write_report(study)).text
    assert "3 rows of the table were left out" in text
    assert "2 × the text is empty" in text
    assert "2 identical and 1 nearly identical pairs" in text
    assert "class sepsis has only 3 notes in the test part" in text


def test_plotly_knows_every_property_of_every_figure(study: Path) -> None:
    read = load(study)
    figures = [charts.accuracy_against_cost(read, cost) for cost in charts.COSTS]
    drawn = [charts.roc, charts.precision_recall, charts.training, charts.router_load]
    for figure in [*figures, *(draw(read) for draw in drawn)]:
        assert figure is not None
        go.Figure(figure)  # raises on what it does not know


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    hostile = "</script><script>alert(1)</script><a href='https://example.org'>"
    fabricate(tmp_path, "binary", name=hostile)
    about = json.loads((tmp_path / "study.json").read_text(encoding="utf-8"))
    about["name"] = hostile
    about["data"]["warnings"] = [hostile]
    (tmp_path / "study.json").write_text(json.dumps(about), encoding="utf-8")
    file = write_report(tmp_path)
    assert "<script>alert" not in file.read_text(encoding="utf-8")
    page = Page(file)
    assert sum(tag == "script" for tag, _ in page.tags) == 6
    assert not any((a.get("href") or "").startswith("http") for _, a in page.tags)
    names = [trace["name"] for trace in charts.roc(load(tmp_path))["data"]]
    assert not any("<" in name for name in names)  # plotly, too, reads tags


@pytest.mark.parametrize("synthetic", [True, False])
def test_synthetic_notes_are_announced(tmp_path: Path, synthetic: bool) -> None:
    text = Page(write_report(fabricate(tmp_path, "binary", synthetic=synthetic))).text
    assert ("Synthetic notes." in text) == synthetic


def test_a_configuration_has_one_colour_in_every_chart(study: Path) -> None:
    read = load(study)
    drawn = [charts.accuracy_against_cost(read, cost) for cost in charts.COSTS]
    drawn += [charts.training(read), charts.router_load(read)]
    if read.about["task"] != "multiclass":  # there, a curve is a class
        drawn += [charts.roc(read), charts.precision_recall(read)]
    colours: dict[str, set[str]] = {}
    for figure in drawn:
        for trace in figure["data"]:
            name = re.sub(r", seed \d+$", "", trace["name"])
            style = trace.get("marker", {}).get("color") or trace["line"]["color"]
            colours.setdefault(name, set()).add(style)
    own = [colours[one.configuration] for one in read.done]
    assert [len(several) for several in own] == [1] * len(own)
    assert len(set.union(*own)) == len(own)


def test_up_to_49_configurations_differ_in_colour_or_symbol() -> None:
    assert len({(drawing.colour(n), drawing.symbol(n)) for n in range(49)}) == 49


def test_costs_are_drawn_with_the_intervals_of_the_scores(tmp_path: Path) -> None:
    read = load(fabricate(tmp_path, "binary"))
    drawn = charts.accuracy_against_cost(read, charts.COSTS[0])
    traces = {trace["name"]: trace for trace in drawn["data"]}
    for one in read.done:
        trace = traces[one.configuration]
        (above,), (below,) = trace["error_y"]["array"], trace["error_y"]["arrayminus"]
        assert one.test + above == pytest.approx(one.test_high, abs=1e-4)
        assert one.test - below == pytest.approx(one.test_low, abs=1e-4)


def test_the_menu_is_in_the_order_of_the_page(study: Path, finished_study: Path) -> None:
    for folder in (study, finished_study):
        page = Page(write_report(folder))
        links = [a["href"][1:] for tag, a in page.tags if tag == "a" and "class" not in a]
        sections = [a["id"] for tag, a in page.tags if tag == "section" and "id" in a]
        assert links == sections


def test_the_recommendation_comes_first(tmp_path: Path) -> None:
    page = Page(write_report(fabricate(tmp_path, "binary")))
    sentence = json.loads((tmp_path / "evidence.json").read_text())["sentence"]
    assert sentence in page.text
    assert page.text.index(sentence) < page.text.index("Leaderboard")


def test_findings_are_a_forest_plot_and_sentences_with_intervals(tmp_path: Path) -> None:
    file = write_report(fabricate(tmp_path, "binary"))
    text = Page(file).text
    assert (
        "configuration 0: pretrained minus configuration 1: tfidf-logistic "
        "+1.5 [−0.5, +3.5] neither"
    ) in text
    assert "minus configuration 2: moe +3.0 [+1.0, +5.0] first" in text
    sentences = json.loads((tmp_path / "report.json").read_text())["findings"]["best"]
    assert "+1.5 points [−0.5, +3.5]; not significantly different" in sentences[0]
    assert "+3.0 points [+1.0, +5.0]; configuration 0: pretrained is significantly" in sentences[1]
    forests = re.findall(r'class="zero".*?x1="([\d.]+)%".*?class="whisker".*?x1="([\d.]+)%"'
                         r' x2="([\d.]+)%"', opening(file), re.DOTALL)  # fmt: skip
    crosses = [float(low) < float(zero) < float(high) for zero, low, high in forests]
    assert sorted(crosses) == [False, False, True]
    assert "A constant answer, which ignores the text, scores 0.530" in text
    assert "configuration 3: transformer: not significantly better than a constant answer" in text


def test_the_price_of_a_difference_is_the_ratio_of_the_times(tmp_path: Path) -> None:
    study = load(fabricate(tmp_path, "binary"))
    for pair in findings.pairs(study)["best"]:
        times = [pair.first.seconds, pair.second.seconds]
        factor = max(times) / min(times)
        assert (f"took {factor:,.0f} times as long" in pair.sentence) == (factor >= 2)


def test_overfitting_is_a_rising_validation_loss_under_a_falling_training_loss(
    tmp_path: Path,
) -> None:
    fabricate(tmp_path, "binary")
    assert findings.overfitted(load(tmp_path)) == []
    file = next(f for f in tmp_path.glob("cells/*/result.json") if "c0-1" in str(f))
    result = json.loads(file.read_text())
    for entry in result["training"]:
        entry["validation_loss"] = 0.5 + 0.1 * abs(entry["epoch"] - 3)
    file.write_text(json.dumps(result))
    assert [run.id for run in findings.overfitted(load(tmp_path))] == ["c0-1"]


def test_a_study_without_a_finished_configuration_has_a_report(tmp_path: Path) -> None:
    text = Page(write_report(fabricate(tmp_path, "multiclass", configurations=0))).text
    assert "No configuration finished" in text
    assert "failed because of <reason> 0" in text


def test_a_hundred_runs_of_five_thousand_notes_stay_small(tmp_path: Path) -> None:
    fabricate(tmp_path, "binary", configurations=100, seeds=1, notes=5000)
    assert write_report(tmp_path).stat().st_size < 5_000_000


def test_thinned_curves_keep_their_area(tmp_path: Path) -> None:
    fabricate(tmp_path, "binary", configurations=1, seeds=1, notes=5000)
    read = load(tmp_path)
    table = read.finished[0].predictions("test")
    truth, score = table["label"] == "positive", table["prob_positive"]
    assert len(roc_curve(truth, score)[0]) > drawing.POINTS
    line = charts.roc(read)["data"][0]
    assert len(line["x"]) <= drawing.POINTS
    assert np.trapezoid(line["y"], line["x"]) == pytest.approx(
        roc_auc_score(truth, score), abs=1e-3
    )


def test_the_confusion_matrix_is_scikit_learns(tmp_path: Path) -> None:
    read = load(fabricate(tmp_path, "multiclass"))
    run, classes = read.finished[0], CLASSES["multiclass"]
    table = run.predictions("test")
    expected = confusion_matrix(table["label"], table["prediction"], labels=classes)
    assert tables.confusion(run, classes) == expected.tolist()


def test_the_front_leaves_out_what_a_cheaper_configuration_equals(tmp_path: Path) -> None:
    fabricate(tmp_path, "binary", unfinished=())
    board = pl.read_csv(tmp_path / "leaderboard.csv").with_columns(
        test=pl.Series([0.90, 0.90, 0.80, 0.70]),
        peak_memory_bytes=pl.Series([300, 200, 100, 150]),
    )
    board.write_csv(tmp_path / "leaderboard.csv")
    memory = next(cost for cost in charts.COSTS if cost.key == "memory")
    assert [one.configuration_id for one in charts.front(load(tmp_path).done, memory)] == [
        "c2",
        "c1",
    ]


def test_runs_that_the_leaderboard_does_not_know_stay_out(tmp_path: Path) -> None:
    fabricate(tmp_path, "binary")
    board = pl.read_csv(tmp_path / "leaderboard.csv")
    board.filter(pl.col("configuration_id") != "c1").write_csv(tmp_path / "leaderboard.csv")
    (tmp_path / "evidence.json").unlink()  # it knows c1
    assert "c1" not in {run.configuration_id for run in load(tmp_path).runs}


def test_a_folder_without_a_study_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is not a study folder"):
        write_report(tmp_path)


def test_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "study.json").write_text('{"format": 3}', encoding="utf-8")
    with pytest.raises(ValueError, match="this version reads formats 1 and 2"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (formatting.score(0.8814), "0.881"),
        (formatting.score(None), "–"),
        (formatting.seconds(0.0), "0 s"),
        (formatting.seconds(0.001), "< 0.01 s"),
        (formatting.seconds(0.454), "0.45 s"),
        (formatting.seconds(4.4), "4.4 s"),
        (formatting.seconds(9.996), "10 s"),
        (formatting.seconds(12.34), "12.3 s"),
        (formatting.seconds(59.96), "1 min 00 s"),
        (formatting.seconds(89), "1 min 29 s"),
        (formatting.seconds(150), "2 min 30 s"),
        (formatting.seconds(245), "4 min 05 s"),
        (formatting.seconds(3599.7), "1 h 00 min"),
        (formatting.seconds(5399), "1 h 30 min"),
        (formatting.seconds(7980), "2 h 13 min"),
        (formatting.seconds(12_000), "3 h 20 min"),
        (formatting.seconds(None), "–"),
        (formatting.size(999), "999 B"),
        (formatting.size(999_600), "1 MB"),
        (formatting.size(640_000_000), "640 MB"),
        (formatting.size(1_240_000_000), "1.24 GB"),
        (formatting.size(2_000_000_000), "2 GB"),
        (formatting.size(None), "–"),
        (formatting.energy(4.2e-6), "0.0042 Wh"),
        (formatting.energy(1.5), "1.5 kWh"),
        (formatting.mass(2.3e-7), "0.00023 g"),
        (formatting.mass(0.5), "500 g"),
        (formatting.parameters(99_072), "99.1 k"),
        (formatting.parameters(12), "12"),
        (formatting.count(5444), "5,444"),
        (formatting.share(0.1234), "12.3%"),
        (formatting.score(-0.0549), "−0.055"),
        (formatting.points(-0.0549), "−5.5"),
        (formatting.points(0.1, 0), "+10"),
        (formatting.estimate(7), "7"),
        (formatting.estimate(1234), "1,200"),
        (formatting.metric("f1_macro"), "F1 macro"),
        (formatting.metric("roc_auc"), "ROC AUC"),
    ],
)
def test_numbers_are_written_for_people(written: str, expected: str) -> None:
    assert written == expected


def test_the_numbers_as_json_and_tables(tmp_path: Path) -> None:
    fabricate(tmp_path, "binary", name="a_b & c")
    write_report(tmp_path)
    read = json.loads((tmp_path / "report.json").read_text())
    assert [one["configuration_id"] for one in read["configurations"]] == [
        one.configuration_id for one in load(tmp_path).configurations
    ]
    assert len(read["findings"]["best"]) == 3
    assert 0 <= read["calibration"]["ece"] <= 1
    board = pl.read_csv(tmp_path / "tables" / "leaderboard.csv")
    assert board["Configuration"].to_list() == [one.configuration for one in load(tmp_path).done]
    pairs = pl.read_csv(tmp_path / "tables" / "comparisons.csv")
    assert sorted(pairs["Difference"].to_list()) == [1.5, 3.0, 4.5]
    source = (tmp_path / "tables" / "leaderboard.tex").read_text()
    assert r"a\_b \& c 0: pretrained" in source
    body = source.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert len(body) == board.height
    assert all(len(re.findall(r"(?<!\\)&", line)) == board.width - 1 for line in body)


def test_a_study_without_configurations_has_empty_tables(tmp_path: Path) -> None:
    write_report(fabricate(tmp_path, "binary", configurations=0))
    assert json.loads((tmp_path / "report.json").read_text())["configurations"] != []
    assert "tabular" in (tmp_path / "tables" / "leaderboard.tex").read_text()


@pytest.mark.parametrize("task", sorted(CLASSES))
def test_the_checklist_is_filled_in_and_marks_what_is_open(tmp_path: Path, task: str) -> None:
    write_report(fabricate(tmp_path, task))
    text = (tmp_path / "tripod-ai.md").read_text()
    lines = [line for line in text.splitlines() if re.match(r"\| \d", line)]
    unanswered = [line for line in lines if "**Open.**" in line]
    assert f"{len(lines) - len(unanswered)} of {len(lines)} items; {len(unanswered)} need" in text
    numbers = [int(re.match(r"\| (\d+)", line)[1]) for line in lines]
    assert sorted(set(numbers)) == list(range(1, 28))
    assert "3 rows of the table were left out" in text
    assert "2 exact and 1 near duplicates" in text
    assert ", ".join(CLASSES[task]) in text


def test_three_sentences_answer_a_clinicians_questions(study: Path) -> None:
    page = Page(write_report(study))
    about = json.loads((study / "study.json").read_text())
    sentences = json.loads((study / "report.json").read_text())["summary"]
    assert len(sentences) == 3
    assert " ".join(sentences) in page.text
    (run,) = (run for run in load(study).finished if run.id == about["recommended"]["run"])
    asked = {
        "binary": ("“positive”?", ["recall", "precision"]),
        "multiclass": ("right one of 5 classes?", ["accuracy"]),
        "multilabel": ("which of 4 labels", ["recall_weighted", "accuracy"]),
    }
    question, shown = asked[about["task"]]
    assert question in sentences[0]
    assert "4 methods learned from 240 labelled notes" in sentences[0]
    assert "120 notes that they had not seen" in sentences[0]
    for name in shown:
        value, low, high = (round(100 * run.metrics[name][end]) for end in ("value", "low", "high"))
        assert f"{value} ({low} to {high})" in sentences[1]
    assert "1 of the 3 others is not significantly different" in sentences[2]


def test_the_summary_warns_where_nothing_was_learned(tmp_path: Path) -> None:
    folder = fabricate(tmp_path, "binary")
    about = json.loads((folder / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps(about | {"recommended": None}))
    sentences = summary.three_sentences(load(folder))
    assert sentences[2].startswith("But no method was shown to be better")
    assert (
        summary.three_sentences(load(fabricate(tmp_path / "none", "binary", configurations=0)))
        == []
    )
