"""Assemble the report page: template, style, script, figures and plotly in one file."""

from __future__ import annotations

import base64
import gzip
import re
from functools import cache
from importlib.metadata import metadata
from itertools import chain
from typing import Any

from jinja2 import Environment
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from clinadapt.core import html
from clinadapt.core.language import LANGUAGES, use_language
from clinadapt.core.messages import Message, shown, translate
from clinadapt.report import (
    abstaining,
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

HANDED = {
    "recommended": Message("The recommended configuration"),
    "candidate": Message("The candidate"),
    "none": Message("The configuration that is best on validation"),
}


def page(study: StudyResults, fixed: str | None = None) -> str:
    """Return a study's report as one HTML page, in each language.

    Parameters
    ----------
    study : StudyResults
        Results of a study; see :func:`clinadapt.study.read_results.load`.
    fixed : str, optional
        Language in which the page opens; by default, that of the browser.

    Returns
    -------
    str
        HTML that needs no network and holds no text of any note.
    """
    environment = html.page_environment("clinadapt.report")
    contents, titles = {}, {}
    for code in LANGUAGES:
        with use_language(code):
            contents[code] = _content(environment, study)
            titles[code] = translate("{name} – study report", name=study.about["name"])
    return environment.get_template("page.html.jinja").render(
        first=fixed or "en",
        fixed=fixed is not None,
        contents=contents,
        titles=titles,
        style=html.source(environment, html.STYLE),
        choose_language=html.source(environment, "language.js"),
        script=html.source(environment, "page.js"),
        library=_library(),
        every_pair=list(findings.every_pair(study)),
    )


def _content(environment: Environment, study: StudyResults) -> Markup:
    """Return what the page shows, in the language in use."""
    content = environment.get_template("content.html.jinja").render(
        study=study,
        figures=_figures(study),
        unit=study.unit,
        one=shown(study.unit.one),
        units=shown(study.unit.many),
        languages=LANGUAGES,
        documentation=_documentation(),
        **_tables(study),
    )
    return Markup(re.sub(r"(\d) %", "\\1\u00a0%", content))  # no line ends before a percent sign


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
        "risk-coverage": abstaining.risk_coverage(study),
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
        "handed": shown(HANDED["none" if said is None else said.status]),
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
        "abstaining": None
        if study.abstention is None
        else abstaining.sentence(study.abstention, study.unit),
        "operating_points": decisions.points(study),
    }
