"""Export the report's numbers for other programs and for papers: JSON, CSV and LaTeX."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.core import formatting
from clinadapt.core.atomic_files import write_csv, write_text
from clinadapt.core.permissions import private_folder
from clinadapt.report import decisions, findings, spending, summary
from clinadapt.study.read_results import StudyResults

REPORT = "report.json"
TABLES = "tables"
LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "→": r"$\rightarrow$",
    "·": r"$\cdot$",
    "−": r"$-$",
}


def write(study: StudyResults, folder: Path) -> None:
    """Write ``report.json`` and, in ``tables/``, leaderboard, comparisons and any energy.

    Parameters
    ----------
    study : StudyResults
    folder : Path
        The study's folder.
    """
    content = json.dumps(_content(study), ensure_ascii=False, indent=1)
    write_text(folder / REPORT, content)
    tables = folder / TABLES
    private_folder(tables)
    metric = formatting.metric(study.about["metric"])
    doubts = (study.evidence or {}).get("doubts")  # absent from studies of before
    on = f" on {doubts['test']} {doubts['patients']} of class {doubts['rarest']}" if doubts else ""
    written = [
        ("leaderboard", leaderboard(study), f"Test {metric} with 95 % intervals{on}, and cost."),
        (
            "comparisons",
            comparisons(study),
            f"Differences of test {metric} in points (hundredths).",
        ),
    ]
    if spending.spent(study):
        caption = "Energy of the machine during a run, measured or estimated."
        written.append(("energy", energy(study), caption))
    for name, table, caption in written:
        write_csv(table, tables / f"{name}.csv")
        write_text(tables / f"{name}.tex", latex(table, caption))


def _content(study: StudyResults) -> dict[str, Any]:
    meaning = decisions.meaning(study)
    return {
        "summary": summary.three_sentences(study),
        "study": study.about,
        "configurations": [asdict(configuration) for configuration in study.configurations],
        "findings": {
            question: [pair.sentence for pair in several]
            for question, several in findings.pairs(study).items()
        },
        "calibration": None if meaning is None else asdict(meaning),
        "operating_points": [asdict(point) for point in decisions.points(study)],
        "energy": [asdict(line) for line in spending.spent(study)],
        "evidence": study.evidence,
        "curves": study.curves,
        "subgroups": study.subgroups,
        "sites": study.sites,
        "checks": study.checks,
        "abstention": study.abstention,
    }


def leaderboard(study: StudyResults) -> pl.DataFrame:
    """Return one line per finished configuration, numbers as text."""
    return pl.DataFrame(
        [
            {
                "Configuration": configuration.configuration,
                "Group": formatting.count(configuration.group),
                "Validation": formatting.score(configuration.validation),
                "Test": formatting.score(configuration.test),
                "95 % interval": f"{formatting.score(configuration.test_low)} to "
                f"{formatting.score(configuration.test_high)}",
                "Time": formatting.seconds(configuration.seconds),
                "Memory": formatting.size(configuration.peak_memory_bytes),
                "Trained weights": formatting.parameters(configuration.trainable_parameters),
            }
            for configuration in study.done
        ]
    )


def comparisons(study: StudyResults) -> pl.DataFrame:
    """Return one line per pair that answers a question of the report."""
    pairs = chain(*findings.without_repeats(findings.pairs(study)).values())
    return pl.DataFrame(
        [
            {
                "First": pair.first.configuration,
                "Second": pair.second.configuration,
                "Difference": formatting.points(pair.value),
                "95 % interval": f"{formatting.points(pair.low)} to {formatting.points(pair.high)}",
                "p, corrected": formatting.p(pair.corrected_p),
                "McNemar p": formatting.p(pair.mcnemar["p"]),
            }
            for pair in pairs
        ]
    )


def energy(study: StudyResults) -> pl.DataFrame:
    """Return one line per finished configuration whose energy is recorded."""
    return pl.DataFrame(
        [
            {
                "Configuration": line.configuration,
                "Energy": formatting.energy(line.kwh),
                "CO2e": formatting.mass(line.kg_co2e),
                "Kind": line.kind,
                "Source": line.how,
            }
            for line in spending.spent(study)
        ]
    )


def latex(table: pl.DataFrame, caption: str) -> str:
    """Return a table for LaTeX's booktabs; the first column is left-aligned, others centred."""
    lines = [
        r"\begin{table}",
        rf"\caption{{{_escaped(caption)}}}",
        rf"\begin{{tabular}}{{l{'c' * (table.width - 1)}}}",
        r"\toprule",
        _line(table.columns),
        r"\midrule",
        *(_line(row) for row in table.iter_rows()),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
        "",
    ]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return " & ".join(map(_escaped, cells)) + r" \\"


def _escaped(text: str) -> str:
    line = " ".join(text.split())  # an empty line would end a cell
    return "".join(LATEX.get(letter, letter) for letter in line)
