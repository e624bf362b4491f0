"""Summary of a study for clinicians, in three sentences: question, answer, certainty."""

from __future__ import annotations

from typing import Any

from clinadapt.core.messages import Message, plural, shown, translate
from clinadapt.data.levels import PATIENTS
from clinadapt.study.read_results import LeaderboardRow, RunResult, StudyResults


def three_sentences(study: StudyResults) -> list[str]:
    """Describe the question, how often the model handed over is right, and how certain that is.

    Parameters
    ----------
    study : StudyResults

    Returns
    -------
    list of str
        Three sentences; none if no configuration finished.
    """
    run = study.handed_over
    if run is None or study.evidence is None:
        return []
    return [_question(study), _answer(study, run), _worth(study, run)]


def _question(study: StudyResults) -> str:
    about, data = study.about, study.about["data"]
    if about["task"] == "binary":
        question = Message(
            "Can a program tell which {units} are “{positive}”?",
            units=study.unit.many,
            positive=about["positive"],
        )
    elif about["task"] == "multiclass":
        question = Message(
            "Can a program assign each {unit} to the right one of {n} classes?",
            unit=study.unit.one,
            n=len(about["classes"]),
        )
    else:
        question = Message(
            "Can a program tell which of {n} labels a {unit} has?",
            unit=study.unit.one,
            n=len(about["classes"]),
        )
    parts = data["parts"]
    said = {"question": question, "methods": len(study.done), "tested": parts["test"]["notes"]}
    counted = "groups" if study.unit is PATIENTS else "notes"
    said["learned"] = parts["train"][counted] + parts["validation"][counted]
    if study.unit is PATIENTS and about["design"].get("nested"):
        return translate(
            "{question} {methods} methods learned from {learned:,} labelled patients; every "
            "patient was tested in turn, by models that had not seen them.",
            **said,
        )
    if study.unit is PATIENTS:
        return translate(
            "{question} {methods} methods learned from {learned:,} labelled patients and were then "
            "tested on {patients:,} patients, with {tested:,} notes, that they had not seen.",
            **said,
            patients=parts["test"]["groups"],
        )
    if about["design"].get("nested"):
        return translate(
            "{question} {methods} methods learned from {learned:,} labelled notes; every note was "
            "tested in turn, by models that had seen neither it nor its patient.",
            **said,
        )
    if data["groups"]:
        return translate(
            "{question} {methods} methods learned from {learned:,} labelled notes and were then "
            "tested on {tested:,} notes of {patients:,} other patients that they had not seen.",
            **said,
            patients=parts["test"]["groups"],
        )
    return translate(
        "{question} {methods} methods learned from {learned:,} labelled notes and were then tested "
        "on {tested:,} notes that they had not seen.",
        **said,
    )


def _answer(study: StudyResults, run: RunResult) -> str:
    about, name = study.about, run.configuration
    if about["task"] == "binary":
        recall, precision = (run.metrics[metric] for metric in ("recall", "precision"))
        return translate(
            "Of 100 {units} that are “{positive}”, {name} finds {found}; of 100 {units} that it "
            "labels “{positive}”, {right} are.",
            units=study.unit.many,
            positive=about["positive"],
            name=name,
            found=_of_hundred(recall),
            right=_of_hundred(precision),
        )
    if about["task"] == "multiclass":
        return translate(
            "{name} classifies {right} of 100 {units} correctly.",
            units=study.unit.many,
            name=name,
            right=_of_hundred(run.metrics["accuracy"]),
        )
    # Recall weighted by label frequency is the share of all labels that are found.
    recall, accuracy = (run.metrics[metric] for metric in ("recall_weighted", "accuracy"))
    return translate(
        "{name} finds {found} of 100 labels, and gets every label right on {right} of 100 {units}.",
        units=study.unit.many,
        name=name,
        found=_of_hundred(recall),
        right=_of_hundred(accuracy),
    )


def _worth(study: StudyResults, run: RunResult) -> str:
    assert study.evidence is not None
    if study.about["recommended"] is None:
        return translate(
            "But no method was shown to be better than giving every {unit} the same answer, so "
            "this study does not support using any of them.",
            unit=study.unit.one,
        )
    if study.evidence.get("status") == "candidate":
        return translate(
            "These {units} do not show that another method is not better: it is a candidate. "
            "Before using it, check it on recent {units} from the ward where it will be used.",
            units=study.unit.many,
        )
    others = [
        configuration
        for configuration in study.done
        if configuration.configuration_id != run.configuration_id
    ]
    configuration = _line(study, run)
    alike = sum(other.group == configuration.group for other in others)
    if not others:
        return translate(
            "There was no other method to compare it with. Before using it, check it on recent "
            "{units} from the ward where it will be used.",
            units=study.unit.many,
        )
    if not alike:
        return translate(
            "All other methods differ significantly from it on these {units}; it took "
            "{time:seconds} to train. Before using it, check it on recent {units} from the ward "
            "where it will be used.",
            units=study.unit.many,
            time=configuration.seconds,
        )
    return shown(
        plural(
            "{count} of the {others} others is not significantly different from it on these "
            "{units}; it took {time:seconds} to train. Before using it, check it on recent {units} "
            "from the ward where it will be used.",
            "{count} of the {others} others are not significantly different from it on these "
            "{units}; it took {time:seconds} to train. Before using it, check it on recent {units} "
            "from the ward where it will be used.",
            units=study.unit.many,
            count=alike,
            others=len(others),
            time=configuration.seconds,
        )
    )


def _of_hundred(score: dict[str, Any]) -> str:
    """Return a share as a number out of 100, with its interval."""
    if score["value"] is None:
        return translate("an unknown number")
    value, low, high = (round(100 * score[end]) for end in ("value", "low", "high"))
    return translate("{value} ({low} to {high})", value=value, low=low, high=high)


def _line(study: StudyResults, run: RunResult) -> LeaderboardRow:
    return next(
        configuration
        for configuration in study.done
        if configuration.configuration_id == run.configuration_id
    )
