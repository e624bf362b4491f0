"""Assemble the report page: template, style, script, figures and plotly in one file."""

from __future__ import annotations

import base64
import gzip
from functools import cache
from importlib.metadata import metadata
from itertools import chain
from typing import Any

from plotly.offline import get_plotlyjs

from clinadapt.core import html
from clinadapt.report import (
    charts,
    decisions,
    findings,
    growth,
    spending,
    summary,
    tables,
    verdict,
)
from clinadapt.report.drawing import Figure
from clinadapt.study.read_results import StudyResults


def page(study: StudyResults) -> str:
    """Return a study's report as one HTML page.

    Parameters
    ----------
    study : StudyResults
        Results of a study; see :func:`clinadapt.study.read_results.load`.

    Returns
    -------
    str
        HTML that needs no network and holds no text of any note.
    """
    environment = html.page_environment("clinadapt.report")
    return environment.get_template("page.html.jinja").render(
        study=study,
        style=html.source(environment, html.STYLE),
        script=html.source(environment, "page.js"),
        library=_library(),
        documentation=_documentation(),
        figures=_figures(study),
        unit=study.unit,
        **_tables(study),
    )


@cache
def _library() -> str:
    """Return plotly's script, compressed to two fifths; the page decompresses it."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), mtime=0)).decode()


@cache
def _documentation() -> str:
    """Return the address of the documentation, which a reader may follow and the page does not."""
    addresses = metadata("clinadapt").get_all("Project-URL") or []
    return next(one.split(", ")[1] for one in addresses if one.startswith("Documentation, "))


def _figures(study: StudyResults) -> dict[str, Figure]:
    figures: dict[str, Figure | None] = {
        f"cost-{cost.key}": charts.accuracy_against_cost(study, cost) for cost in charts.COSTS
    }
    figures |= {
        "roc": charts.roc(study),
        "precision-recall": charts.precision_recall(study),
        "growth": growth.learning_curves(study),
        "reliability": decisions.reliability(study),
        "decisions": decisions.decision_curve(study),
        "training": charts.training(study),
        "router": charts.router_load(study),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def _tables(study: StudyResults) -> dict[str, Any]:
    run, classes = study.handed_over, study.about["classes"]
    multilabel = study.about["task"] == "multilabel"
    compared = findings.pairs(study)
    said = verdict.verdict(study)
    groups = study.subgroups["subgroups"] if study.subgroups else []
    return {
        "axis": tables.score_axis(
            end
            for configuration in study.done
            for end in (configuration.test, configuration.test_low, configuration.test_high)
        ),
        "group_axis": tables.score_axis(
            group[end] for group in groups for end in ("value", "low", "high")
        ),
        "difference_axis": tables.score_axis(
            end
            for pair in chain.from_iterable(compared.values())
            for end in (0.0, pair.value, pair.low, pair.high)
        ),
        "in_short": summary.three_sentences(study),
        "handed": "best" if said is None or said.status == "none" else said.status,
        # Not in the evidence of earlier versions.
        "doubts": (study.evidence or {}).get("doubts"),
        "folds": study.about["design"].get("folds", 1),
        "verdict": said,
        "headings": findings.HEADINGS,
        "pairs": findings.without_repeats(compared),
        "all_pairs": list(chain(*findings.without_repeats(compared).values())),
        "not_useful": findings.not_useful(study),
        "overfitted": findings.overfitted(study),
        "every_pair": list(findings.every_pair(study)),
        "unranked": tables.unranked(study),
        "fronts": [(cost, charts.front(study.done, cost)) for cost in charts.COSTS],
        "confusion": tables.confusion(run, classes) if run and not multilabel else None,
        "per_label": tables.per_label(run, classes) if run and multilabel else None,
        "metric_names": tables.metric_names(study),
        "left_out": tables.left_out(study),
        "truncated": tables.truncated(study),
        "spent": spending.spent(study),
        "grids": spending.grids(study),
        "energy_warnings": spending.warnings(study),
        "meaning": decisions.meaning(study),
        "operating_points": decisions.points(study),
    }
