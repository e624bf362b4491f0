"""Calibration and decision curve of the model handed over."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.messages import Message, translate
from clinadapt.data.labels import Labels
from clinadapt.data.levels import NOTES, Unit
from clinadapt.evaluation import calibration, metrics
from clinadapt.evaluation.calibration_fit import fit_map
from clinadapt.evaluation.calibration_maps import CalibrationMap
from clinadapt.report.drawing import (
    Figure,
    colour,
    figure,
    guide,
    line,
    rounded,
    style_numbers,
    unit_square,
)
from clinadapt.study.read_results import StudyResults

THRESHOLDS = np.linspace(0.01, 0.99, 99)


@dataclass(frozen=True)
class Meaning:
    """Calibration of a model's probabilities.

    Attributes
    ----------
    parts : clinadapt.evaluation.calibration.BrierParts
        Parts of the Brier score on the test notes, of the bundle's probabilities.
    temperature : float, optional
        Temperature fitted on the validation notes; None if there are none.
    ece : float
        Expected calibration error on the test notes, of the model's own probabilities.
    calibrated : dict, optional
        Map in the bundle and what it does on the test notes; see
        `clinadapt.evaluation.calibration_choice`. None where no map lowers the log-loss.
    unit : Unit
        What is scored.
    """

    parts: calibration.BrierParts
    temperature: float | None
    ece: float
    calibrated: dict[str, Any] | None
    unit: Unit = NOTES

    @property
    def words(self) -> Message:
        """Interpretation of the temperature in words."""
        if self.temperature is None:
            return Message(
                "There are no validation {units} to fit a temperature on.", units=self.unit.many
            )
        if self.temperature > 1.1:
            return Message(
                "The temperature fitted on validation {units} is {value:.2f}: the model is "
                "overconfident.",
                units=self.unit.many,
                value=self.temperature,
            )
        if self.temperature < 0.9:
            return Message(
                "The temperature fitted on validation {units} is {value:.2f}: the model is "
                "underconfident.",
                units=self.unit.many,
                value=self.temperature,
            )
        return Message(
            "The temperature fitted on validation {units} is {value:.2f}: the model is neither "
            "clearly overconfident nor underconfident.",
            units=self.unit.many,
            value=self.temperature,
        )

    @property
    def calibration_words(self) -> Message:
        """What calibration does to the log-loss of the test notes, and whether it is used."""
        if self.calibrated is None:
            return Message(
                "No calibration lowers the log-loss of the held-out {units}, or patients are too "
                "few to tell: the bundle has the model's own probabilities.",
                units=self.unit.many,
            )
        test = self.calibrated["test"]
        loss = self.calibrated if test is None else test["log_loss"]
        said = {name: loss[name] for name in ("raw", "calibrated", "low", "high")}
        said["units"] = self.unit.many
        said["method"] = self.calibrated["map"]["method"]
        said["on"] = (
            Message("the labelled {units}, out of fold", units=self.unit.many)
            if test is None
            else Message("the test {units}", units=self.unit.many)
        )
        if self.calibrated["surely"]:
            return Message(
                "Calibrated on held-out {units} ({method}), which surely lowers their log-loss: "
                "{raw:score} → {calibrated:score} on {on} (difference {low:score} to "
                "{high:score}). The bundle's probabilities are calibrated; its predicted classes "
                "are the same.",
                **said,
            )
        return Message(
            "Calibration on held-out {units} ({method}) does not surely lower their log-loss: "
            "{raw:score} → {calibrated:score} on {on} (difference {low:score} to "
            "{high:score}). The bundle has the model's own probabilities; --probabilities "
            "calibrated asks for the others.",
            **said,
        )


def meaning(study: StudyResults) -> Meaning | None:
    """Return the calibration of the model handed over; None if there is none."""
    if study.handed_over is None:
        return None
    labels, probabilities = _part(study, "test", raw=True)
    validation, validation_probabilities = _part(study, "validation", raw=True)
    temperature = None
    if len(validation_probabilities):
        notes = np.arange(len(validation))
        slope = fit_map("temperature", validation, validation_probabilities, notes)
        temperature = 1 / slope.slope
    return Meaning(
        parts=calibration.brier_parts(*calibration.events_of(*_part(study, "test"))),
        temperature=temperature,
        ece=_ece(labels, probabilities),
        calibrated=study.handed_over.calibration,
        unit=study.unit,
    )


def reliability(study: StudyResults) -> Figure | None:
    """Draw observed frequency against predicted probability, with intervals and diagonal."""
    if study.handed_over is None:
        return None
    own = colour(style_numbers(study)[study.handed_over.configuration_id])
    bins = calibration.reliability(*calibration.events_of(*_part(study, "test")))
    traces = [
        guide([0, 1], [0, 1], translate("perfect calibration")),
        {
            "type": "scatter",
            "mode": "markers+lines",
            "name": translate("observed"),
            "x": [rounded(item.said) for item in bins],
            "y": [rounded(item.came) for item in bins],
            "error_y": {
                "type": "data",
                "symmetric": False,
                "array": [rounded(item.high - item.came) for item in bins],
                "arrayminus": [rounded(item.came - item.low) for item in bins],
            },
            "text": [translate("{n} events", n=item.events) for item in bins],
            "hovertemplate": translate(
                "predicted %{x:.2f}, observed %{y:.2f}, %{text}<extra></extra>"
            ),
            "marker": {"color": own, "size": 8},
            "line": {"color": own, "width": 1.5},
        },
    ]
    return unit_square(
        figure(
            traces,
            x=translate("mean predicted probability"),
            y=translate("observed frequency"),
        )
    )


def decision_curve(study: StudyResults) -> Figure | None:
    """Draw the net benefit of acting on the model, on every note and on none; binary only."""
    if study.handed_over is None or study.about["task"] != "binary":
        return None
    events, predicted = calibration.events_of(*_part(study, "test"))
    model = calibration.net_benefit(events, predicted, THRESHOLDS)
    across = [rounded(value) for value in THRESHOLDS]
    run = study.handed_over
    number = style_numbers(study)[run.configuration_id]
    unit = study.unit.one
    everyone = calibration.net_benefit(events, np.ones(len(predicted)), THRESHOLDS)
    label = translate("act on every {unit}", unit=unit)
    acting = guide(across, [rounded(value) for value in everyone], label)
    acting["line"]["dash"] = "dash"
    traces = [
        line(number, run.configuration, across, [rounded(v) for v in model], visible=True),
        acting,
        guide([0, 1], [0, 0], translate("act on no {unit}", unit=unit)),
    ]
    drawn = figure(
        traces,
        x=translate("threshold probability"),
        y=translate("net benefit per {unit}", unit=unit),
        height=600,
    )
    top = max(float(events.mean()), float(model.max()))
    drawn["layout"]["yaxis"]["range"] = [rounded(-0.15 * top), rounded(1.1 * top)]
    return drawn


def points(study: StudyResults) -> list[calibration.OperatingPoint]:
    """Return thresholds for chosen sensitivities and precisions; binary only."""
    if study.handed_over is None or study.about["task"] != "binary":
        return []
    validation, test = (
        calibration.events_of(*_part(study, part)) for part in ("validation", "test")
    )
    return calibration.operating_points(validation, test) if len(validation[0]) else []


def _part(study: StudyResults, part: str, raw: bool = False) -> tuple[Labels, NDArray[np.float64]]:
    """Return the labels and probabilities [note, class] of the model handed over.

    They are those of its bundle, calibrated or not, unless the model's own are asked for.
    """
    table = study.answers[part]
    classes = study.about["classes"]
    labels = table["label"]
    if study.about["task"] == "multilabel":
        columns = [labels.list.contains(name) for name in classes]
    else:
        columns = [labels == name for name in classes]
    matrix = np.column_stack([column.to_numpy() for column in columns])
    probabilities = table.select(f"prob_{name}" for name in classes).to_numpy()
    run = study.handed_over
    if not raw and run is not None and run.calibration is not None and run.calibration["surely"]:
        map = CalibrationMap.model_validate(run.calibration["map"])
        probabilities = map.apply(study.about["task"], probabilities)
    return Labels(study.about["task"], np.array(classes), matrix), probabilities


def _ece(labels: Labels, probabilities: NDArray[np.float64]) -> float:
    everyone = np.ones((1, len(probabilities)))
    return float(metrics.ece(labels.task, labels.matrix, probabilities, everyone)[0])
