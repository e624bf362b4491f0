"""What plotly draws, as the JSON that it takes.

Colours are Okabe and Ito's, told apart by the colour-blind; a symbol or a dash says the same again.
Backgrounds are transparent and text takes the page's colour, so that one figure serves light, dark
and paper. Names go through ``escape``: plotly reads a part of HTML in every text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from clinadapt.report import words
from clinadapt.report.load import Cell, Row, Study

Figure = dict[str, Any]

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#888888")
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "pentagon")
SHOWN = 8
POINTS = 200


@dataclass(frozen=True)
class Cost:
    """One way to count what a row costs."""

    key: str
    title: str
    suffix: str
    of: Callable[[Row], float | None]
    spell: Callable[[float | None], str]


COSTS = (
    Cost("seconds", "time to encode and fit", " s", lambda row: row.seconds, words.seconds),
    Cost("memory", "peak memory", "B", lambda row: row.peak_memory_bytes, words.size),
    Cost(
        "parameters",
        "trainable parameters",
        "",
        lambda row: row.trainable_parameters,
        words.parameters,
    ),
)


def front(rows: Sequence[Row], cost: Cost) -> list[Row]:
    """Keep the rows that no cheaper row beats or equals, cheapest first."""
    kept: list[Row] = []
    for _price, row in sorted(_priced(rows, cost), key=lambda p: (p[0], -(p[1].test or 0.0))):
        if not kept or (row.test or 0.0) > (kept[-1].test or 0.0):
            kept.append(row)
    return kept


def accuracy_against_cost(study: Study, cost: Cost) -> Figure:
    """Draw each row's test score over what it costs, and the front."""
    priced = _priced(study.done, cost)
    families = list(dict.fromkeys(row.family or "" for _, row in priced))
    traces = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": escape(family),
            "x": [price for price, row in priced if row.family == family],
            "y": [row.test for _, row in priced if row.family == family],
            "text": [_costs_in_words(row) for _, row in priced if row.family == family],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {
                "color": COLOURS[number % len(COLOURS)],
                "symbol": SYMBOLS[number % len(SYMBOLS)],
                "size": 10,
                "line": {"width": 1, "color": "rgba(255,255,255,0.7)"},
            },
        }
        for number, family in enumerate(families)
    ]
    on_front = front(study.done, cost)
    traces.insert(
        0,
        {
            "type": "scatter",
            "mode": "lines",
            "name": "Pareto front",
            "x": [cost.of(row) for row in on_front],
            "y": [row.test for row in on_front],
            "line": {"color": "#888888", "width": 1.5, "dash": "dash", "shape": "hv"},
            "hoverinfo": "skip",
        },
    )
    if study.best and cost.of(study.best):
        traces.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": "best on validation",
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
    figure = _figure(traces, x=cost.title, y=f"test {words.metric(study.about['metric'])}")
    figure["layout"]["xaxis"] |= {
        "type": "log",
        "ticksuffix": cost.suffix,
        "tickformat": "~s" if cost.suffix != " s" else "~g",
        "nticks": 8,
    }
    return figure


def roc(study: Study) -> Figure:
    """Draw sensitivity over the false positive rate."""
    traces = []
    for number, curve in enumerate(_curves(study)):
        false_positive, true_positive, _ = roc_curve(curve.truth, curve.score)
        traces.append(_line(number, curve.name, *_thin(false_positive, true_positive)))
    traces.append(_guide([0, 1], [0, 1], "chance"))
    return _unit_square(
        _figure(traces, x="1 − specificity (false positive rate)", y="sensitivity (recall)")
    )


def precision_recall(study: Study) -> Figure:
    """Draw precision over recall; each step is held as the curve's area counts it."""
    traces = []
    for number, curve in enumerate(_curves(study)):
        precision, recall, _ = precision_recall_curve(
            curve.truth, curve.score, drop_intermediate=True
        )
        line = _line(number, curve.name, *_thin(recall, precision))
        line["line"]["shape"] = "hv"
        traces.append(line)
    return _unit_square(
        _figure(traces, x="recall (sensitivity)", y="precision (positive predictive value)")
    )


def training(study: Study) -> Figure | None:
    """Draw the validation score by epoch, one line per cell and one colour per row."""
    trained = [cell for cell in study.finished if cell.training]
    numbers = {row_id: n for n, row_id in enumerate(dict.fromkeys(c.row_id for c in trained))}
    traces: list[dict[str, Any]] = []
    for cell in trained:
        line = _line(
            numbers[cell.row_id],
            cell.row,
            [epoch["epoch"] for epoch in cell.training],
            [epoch["validation_score"] for epoch in cell.training],
        )
        line |= {
            "mode": "lines+markers",
            "marker": {"size": 5},
            "legendgroup": cell.row_id,
            "showlegend": not any(line["legendgroup"] == cell.row_id for line in traces),
            "text": f"{escape(cell.row)}, seed {cell.seed}",
            "hovertemplate": "%{text}<br>epoch %{x}: %{y:.3f}<extra></extra>",
        }
        traces.append(line)
    if not traces:
        return None
    figure = _figure(traces, x="epoch", y=f"validation {words.metric(study.about['metric'])}")
    figure["layout"]["xaxis"] |= {"tickformat": "d", "nticks": 12}
    return figure


