"""What may be left to a person: risk–coverage curve, reject bands and prediction sets."""

from __future__ import annotations

from typing import Any

from clinadapt.core.messages import Message, translate
from clinadapt.data.levels import NOTES, Unit
from clinadapt.evaluation.abstention import RISK
from clinadapt.report.drawing import Figure, figure, guide, line, style_numbers
from clinadapt.study.read_results import StudyResults

# By task, and by which answers are given: "yes", "no".
SENTENCES = {
    ("binary", True, True): Message(
        "With {left:share} of the test {units} left to a person, the program answers the others so "
        "that, with {confidence:.0%} confidence for each, at most {risk:.0%} of the {units} that "
        "are “{positive}” are missed (test {units}: {missed:share}) and at most {risk:.0%} of its "
        "answers “{positive}” are wrong (test {units}: {wrong:share})."
    ),
    ("binary", False, True): Message(
        "With {left:share} of the test {units} left to a person, the program answers the others, "
        "never with “{positive}”, so that, with {confidence:.0%} confidence, at most {risk:.0%} "
        "of the {units} that are “{positive}” are missed (test {units}: {missed:share})."
    ),
    ("binary", True, False): Message(
        "With {left:share} of the test {units} left to a person, the program answers the others, "
        "only with “{positive}”, so that, with {confidence:.0%} confidence, at most {risk:.0%} of"
        " these answers are wrong (test {units}: {wrong:share})."
    ),
    ("multiclass", True, False): Message(
        "With {left:share} of the test {units} left to a person, the program answers the others so "
        "that, with {confidence:.0%} confidence, at most {risk:.0%} of its answers are wrong "
        "(test {units}: {wrong:share})."
    ),
    ("multilabel", True, True): Message(
        "With {left:share} of the test {units} left to a person for some label, the program answers"
        " the other labels so that, with {confidence:.0%} confidence for each, at most {risk:.0%}"
        " of the labels are missed (test {units}: {missed:share}) and at most {risk:.0%} of those "
        "that it gives are wrong (test {units}: {wrong:share})."
    ),
    ("multilabel", False, True): Message(
        "With {left:share} of the test {units} left to a person for some label, the program gives "
        "no label but excludes others so that, with {confidence:.0%} confidence, at most "
        "{risk:.0%} of the labels are missed (test {units}: {missed:share})."
    ),
    ("multilabel", True, False): Message(
        "With {left:share} of the test {units} left to a person for some label, the program "
        "excludes no label but gives others so that, with {confidence:.0%} confidence, at most "
        "{risk:.0%} of those are wrong (test {units}: {wrong:share})."
    ),
}
NOTHING = Message(
    "No answer can be promised to be wrong in at most {risk:.0%} of the {units} with "
    "{confidence:.0%} confidence: the errors are too many, or the patients that it was tried "
    "on too few."
)


def sentence(content: dict[str, Any], unit: Unit = NOTES) -> Message:
    """Return in words what is left to a person, what is promised, and what came on test notes.

    It is about the usual risk, or else about the smallest larger one at which anything is answered.

    Parameters
    ----------
    content : dict
        Content of ``abstention.json``.
    unit : Unit
        What is classified.
    """
    bands = [one for one in content["bands"] if one["risk"] >= RISK]
    answering = (one for one in bands if one["yes"] is not None or one["no"] is not None)
    band = next(answering, bands[-1])
    answers = (content["task"], band["yes"] is not None, band["no"] is not None)
    return Message(
        SENTENCES.get(answers, NOTHING),
        units=unit.many,
        left=band["left"]["value"],
        confidence=content["confidence"],
        risk=band["risk"],
        positive=content["positive"],
        missed=(band["missed"] or {}).get("value"),
        wrong=band["wrong"]["value"],
    )


def risk_coverage(study: StudyResults) -> Figure | None:
    """Draw the share of wrong answers against the share of answers that are given."""
    content = study.abstention
    if content is None:
        return None
    curve, number = content["curve"], style_numbers(study)[content["configuration_id"]]
    whole = curve["risk"][-1]
    traces = [
        guide([0, 1], [whole, whole], translate("without regard to how sure it is")),
        line(number, content["configuration"], curve["coverage"], curve["risk"], visible=True),
    ]
    drawn = figure(
        traces,
        x=translate("share of the answers that are given, the surest first"),
        y=translate("share of them that are wrong"),
    )
    drawn["layout"]["xaxis"]["range"] = [-0.01, 1.01]
    drawn["layout"]["yaxis"]["rangemode"] = "tozero"
    return drawn
