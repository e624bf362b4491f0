"""Charts of the page, as JSON for plotly."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clinadapt.core import formatting
from clinadapt.core.messages import Message, shown, translate
from clinadapt.evaluation.ranking import precision_recall_curve, roc_curve
from clinadapt.report.drawing import (
    SHOWN,
    Figure,
    colour,
    figure,
    guide,
    line,
    rounded,
    style_numbers,
    symbol,
    thin,
    unit_square,
)
from clinadapt.report.words import metric
from clinadapt.study.read_results import LeaderboardRow, RunResult, StudyResults


@dataclass(frozen=True)
class Cost:
    """A kind of cost of a configuration."""

    key: str
    title: Message
    suffix: str
    of: Callable[[LeaderboardRow], float | None]
    spell: Callable[[float | None], str]


COSTS = (
    Cost(
        "seconds",
        Message("time to encode and fit"),
        " s",
        lambda configuration: configuration.seconds,
        formatting.seconds,
    ),
    Cost(
        "memory",
        Message("peak memory"),
        "B",
        lambda configuration: configuration.peak_memory_bytes,
        formatting.size,
    ),
    Cost(
        "parameters",
        Message("trainable parameters"),
        "",
        lambda configuration: configuration.trainable_parameters,
        formatting.parameters,
    ),
)


def front(configurations: Sequence[LeaderboardRow], cost: Cost) -> list[LeaderboardRow]:
    """Return the Pareto front: configurations better than every cheaper one, cheapest first."""
    kept: list[LeaderboardRow] = []
    for _price, configuration in sorted(
        _priced(configurations, cost), key=lambda p: (p[0], -(p[1].test or 0.0))
    ):
        if not kept or (configuration.test or 0.0) > (kept[-1].test or 0.0):
            kept.append(configuration)
    return kept


def accuracy_against_cost(study: StudyResults, cost: Cost) -> Figure:
    """Draw each configuration's test score, with interval, over its cost, and the Pareto front."""
    numbers = style_numbers(study)
    traces = [
        _mark(configuration, price, numbers[configuration.configuration_id])
        for price, configuration in _priced(study.done, cost)
    ]
    on_front = front(study.done, cost)
    traces.insert(
        0,
        {
            "type": "scatter",
            "mode": "lines",
            "name": translate("Pareto front"),
            "x": [cost.of(configuration) for configuration in on_front],
            "y": [configuration.test for configuration in on_front],
            "line": {"color": "#888888", "width": 1.5, "dash": "dash", "shape": "hv"},
            "hoverinfo": "skip",
        },
    )
    if study.best and cost.of(study.best):
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": translate("best on validation"),
                "x": [cost.of(study.best)],
                "y": [study.best.test],
                "marker": {
                    "symbol": "circle-open",
                    "size": 19,
                    "color": "#D55E00",
                    "line": {"width": 2},
                },
                "hoverinfo": "skip",
            }
        )
    drawn = figure(
        traces,
        x=shown(cost.title),
        y=translate("test {metric}", metric=metric(study.about["metric"])),
    )
    drawn["layout"]["xaxis"] |= {
        "type": "log",
        "ticksuffix": cost.suffix,
        "tickformat": "~s" if cost.suffix != " s" else "~g",
        "nticks": 8,
    }
    return drawn


def _mark(configuration: LeaderboardRow, price: float, number: int) -> dict[str, Any]:
    test, low, high = configuration.test, configuration.test_low, configuration.test_high
    assert test is not None
    drawn = {
        "type": "scatter",
        "mode": "markers",
        "name": escape(configuration.configuration),
        "x": [price],
        "y": [test],
        "text": [_costs_in_words(configuration)],
        "hovertemplate": "%{text}<extra></extra>",
        "showlegend": number < SHOWN,
        "marker": {
            "color": colour(number),
            "symbol": symbol(number),
            "size": 10,
            "line": {"width": 1, "color": "rgba(255,255,255,0.7)"},
        },
    }
    if low is not None and high is not None:
        drawn["error_y"] = {
            "type": "data",
            "symmetric": False,
            "array": [rounded(high - test)],
            "arrayminus": [rounded(test - low)],
            "thickness": 1,
            "width": 3,
        }
    return drawn


def roc(study: StudyResults) -> Figure:
    """Draw sensitivity over the false positive rate."""
    traces = []
    for position, curve in enumerate(_curves(study)):
        false_positive, true_positive = roc_curve(curve.truth, curve.score)
        points = thin(false_positive, true_positive)
        traces.append(line(curve.number, curve.name, *points, visible=position < SHOWN))
    traces.append(guide([0, 1], [0, 1], translate("chance")))
    return unit_square(
        figure(
            traces,
            x=translate("1 − specificity (false positive rate)"),
            y=translate("sensitivity (recall)"),
        )
    )


def precision_recall(study: StudyResults) -> Figure:
    """Draw precision over recall, in the steps that average precision integrates."""
    traces = []
    for position, curve in enumerate(_curves(study)):
        precision, recall = precision_recall_curve(curve.truth, curve.score)
        points = thin(recall, precision)
        drawn = line(curve.number, curve.name, *points, visible=position < SHOWN)
        drawn["line"]["shape"] = "hv"
        traces.append(drawn)
    return unit_square(
        figure(
            traces,
            x=translate("recall (sensitivity)"),
            y=translate("precision (positive predictive value)"),
        )
    )


