"""What the probabilities of the model handed over mean, and what acting on them is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinadapt.data.labels import Labels
from clinadapt.evaluation import calibration, metrics
from clinadapt.report.drawing import COLOURS, Figure, figure, guide, line, rounded, unit_square
from clinadapt.study.read_results import StudyResults

THRESHOLDS = np.linspace(0.01, 0.99, 99)


@dataclass(frozen=True)
class Meaning:
    """How far probabilities can be taken at their word.

    Attributes
    ----------
    parts : clinadapt.evaluation.calibration.BrierParts
        On the test notes.
    temperature : float, optional
        Fitted on the validation notes; None where there are none.
    ece, ece_scaled : float
        Expected calibration error on the test notes, as it is and at that temperature.
    """

    parts: calibration.BrierParts
    temperature: float | None
    ece: float
    ece_scaled: float | None

    @property
    def words(self) -> str:
        """What the temperature says."""
        if self.temperature is None:
            return "Without validation notes no temperature is fitted."
        told = f"The temperature fitted on validation notes is {self.temperature:.2f}: "
        if self.temperature > 1.1:
            return told + "the model is surer of itself than it should be."
        if self.temperature < 0.9:
            return told + "the model is less sure of itself than it could be."
        return told + "the model is about as sure of itself as it should be."


def meaning(study: StudyResults) -> Meaning | None:
    """Calibration of the model handed over; None if there is none."""
    if study.handed_over is None:
        return None
    labels, probabilities = _part(study, "test")
    events, said = calibration.events_of(labels, probabilities)
    held, held_probabilities = _part(study, "validation")
    temperature = scaled = None
    if len(held_probabilities):
        temperature = calibration.fit_temperature(held, held_probabilities)
        again = calibration.with_temperature(labels.task, probabilities, temperature)
        scaled = _ece(labels, again)
    return Meaning(
        calibration.brier_parts(events, said), temperature, _ece(labels, probabilities), scaled
    )


def reliability(study: StudyResults) -> Figure | None:
    """Draw what was said against what came true, with intervals, and the honest diagonal."""
    if study.handed_over is None:
        return None
    bins = calibration.reliability(*calibration.events_of(*_part(study, "test")))
    traces = [
        guide([0, 1], [0, 1], "as said"),
        {
            "type": "scatter",
            "mode": "markers+lines",
            "name": "as it came",
            "x": [rounded(item.said) for item in bins],
            "y": [rounded(item.came) for item in bins],
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": [rounded(item.high - item.came) for item in bins],
                "arrayminus": [rounded(item.came - item.low) for item in bins],
            },
            "text": [f"{item.events} events" for item in bins],
            "hovertemplate": "said %{x:.2f}, came true %{y:.2f}, %{text}<extra></extra>",
            "marker": {"color": COLOURS[0], "size": 8},
            "line": {"color": COLOURS[0], "width": 1.5},
        },
    ]
    return unit_square(figure(traces, x="mean probability", y="share that came true"))


def decision_curve(study: StudyResults) -> Figure | None:
    """Draw the net benefit of acting on the model, on every note and on none; binary only."""
    if study.handed_over is None or study.about["task"] != "binary":
        return None
    events, said = calibration.events_of(*_part(study, "test"))
    model = calibration.net_benefit(events, said, THRESHOLDS)
    everyone = calibration.net_benefit(events, np.ones(len(said)), THRESHOLDS)
    across = [rounded(value) for value in THRESHOLDS]
    traces = [
        line(0, study.handed_over.configuration, across, [rounded(value) for value in model]),
        line(1, "act on every note", across, [rounded(value) for value in everyone]),
        guide([0, 1], [0, 0], "act on none"),
    ]
    drawn = figure(traces, x="threshold of acting", y="net benefit a note", height=600)
    top = max(float(events.mean()), float(model.max()))
    drawn["layout"]["yaxis"]["range"] = [rounded(-0.15 * top), rounded(1.1 * top)]
    return drawn


def points(study: StudyResults) -> list[calibration.OperatingPoint]:
    """Thresholds for chosen sensitivities and precisions; binary only."""
    if study.handed_over is None or study.about["task"] != "binary":
        return []
    held, test = (calibration.events_of(*_part(study, part)) for part in ("validation", "test"))
    return calibration.operating_points(held, test) if len(held[0]) else []


def _part(study: StudyResults, part: str) -> tuple[Labels, NDArray[np.float64]]:
    """Labels and probabilities [note, class] of the model handed over."""
    table = study.answers[part]
    classes = study.about["classes"]
    given = table["label"]
    if study.about["task"] == "multilabel":
        columns = [given.list.contains(name) for name in classes]
    else:
        columns = [given == name for name in classes]
    matrix = np.column_stack([column.to_numpy() for column in columns])
    probabilities = table.select(f"prob_{name}" for name in classes).to_numpy()
    return Labels(study.about["task"], np.array(classes), matrix), probabilities


def _ece(labels: Labels, probabilities: NDArray[np.float64]) -> float:
    everyone = np.ones((1, len(probabilities)))
    return float(metrics.ece(labels.task, labels.matrix, probabilities, everyone)[0])
