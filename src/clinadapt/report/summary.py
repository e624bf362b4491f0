"""The study in three sentences that a clinician understands: the question, the answer, how sure."""

from __future__ import annotations

from typing import Any

from clinadapt.core import formatting
from clinadapt.study.read_results import LeaderboardRow, RunResult, StudyResults


def three_sentences(study: StudyResults) -> list[str]:
    """What was asked, how often the model handed over is right, and what that is worth.

    Parameters
    ----------
    study : StudyResults

    Returns
    -------
    list of str
        Three; none if no configuration finished.
    """
    run = study.handed_over
    if run is None or study.evidence is None:
        return []
    return [_question(study), _answer(study, run), _worth(study, run)]


def _question(study: StudyResults) -> str:
    about, data = study.about, study.about["data"]
    if about["task"] == "binary":
        asked = f"Can a program tell which notes are “{about['positive']}”?"
    elif about["task"] == "multiclass":
        asked = (
            f"Can a program put each note into the right one of {len(about['classes'])} classes?"
        )
    else:
        asked = f"Can a program tell which of {len(about['classes'])} labels a note has?"
    parts = data["parts"]
    learned = parts["train"]["notes"] + parts["validation"]["notes"]
    of_others = f" of {parts['test']['groups']:,} other patients" if data["groups"] else ""
    return (
        f"{asked} {len(study.done)} methods learned from {learned:,} labelled notes, and were then "
        f"examined on {parts['test']['notes']:,} notes{of_others} that they had not seen."
    )


def _answer(study: StudyResults, run: RunResult) -> str:
    about, configuration = study.about, _row(study, run)
    if about["task"] == "binary":
        found, right = (run.metrics[name] for name in ("recall", "precision"))
        name = f"“{about['positive']}”"
        return (
            f"{configuration.configuration} finds {_of_hundred(found)} of 100 notes that are {name}, and of 100 that "
            f"it calls so, {_of_hundred(right)} are."
        )
    if about["task"] == "multiclass":
        return f"{configuration.configuration} gets {_of_hundred(run.metrics['accuracy'])} of 100 notes right."
    # Weighted by how often labels occur, recall is the share of all labels that are found.
    found, right = (run.metrics[name] for name in ("recall_weighted", "accuracy"))
    return (
        f"{configuration.configuration} finds {_of_hundred(found)} of 100 labels, and has every label right on "
        f"{_of_hundred(right)} of 100 notes."
    )


def _worth(study: StudyResults, run: RunResult) -> str:
    assert study.evidence is not None
    if study.about["recommended"] is None:
        return (
            "But no method was shown to know more than one that gives every note the same answer, "
            "so none should be used on the strength of this study."
        )
    others = [
        configuration
        for configuration in study.done
        if configuration.configuration_id != run.configuration_id
    ]
    configuration = _row(study, run)
    alike = sum(other.group == configuration.group for other in others)
    cost = f"it took {formatting.seconds(configuration.seconds)} to learn"
    if not others:
        told = "There was no other method to compare it with"
    elif not alike:
        told = f"None of the others does as well; {cost}"
    else:
        told = (
            f"Of the others, {alike} of {len(others)} cannot be told from it on these notes; {cost}"
        )
    return f"{told}. Before it is used, check it on recent notes of the ward where it will be used."


def _of_hundred(score: dict[str, Any]) -> str:
    """A share as people count, with its interval."""
    if score["value"] is None:
        return "an unknown number"
    value, low, high = (round(100 * score[end]) for end in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _row(study: StudyResults, run: RunResult) -> LeaderboardRow:
    return next(
        configuration
        for configuration in study.done
        if configuration.configuration_id == run.configuration_id
    )
