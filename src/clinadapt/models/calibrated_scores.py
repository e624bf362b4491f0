"""The two scales of a classifier's probabilities, raw and calibrated, with their thresholds."""

import copy
from dataclasses import replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.errors import InputError
from clinadapt.data.labels import Labels, Task
from clinadapt.evaluation.calibration_choice import calibrate
from clinadapt.evaluation.calibration_maps import Calibration, Scale
from clinadapt.evaluation.threshold import Threshold
from clinadapt.models.bundle.decision_rule import NO_MAP


class CalibratedScores:
    """The part of `clinadapt.NoteClassifier` that chooses between its two scales."""

    task_: Task
    classes_: NDArray[Any]
    label_classes_: NDArray[Any]

    def in_class_order(self, table: NDArray[Any]) -> NDArray[Any]:
        """Return a table [note, class] with columns as in `label_classes_` as in `classes_`."""
        return table[:, np.argsort(self.label_classes_)]

    def in_label_order(self, table: NDArray[Any]) -> NDArray[Any]:
        """Return a table [note, class] with columns as in `classes_` as in `label_classes_`."""
        return table[:, np.searchsorted(self.classes_, self.label_classes_)]

    def calibrate(
        self, labels: Labels, probabilities: NDArray[np.float64], clusters: NDArray[np.int64]
    ) -> Self:
        """Fit a map of probabilities, and use it if it surely lowers the log-loss.

        The predicted classes stay the same: the threshold moves with the probabilities.

        Parameters
        ----------
        labels : Labels
            Labels of notes that the model did not learn from.
        probabilities : ndarray of float64, shape [note, class]
            The model's own, with classes in the order of `Labels`.
        clusters : ndarray of int64, shape [note]
            Patient of each note.
        """
        found = calibrate(labels, probabilities, clusters)
        surely = found is not None and found.surely
        return self.set_scale(self.thresholds_["raw"], found, "calibrated" if surely else "raw")

    def set_scale(
        self,
        raw: Threshold,
        calibration: Calibration | None = None,
        scale: Scale = "raw",
        calibrated: Threshold | None = None,
    ) -> Self:
        """Set thresholds, map and scale of the probabilities.

        Parameters
        ----------
        raw : Threshold
            Of the model's own probabilities.
        calibration : Calibration, optional
        scale : {"raw", "calibrated"}
        calibrated : Threshold, optional
            Of calibrated probabilities; default: the one that predicts the same classes.
        """
        self.calibration_: Calibration | None = calibration
        self.thresholds_: dict[Scale, Threshold] = {"raw": raw}
        if calibration is not None:
            moved = calibration.map.move(raw.value)
            self.thresholds_["calibrated"] = calibrated or replace(raw, value=moved)
        self.scale_: Scale = scale
        return self

    @property
    def threshold_(self) -> Threshold:
        """Threshold of the probabilities that `predict_proba` returns."""
        return self.thresholds_[self.scale_]

    @threshold_.setter
    def threshold_(self, threshold: Threshold) -> None:
        self.thresholds_[self.scale_] = threshold
        if self.calibration_ is None:
            return
        other: Scale = "raw" if self.scale_ == "calibrated" else "calibrated"
        change = self.calibration_.map.undo if other == "raw" else self.calibration_.map.move
        self.thresholds_[other] = replace(threshold, value=change(threshold.value))

    def with_scale(self, scale: Scale) -> Self:
        """Return the same fitted classifier with raw or with calibrated probabilities.

        Raises
        ------
        InputError
            There is no map to calibrate them with.
        """
        if scale == "calibrated" and self.calibration_ is None:
            raise InputError(NO_MAP)
        other = copy.copy(self)
        other.thresholds_ = dict(self.thresholds_)
        other.scale_ = scale
        return other

    def present(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a model's probabilities as `predict_proba` does.

        Parameters
        ----------
        probabilities : ndarray of float64, shape [note, class]
            The model's own, with classes in the order of `Labels`.
        """
        if self.scale_ == "calibrated":
            assert self.calibration_ is not None
            probabilities = self.calibration_.map.apply(self.task_, probabilities)
        return self.in_class_order(probabilities)
