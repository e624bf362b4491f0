"""Summary of a study for clinicians, in three sentences: question, answer, certainty."""

from __future__ import annotations

from typing import Any

from clinadapt.core import formatting
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
        question = f"Can a program tell which {study.unit.many} are “{about['positive']}”?"
    elif about["task"] == "multiclass":
        question = (
            f"Can a program assign each {study.unit.one} to the right one of "
            f"{len(about['classes'])} classes?"
        )
    else:
        question = (
            f"Can a program tell which of {len(about['classes'])} labels a {study.unit.one} has?"
        )
    parts = data["parts"]
    if study.unit is PATIENTS:
        learned = parts["train"]["groups"] + parts["validation"]["groups"]
        return (
            f"{question} {len(study.done)} methods learned from {learned:,} labelled patients and "
            f"were then tested on {parts['test']['groups']:,} patients, with "
            f"{parts['test']['notes']:,} notes, that they had not seen."
        )
    learned = parts["train"]["notes"] + parts["validation"]["notes"]
    of_others = f" of {parts['test']['groups']:,} other patients" if data["groups"] else ""
    if about["design"].get("nested"):
        return (
            f"{question} {len(study.done)} methods learned from {learned:,} labelled notes; every "
            "note was tested in turn, by models that had seen neither it nor its patient."
        )
    return (
        f"{question} {len(study.done)} methods learned from {learned:,} labelled notes and were "
        f"then tested on {parts['test']['notes']:,} notes{of_others} that they had not seen."
    )


def _answer(study: StudyResults, run: RunResult) -> str:
    about, name = study.about, run.configuration
    if about["task"] == "binary":
        recall, precision = (run.metrics[metric] for metric in ("recall", "precision"))
        positive = f"“{about['positive']}”"
        return (
            f"Of 100 {study.unit.many} that are {positive}, {name} finds {_of_hundred(recall)}; "
            f"of 100 {study.unit.many} that it labels {positive}, {_of_hundred(precision)} are."
        )
    if about["task"] == "multiclass":
        right = _of_hundred(run.metrics["accuracy"])
        return f"{name} classifies {right} of 100 {study.unit.many} correctly."
    # Recall weighted by label frequency is the share of all labels that are found.
    recall, accuracy = (run.metrics[metric] for metric in ("recall_weighted", "accuracy"))
    return (
        f"{name} finds {_of_hundred(recall)} of 100 labels, and gets every label right on "
        f"{_of_hundred(accuracy)} of 100 {study.unit.many}."
    )


def _worth(study: StudyResults, run: RunResult) -> str:
    assert study.evidence is not None
    if study.about["recommended"] is None:
        return (
            f"But no method was shown to be better than giving every {study.unit.one} the same "
            "answer, so this study does not support using any of them."
        )
    if study.evidence.get("status") == "candidate":
        return (
            f"These {study.unit.many} do not show that another method is not better: it is a "
            f"candidate. Before using it, check it on recent {study.unit.many} from the ward where "
            "it will be used."
        )
    others = [
        configuration
        for configuration in study.done
        if configuration.configuration_id != run.configuration_id
    ]
    configuration = _line(study, run)
    alike = sum(other.group == configuration.group for other in others)
    cost = f"it took {formatting.seconds(configuration.seconds)} to train"
    if not others:
        comparison = "There was no other method to compare it with"
    elif not alike:
        comparison = (
            f"All other methods differ significantly from it on these {study.unit.many}; {cost}"
        )
    else:
        comparison = (
            f"{alike} of the {len(others)} others {'is' if alike == 1 else 'are'} not "
            f"significantly different from it on these {study.unit.many}; {cost}"
        )
    return (
        f"{comparison}. Before using it, check it on recent {study.unit.many} from the ward where "
        "it will be used."
    )


def _of_hundred(score: dict[str, Any]) -> str:
    """Return a share as a number out of 100, with its interval."""
    if score["value"] is None:
        return "an unknown number"
    value, low, high = (round(100 * score[end]) for end in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _line(study: StudyResults, run: RunResult) -> LeaderboardRow:
    return next(
        configuration
        for configuration in study.done
        if configuration.configuration_id == run.configuration_id
    )
