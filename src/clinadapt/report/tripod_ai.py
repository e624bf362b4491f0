"""The TRIPOD+AI checklist of a study, filled in where the run knows the answer.

Collins et al. 2024, "TRIPOD+AI statement: updated guidance for reporting clinical prediction models
that use regression or machine learning methods" (BMJ 385:e078378). Items are named in our own
words; the statement has theirs. What only the authors know is marked open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clinadapt.core import formatting
from clinadapt.report import findings
from clinadapt.study.read_results import StudyResults

FILE = "tripod-ai.md"
OPEN = "**Open.**"


@dataclass(frozen=True)
class Item:
    """An item of the checklist.

    Attributes
    ----------
    number : str
        In the statement.
    topic : str
    answer : callable, optional
        What the run knows of it; None where it knows nothing.
    """

    number: str
    topic: str
    answer: Callable[[StudyResults], str] | None = None


def _title(study: StudyResults) -> str:
    kind = "development of a model, with internal validation on notes held out"
    return f"{kind}; {study.about['task']} classification of clinical notes. {OPEN} The title."


def _data(study: StudyResults) -> str:
    data = study.about["data"]
    said = f"{data['notes']:,} notes from {Path(data['source']).name}"
    if data["groups"]:
        said += f", of {data['groups']:,} patients"
    if data["synthetic"]:
        return f"{said}, written by a program: no patients stand behind them."
    return f"{said}. {OPEN} Where, when and why they were written, and how they were chosen."


def _prepared(study: StudyResults) -> str:
    cut = "notes longer than a model reads were cut; the report counts them"
    out = len(study.about["data"]["left_out"])
    return f"{out} configurations of the table were left out, each with its reason in the report; {cut}."


def _outcome(study: StudyResults) -> str:
    about = study.about
    positive = f"; {about['positive']} is positive" if about["positive"] else ""
    classes = ", ".join(about["classes"])
    return f"Classes: {classes}{positive}. {OPEN} How and by whom labels were made."


def _size(study: StudyResults) -> str:
    parts = study.about["data"]["parts"]
    counted = ", ".join(f"{part['notes']:,} {name}" for name, part in parts.items())
    grown = " The learning curves say what more notes would bring." if study.curves else ""
    return f"{counted} notes; all that there were.{grown}"


def _missing(study: StudyResults) -> str:
    reasons = {entry["reason"] for entry in study.about["data"]["left_out"]}
    told = f" Reasons: {'; '.join(sorted(reasons))}." if reasons else ""
    return f"Notes without text or label take no part.{told}"


def _models(study: StudyResults) -> str:
    return (
        f"{len(study.configurations)} configurations, each with its settings and seeds in the report: "
        + "; ".join(configuration.configuration for configuration in study.configurations)
    )


def _measures(study: StudyResults) -> str:
    return (
        f"Ranked by {formatting.metric(study.about['metric'])}; every other metric in the report. "
        "Calibration by a reliability curve, Brier's score and its parts, the expected calibration "
        "error; use by net benefit (two classes)."
    )


def _imbalance(study: StudyResults) -> str:
    labels = study.about["data"]["parts"]["train"]["labels"]
    counted = ", ".join(f"{name} {count:,}" for name, count in labels.items())
    return (
        f"Training notes: {counted}. Losses weigh classes by default (each configuration's settings say); "
        "the threshold is chosen on validation notes for the metric."
    )


def _output(study: StudyResults) -> str:
    run = study.handed_over
    if run is None:
        return "No configuration finished."
    value = run.threshold.get("value")
    said = "the most probable class" if value is None else f"a class from {value:.3f} on"
    return f"Probabilities of the classes; {said}, chosen on {run.threshold['chosen_on']} notes."


def _parts(study: StudyResults) -> str:
    grouped = (
        "no patient is in two parts"
        if study.about["data"]["groups"]
        else ("patients are not known, so one may be in two parts")
    )
    doubles = study.about["data"]["duplicates"]
    return (
        f"Training, validation and test parts; {grouped}. "
        f"{doubles['exact_across_parts']:,} exact and {doubles['near_across_parts']:,} near "
        "duplicates lie across parts."
    )


def _open_science(study: StudyResults) -> str:
    environment = study.about["environment"]
    return (
        f"clinadapt {environment['versions']['clinadapt']}, commit {environment['commit']}; study "
        f"file, seeds, split and versions in `study.json`. {OPEN} Funding, interests, protocol, "
        "registration, who may have the notes."
    )


def _flow(study: StudyResults) -> str:
    parts = study.about["data"]["parts"]
    told = []
    for name, part in parts.items():
        groups = f" of {part['groups']:,} patients" if part["groups"] else ""
        told.append(f"{name}: {part['notes']:,} notes{groups}")
    return "; ".join(told) + f". {OPEN} Who the patients are."


def _specification(study: StudyResults) -> str:
    run = study.handed_over
    return (
        "None."
        if run is None
        else f"`OUT/recommended` or `OUT/best`: {run.configuration}, all weights."
    )


def _performance(study: StudyResults) -> str:
    configuration = next(
        (configuration for configuration in study.done if configuration.recommended), study.best
    )
    if configuration is None:
        return "No configuration finished."
    return (
        f"{configuration.configuration}: {formatting.metric(study.about['metric'])} {formatting.score(configuration.test)} "
        f"[{formatting.score(configuration.test_low)}, {formatting.score(configuration.test_high)}] on test notes."
    )


def _fairness(study: StudyResults) -> str:
    if not study.subgroups or not study.subgroups["sentences"]:
        return OPEN
    columns = dict.fromkeys(group["column"] for group in study.subgroups["subgroups"])
    return (
        f"Scores by {', '.join(columns)} in the report. {study.subgroups['sentences'][0]} {OPEN} "
        "Why these, and what was done about gaps."
    )


def _heterogeneity(study: StudyResults) -> str:
    several = (found["sentences"] for found in (study.sites, study.subgroups) if found)
    told = [sentences[0] for sentences in several if sentences]
    return " ".join(told) or OPEN


def _interpretation(study: StudyResults) -> str:
    if study.evidence is None:
        return OPEN
    compared = findings.pairs(study).get("tfidf", [])
    apart = sum(pair.different for pair in compared)
    more = f" {apart} of {len(compared)} comparisons with word counts show a difference."
    return study.evidence["sentence"] + (more if compared else "")


ITEMS = (
    Item("1", "Title", _title),
    Item("2", "Abstract"),
    Item("3", "Background: context, purpose, known inequalities"),
    Item("4", "Objectives"),
    Item("5", "Data: sources and dates", _data),
    Item("6", "Participants: setting, eligibility, treatments"),
    Item("7", "Data preparation", _prepared),
    Item("8", "Outcome", _outcome),
    Item("9", "Predictors", lambda study: "The text of the note, and nothing else."),
    Item("10", "Sample size", _size),
    Item("11", "Missing data", _missing),
    Item("12a–d", "Analytical methods: models and how they were built", _models),
    Item("12e–g", "Performance measures, updating", _measures),
    Item("13", "Class imbalance", _imbalance),
    Item("14", "Fairness", _fairness),
    Item("15", "Model output and threshold", _output),
    Item("16", "Training against evaluation data", _parts),
    Item("17", "Ethical approval"),
    Item("18", "Open science", _open_science),
    Item("19", "Patient and public involvement"),
    Item("20", "Participants: flow and characteristics", _flow),
    Item("21", "Numbers in each analysis", _size),
    Item("22", "Model specification", _specification),
    Item("23a", "Performance with intervals", _performance),
    Item("23b", "Heterogeneity between groups or sites", _heterogeneity),
    Item("24", "Model updating", lambda study: "None was made."),
    Item("25", "Interpretation", _interpretation),
    Item("26", "Limitations"),
    Item("27", "Usability: input quality, skills, next steps"),
)


def checklist(study: StudyResults) -> str:
    """The list as Markdown; what is open is counted first."""
    lines = []
    unanswered = 0
    for item in ITEMS:
        told = OPEN if item.answer is None else item.answer(study)
        unanswered += OPEN in told
        lines.append(f"| {item.number} | {item.topic} | {told} |")
    return "\n".join(
        [
            f"# TRIPOD+AI checklist: {study.about['name']}",
            "",
            f"Filled in by clinadapt from the run: {len(ITEMS) - unanswered} of {len(ITEMS)} "
            f"items; {unanswered} hold something that only the authors know, marked open.",
            "",
            "| item | about | what the run knows |",
            "|---|---|---|",
            *lines,
            "",
        ]
    )
