"""The report: a study folder told as one HTML page that opens from disk, without a network.

load     the study folder, read back into plain values
words    numbers as people read them
tables   what the page counts and lays out itself
findings what the comparison of the rows found, in sentences
growth   scores over the number of labelled notes
spending energy, and how it is known
charts   the other charts; drawing is how all of them look
decisions  what the probabilities mean, and what acting on them is worth
export   the same numbers as JSON, CSV and LaTeX
summary  three sentences for a clinician
checklist  reporting checklists: tripod_ai, mi_claim
overview the page above the reports of several tasks
page     the template, its style and its script
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["render"]


def render(study_dir: Path) -> Path:
    """Write a study's report.

    Parameters
    ----------
    study_dir : Path
        A study folder: ``study.json``, ``leaderboard.csv`` and ``cells/``.

    Returns
    -------
    Path
        ``study_dir / "report.html"``, replaced in one step: a reader sees the old page or the new.
        Beside it ``report.json``, ``tables/`` as CSV and LaTeX, and the reporting checklists.

    Raises
    ------
    FileNotFoundError
        If the folder holds no study.
    ValueError
        If the study was written in a format that this version does not read.
    """
    from clinadapt.report import export, mi_claim, tripod_ai
    from clinadapt.report.checklist import checklist
    from clinadapt.report.load import load
    from clinadapt.report.page import page

    study = load(study_dir)
    html = page(study)
    export.write(study, study_dir)
    for asked in (tripod_ai, mi_claim):
        told = checklist(asked.TITLE, asked.ITEMS, study)
        (study_dir / asked.FILE).write_text(told, encoding="utf-8")
    target = study_dir / "report.html"
    partial = study_dir / f".report.{os.getpid()}.html"
    partial.write_text(html, encoding="utf-8")
    os.replace(partial, target)
    return target