def router_load(study: Study) -> Figure | None:
    """Draw what each expert received in the last epoch, against an even share."""
    routed = [c for c in study.finished if c.training and c.training[-1].get("router_load")]
    traces = []
    for number, cell in enumerate(routed):
        load = cell.training[-1]["router_load"]
        traces.append(
            {
                "type": "bar",
                "name": f"{escape(cell.row)}, seed {cell.seed}",
                "x": list(range(1, len(load) + 1)),
                "y": [_rounded(part * len(load) / sum(load)) for part in load],
                "marker": {"color": COLOURS[number % len(COLOURS)]},
                "hovertemplate": "expert %{x}: %{y:.2f} × an even share<extra></extra>",
                "visible": True if number < SHOWN // 2 else "legendonly",
            }
        )
    if not traces:
        return None
    figure = _figure(traces, x="expert", y="tokens, as multiples of an even share", height=340)
    figure["layout"]["xaxis"] |= {"dtick": 1}
    figure["layout"]["shapes"] = [
        {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": 1, "y1": 1,
         "line": {"color": "#888888", "dash": "dash", "width": 1.5}}
    ]  # fmt: skip
    return figure


@dataclass(frozen=True)
class _Curve:
    name: str
    truth: NDArray[np.bool_]
    score: NDArray[np.float64]


def _curves(study: Study) -> Iterator[_Curve]:
    """Give the yes-or-no questions of the task, those that have both answers on the test part."""
    for curve in _questions(study):
        if curve.truth.any() and not curve.truth.all():
            yield curve


def _questions(study: Study) -> Iterator[_Curve]:
    classes = study.about["classes"]
    if study.about["task"] == "binary":
        for cell in study.first_cells:
            yield _one_class(cell, study.about["positive"], cell.row)
    elif study.about["task"] == "multiclass":
        if study.best_cell is not None:
            for name in classes:
                yield _one_class(study.best_cell, name, name)
    else:
        for cell in study.first_cells:
            table = cell.test_predictions()
            truth = table.select(pl.col("label").list.contains(c).alias(c) for c in classes)
            score = table.select(f"prob_{c}" for c in classes)
            yield _Curve(cell.row, truth.to_numpy().ravel(), score.to_numpy().ravel())


def _one_class(cell: Cell, positive: str, name: str) -> _Curve:
    table = cell.test_predictions()
    truth = (table["label"] == positive).to_numpy()
    return _Curve(name, truth, table[f"prob_{positive}"].to_numpy())


def _thin(x: NDArray[Any], y: NDArray[Any]) -> tuple[list[float], list[float]]:
    """Keep points that lie evenly along the curve: steep and flat parts keep their shape."""
    way = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    kept = np.unique(np.searchsorted(way, np.linspace(0, way[-1], POINTS)).clip(max=len(x) - 1))
    return [_rounded(v) for v in x[kept]], [_rounded(v) for v in y[kept]]


def _priced(rows: Sequence[Row], cost: Cost) -> list[tuple[float, Row]]:
    """Pair rows with their cost; a logarithmic axis has no place for nothing."""
    return [(price, row) for row in rows if row.test is not None and (price := cost.of(row))]


def _costs_in_words(row: Row) -> str:
    return "<br>".join(
        [
            f"<b>{escape(row.row)}</b>",
            f"test {words.score(row.test)}"
            f" [{words.score(row.test_low)}, {words.score(row.test_high)}]",
            *(f"{cost.title}: {cost.spell(cost.of(row))}" for cost in COSTS),
        ]
    )


def _line(number: int, name: str, x: Sequence[float], y: Sequence[float]) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": escape(name),
        "x": x,
        "y": y,
        "line": {
            "color": COLOURS[number % len(COLOURS)],
            "dash": DASHES[number // len(COLOURS) % len(DASHES)],
            "width": 2,
        },
        "text": escape(name),
        "hovertemplate": "%{text}<br>(%{x:.3f}, %{y:.3f})<extra></extra>",
        "visible": True if number < SHOWN else "legendonly",
    }


def _guide(x: Sequence[float], y: Sequence[float], name: str) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": "#888888", "dash": "dot", "width": 1.5},
        "hoverinfo": "skip",
    }


def _figure(traces: list[dict[str, Any]], *, x: str, y: str, height: int = 440) -> Figure:
    return {
        "data": traces,
        "layout": {
            "height": height,
            "margin": {"l": 60, "r": 12, "t": 12, "b": 50},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": {"family": "system-ui, sans-serif", "size": 12},
            "xaxis": {
                "title": {"text": x, "standoff": 8},
                "zeroline": False,
                "showline": True,
            },
            "yaxis": {"title": {"text": y}, "zeroline": False, "automargin": True},
            "legend": {"orientation": "h", "y": -0.2, "yanchor": "top"},
            "hoverlabel": {"bgcolor": "#1c2128", "font": {"color": "#ffffff"}, "align": "left"},
            "dragmode": False,
        },
    }


def _unit_square(figure: Figure) -> Figure:
    figure["layout"]["height"] = 600  # the legend stands below the curves
    figure["layout"]["xaxis"]["range"] = [-0.01, 1.01]
    figure["layout"]["yaxis"]["range"] = [-0.01, 1.01]
    return figure


def _rounded(value: float) -> float:
    return round(float(value), 4)
