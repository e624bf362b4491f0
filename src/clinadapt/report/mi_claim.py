"""What the MI-CLAIM checklist asks beyond TRIPOD+AI, filled in where the run knows the answer.

Norgeot et al. 2020, "Minimum information about clinical artificial intelligence modeling: the
MI-CLAIM checklist" (Nature Medicine 26:1320-1324). Items are named in our own words. What both ask
for (population, outcome, sample size) stands in the TRIPOD+AI checklist.
"""

from __future__ import annotations

from clinadapt.core import formatting
from clinadapt.report.checklist import OPEN, Item
from clinadapt.study.read_results import Study

FILE = "mi-claim.md"
TITLE = "MI-CLAIM checklist, what TRIPOD+AI does not ask"


def _baseline(study: Study) -> str:
    if study.evidence is None:
        return OPEN
    linear = [row.row for row in study.done if row.family == "tfidf-logistic"]
    told = (
        f"An answer that is always the same scores "
        f"{formatting.score(study.evidence['constant'])} on "
        "the test notes"
    )
    return f"{told}; word counts: {'; '.join(linear)}." if linear else f"{told}. No word counts."


def _independence(study: Study) -> str:
    doubles = study.about["data"]["duplicates"]
    unit = "patient" if study.about["data"]["groups"] else "note"
    return (
        f"Test notes were read after models, thresholds and early stopping were settled; parts are "
        f"apart by {unit}. Across parts: {doubles['exact_across_parts']:,} exact and "
        f"{doubles['near_across_parts']:,} near duplicates. {OPEN} Whether anyone looked at test "
        "notes before."
    )


def _selection(study: Study) -> str:
    best = study.best
    led = "No row finished" if best is None else f"{best.row} leads on validation notes"
    return f"{led}; {study.evidence['sentence']}" if study.evidence else f"{led}."


def _statistics(study: Study) -> str:
    resamples = study.about["design"]["resamples"]
    unit = "patients" if study.about["data"]["groups"] else "notes"
    return (
        f"95 % intervals from {resamples:,} resamples of {unit} and of seeds; paired differences, "
        "corrected together (Holm)."
    )


def _examination(study: Study) -> str:
    several = (found["sentences"] for found in (study.subgroups, study.sites) if found)
    told = " ".join(sentences[0] for sentences in several if sentences)
    return f"{told} {OPEN} Words that moved single decisions, and the errors read one by one."


def _reproducible(study: Study) -> str:
    environment = study.about["environment"]
    return (
        f"Tier 1 needs the code and the notes: clinadapt {environment['versions']['clinadapt']}, "
        f"commit {environment['commit']}, settings and seeds in `study.json`, the model in the "
        f"bundle. {OPEN} Which tier the authors choose, and who may have the notes."
    )


ITEMS = (
    Item("1", "Design: what is good enough today, and in which workflow"),
    Item("2a", "Baseline that the model is compared with", _baseline),
    Item("2b", "Independence of training and test notes", _independence),
    Item("3", "How the final model was chosen", _selection),
    Item("4a", "Metrics and statistical tests", _statistics),
    Item("4b", "Whether the gain matters to patients"),
    Item("5", "Examination of the model: sensitivity, single cases", _examination),
    Item("6", "Reproducibility tier", _reproducible),
)