def training(study: StudyResults) -> Figure | None:
    """Draw the validation score by epoch, one line per run and one colour per configuration."""
    # Private training does not score validation notes.
    trained = [c for c in study.finished if "validation_score" in (c.training or [{}])[0]]
    first = list(dict.fromkeys(run.configuration_id for run in trained))[:SHOWN]
    numbers = style_numbers(study)
    traces: list[dict[str, Any]] = []
    for run in trained:
        drawn = line(
            numbers[run.configuration_id],
            run.configuration,
            [epoch["epoch"] for epoch in run.training],
            [epoch["validation_score"] for epoch in run.training],
            visible=run.configuration_id in first,
        )
        drawn |= {
            "mode": "lines+markers",
            "marker": {"size": 5},
            "legendgroup": run.configuration_id,
            "showlegend": not any(one["legendgroup"] == run.configuration_id for one in traces),
            "text": _named(run),
            "hovertemplate": translate("%{text}<br>epoch %{x}: %{y:.3f}<extra></extra>"),
        }
        traces.append(drawn)
    if not traces:
        return None
    drawn = figure(
        traces,
        x=translate("epoch"),
        y=translate("validation {metric}", metric=metric(study.about["metric"])),
    )
    drawn["layout"]["xaxis"] |= {"tickformat": "d", "nticks": 12}
    return drawn


def router_load(study: StudyResults) -> Figure | None:
    """Draw each expert's load in the last epoch, relative to an even share."""
    routed = [c for c in study.finished if c.training and c.training[-1].get("router_load")]
    numbers = style_numbers(study)
    traces = []
    for position, run in enumerate(routed):
        load = run.training[-1]["router_load"]
        traces.append(
            {
                "type": "bar",
                "name": _named(run),
                "x": list(range(1, len(load) + 1)),
                "y": [rounded(part * len(load) / sum(load)) for part in load],
                "marker": {"color": colour(numbers[run.configuration_id])},
                "hovertemplate": translate("expert %{x}: %{y:.2f} × an even share<extra></extra>"),
                "visible": True if position < SHOWN // 2 else "legendonly",
            }
        )
    if not traces:
        return None
    drawn = figure(
        traces,
        x=translate("expert"),
        y=translate("tokens, as multiples of an even share"),
        height=340,
    )
    drawn["layout"]["xaxis"] |= {"dtick": 1}
    drawn["layout"]["shapes"] = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1,
         "line": {"color": "#888888", "dash": "dash", "width": 1.5}}
    ]  # fmt: skip
    return drawn


@dataclass(frozen=True)
class _Curve:
    number: int
    name: str
    truth: NDArray[np.bool_]
    score: NDArray[np.float64]


def _curves(study: StudyResults) -> Iterator[_Curve]:
    """Yield the task's binary curves that have both classes on the test part."""
    for curve in _candidates(study):
        if curve.truth.any() and not curve.truth.all():
            yield curve


def _candidates(study: StudyResults) -> Iterator[_Curve]:
    classes, numbers = study.about["classes"], style_numbers(study)
    if study.about["task"] == "binary":
        for run in study.first_runs:
            number = numbers[run.configuration_id]
            yield _one_class(run, study.about["positive"], number, run.configuration)
    elif study.about["task"] == "multiclass":
        if study.handed_over is not None:
            for number, name in enumerate(classes):
                yield _one_class(study.handed_over, name, number, name)
    else:
        for run in study.first_runs:
            table = run.predictions("test")
            truth = table.select(pl.col("label").list.contains(c).alias(c) for c in classes)
            score = table.select(f"prob_{c}" for c in classes)
            number = numbers[run.configuration_id]
            yield _Curve(
                number, run.configuration, truth.to_numpy().ravel(), score.to_numpy().ravel()
            )


def _one_class(run: RunResult, positive: str, number: int, name: str) -> _Curve:
    table = run.predictions("test")
    truth = (table["label"] == positive).to_numpy()
    return _Curve(number, name, truth, table[f"prob_{positive}"].to_numpy())


def _priced(
    configurations: Sequence[LeaderboardRow], cost: Cost
) -> list[tuple[float, LeaderboardRow]]:
    """Pair configurations with their cost; costs of 0 do not fit a logarithmic axis."""
    return [
        (price, configuration)
        for configuration in configurations
        if configuration.test is not None and (price := cost.of(configuration))
    ]


def _costs_in_words(configuration: LeaderboardRow) -> str:
    return "<br>".join(
        [
            f"<b>{escape(configuration.configuration)}</b>",
            translate(
                "test {value:score} [{low:score}, {high:score}]",
                value=configuration.test,
                low=configuration.test_low,
                high=configuration.test_high,
            ),
            *(
                translate(
                    "{name}: {value}", name=cost.title, value=cost.spell(cost.of(configuration))
                )
                for cost in COSTS
            ),
        ]
    )


def _named(run: RunResult) -> str:
    return translate("{name}, seed {seed}", name=escape(run.configuration), seed=run.seed)
