"""Style of the charts: colours, lines and axes, as JSON for plotly.

The colours are Okabe and Ito's, which colour-blind readers can distinguish; symbols and dashes
repeat the distinction. Backgrounds are transparent and text takes the page's colour, so that one
figure suits the light page, the dark page and paper. Names go through ``escape``, because plotly
interprets some HTML tags in every text.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.study.read_results import StudyResults

Figure = dict[str, Any]

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#888888")
DASHES = ("solid", "dash", "dot", "dashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "pentagon")
SHOWN = 8
POINTS = 200


def style_numbers(study: StudyResults) -> dict[str, int]:
    """Number the configurations by place on the leaderboard: one number, one colour everywhere."""
    return {
        configuration.configuration_id: number
        for number, configuration in enumerate(study.configurations)
    }


def colour(number: int) -> str:
    """Return the colour of a number."""
    return COLOURS[number % len(COLOURS)]


def symbol(number: int) -> str:
    """Return the symbol of a number; up to 49 numbers differ in colour or symbol."""
    return SYMBOLS[(number + number // len(COLOURS)) % len(SYMBOLS)]


def line(
    number: int, name: str, x: Sequence[float], y: Sequence[float], *, visible: bool
) -> dict[str, Any]:
    """Return a named line, in the colour and dash of its number.

    An invisible one is drawn when the reader clicks on its name.
    """
    return {
        "type": "scatter",
        "mode": "lines",
        "name": escape(name),
        "x": x,
        "y": y,
        "line": {
            "color": colour(number),
            "dash": DASHES[number // len(COLOURS) % len(DASHES)],
            "width": 2,
        },
        "text": escape(name),
        "hovertemplate": "%{text}<br>(%{x:.3f}, %{y:.3f})<extra></extra>",
        "visible": True if visible else "legendonly",
    }


def guide(x: Sequence[float], y: Sequence[float], name: str) -> dict[str, Any]:
    """Return a dotted grey line."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": x,
        "y": y,
        "line": {"color": "#888888", "dash": "dot", "width": 1.5},
        "hoverinfo": "skip",
    }


def figure(traces: list[dict[str, Any]], *, x: str, y: str, height: int = 440) -> Figure:
    """Return traces with the page's axes, legend and fonts."""
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


def unit_square(drawn: Figure) -> Figure:
    """Set both axes to run from 0 to 1."""
    drawn["layout"]["height"] = 600  # leaves room for the legend below the curves
    drawn["layout"]["xaxis"]["range"] = [-0.01, 1.01]
    drawn["layout"]["yaxis"]["range"] = [-0.01, 1.01]
    return drawn


def thin(x: NDArray[Any], y: NDArray[Any]) -> tuple[list[float], list[float]]:
    """Keep points evenly spaced along the curve, which preserves steep and flat parts."""
    distance = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    kept = np.unique(
        np.searchsorted(distance, np.linspace(0, distance[-1], POINTS)).clip(max=len(x) - 1)
    )
    return [rounded(v) for v in x[kept]], [rounded(v) for v in y[kept]]


def rounded(value: float) -> float:
    """Round to four digits: more would only make the page larger."""
    return round(float(value), 4)
