"""Learning curves: each configuration's score by number of labelled notes."""

from __future__ import annotations

from html import escape
from typing import Any

from clinadapt.core import formatting
from clinadapt.core.messages import translate
from clinadapt.report.drawing import SHOWN, Figure, colour, figure, rounded, style_numbers, symbol
from clinadapt.report.words import metric
from clinadapt.study.read_results import StudyResults


def learning_curves(study: StudyResults) -> Figure | None:
    """Draw measured points with intervals, and fitted power laws with bands."""
    if study.curves is None:
        return None
    traces: list[dict[str, Any]] = []
    numbers = style_numbers(study)
    for position, configuration in enumerate(study.curves["configurations"]):
        points = [point for point in configuration["points"] if point["score"] is not None]
        number = numbers[configuration["configuration_id"]]
        common = {
            "legendgroup": configuration["configuration_id"],
            "visible": True if position < SHOWN else "legendonly",
        }
        if configuration["fitted"]:
            notes, value, low, high = zip(*configuration["fitted"], strict=True)
            across = [round(n) for n in notes]
            traces += [
                common
                | {
                    "type": "scatter",
                    "mode": "lines",
                    "x": [*across, *reversed(across)],
                    "y": [rounded(v) for v in (*high, *reversed(low))],
                    "fill": "toself",
                    "fillcolor": f"{colour(number)}22",
                    "line": {"width": 0},
                    "hoverinfo": "skip",
                    "showlegend": False,
                },
                common
                | {
                    "type": "scatter",
                    "mode": "lines",
                    "x": across,
                    "y": [rounded(v) for v in value],
                    "line": {"color": colour(number), "width": 1.5, "dash": "dot"},
                    "hoverinfo": "skip",
                    "showlegend": False,
                },
            ]
        traces.append(
            common
            | {
                "type": "scatter",
                "mode": "markers",
                "name": escape(configuration["configuration"]),
                "x": [point[study.unit.many] for point in points],
                "y": [rounded(point["score"]) for point in points],
                "error_y": {
                    "type": "data",
                    "symmetric": False,
                    "array": [rounded(point["high"] - point["score"]) for point in points],
                    "arrayminus": [rounded(point["score"] - point["low"]) for point in points],
                },
                "text": [
                    translate(
                        "{name}<br>{n} runs",
                        name=escape(configuration["configuration"]),
                        n=point["runs"],
                    )
                    for point in points
                ],
                "hovertemplate": translate(
                    "%{{text}}<br>%{{x:,}} {units}: %{{y:.3f}}<extra></extra>",
                    units=study.unit.many,
                ),
                "marker": {
                    "color": colour(number),
                    "symbol": symbol(number),
                    "size": 9,
                },
            }
        )
    drawn = figure(
        traces,
        x=translate("labelled {units} (training and validation)", units=study.unit.many),
        y=translate("test {metric}", metric=metric(study.about["metric"])),
        height=520,
    )
    shown = [round(n * 10**power) for power in range(1, 7) for n in (1, 2, 5)]
    drawn["layout"]["xaxis"] |= {
        "type": "log",
        "tickvals": shown,
        "ticktext": [formatting.count(notes) for notes in shown],
    }
    return drawn
