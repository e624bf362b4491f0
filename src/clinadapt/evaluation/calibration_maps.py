r"""Maps that calibrate probabilities; `calibration_fit` fits, `calibration_choice` chooses one.

A map is one strictly increasing function $m$ for all notes (and, in a multi-label task, for all
labels), so that ranks stay as they are, and the classes too once the threshold moves with it:

$$ \text{temperature: } \operatorname{logit} m(p) = a \operatorname{logit} p, \qquad
   \text{logistic: } \operatorname{logit} m(p) = a \operatorname{logit} p + b, \qquad a > 0, $$

and isotonic regression, the best increasing function. In a multi-class task, where an intercept or
a function for each class would change which class is the most probable one, there is the
temperature alone, $m(p)_k \propto p_k^a$.

Guo et al. 2017 (arXiv 1706.04599), temperature; Cox 1958, Platt 1999, logistic; Zadrozny & Elkan
2002, isotonic.
"""

from typing import Annotated, Literal, Self

import numpy as np
import scipy  # its parts are loaded on first use
from annotated_types import Interval, Len
from pydantic import BaseModel, ConfigDict, model_validator

from clinadapt.core.arrays import Floats
from clinadapt.data.labels import Task

Method = Literal["temperature", "logistic", "isotonic"]
Scale = Literal["raw", "calibrated"]
METHODS: dict[Task, tuple[Method, ...]] = {
    "binary": ("temperature", "logistic", "isotonic"),
    "multilabel": ("temperature", "logistic", "isotonic"),
    "multiclass": ("temperature",),
}
SMALLEST = 1e-12
SLOPES = (0.01, 100.0)
MOST_INTERCEPT = 50.0
MOST_KNOTS = 20_000
# Of the model's own probability: where a map is flat, notes keep their order.
OWN_SHARE = 1e-4
Share = Annotated[float, Interval(ge=0, le=1)]


class CalibrationMap(BaseModel):
    """A strictly increasing map of probabilities.

    Attributes
    ----------
    method : {"temperature", "logistic", "isotonic"}
    slope, intercept : float
        $a$ and $b$ of the logistic map; a temperature is 1 / slope.
    knots : list of (float, float)
        Points that the isotonic map joins by lines: probability before and after.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    method: Method
    slope: Annotated[float, Interval(ge=SLOPES[0], le=SLOPES[1])] = 1.0
    intercept: Annotated[float, Interval(ge=-MOST_INTERCEPT, le=MOST_INTERCEPT)] = 0.0
    knots: Annotated[list[tuple[Share, Share]], Len(0, MOST_KNOTS)] = []

    @model_validator(mode="after")
    def _increases(self) -> Self:
        before, after = (
            (list(side) for side in zip(*self.knots, strict=True)) if self.knots else ([], [])
        )
        if (self.method == "isotonic") != bool(self.knots):
            raise ValueError("knots")
        if before != sorted(set(before)) or after != sorted(after):
            raise ValueError("knots")
        return self

    def apply(self, task: Task, probabilities: Floats) -> Floats:
        """Return the calibrated probabilities.

        Parameters
        ----------
        task : {"binary", "multiclass", "multilabel"}
        probabilities : ndarray of float64, shape [note, class]
            Classes in the order of `Labels`.

        Returns
        -------
        ndarray of float64, shape [note, class]
        """
        if task == "binary":
            positive = self.event(probabilities[:, 1])
            return np.column_stack([1 - positive, positive])
        if task == "multilabel":
            return self.event(probabilities)
        logs = np.log(np.clip(probabilities, SMALLEST, 1.0))
        scaled = scipy.special.softmax(self.slope * logs, axis=1)
        return (1 - OWN_SHARE) * scaled + OWN_SHARE * probabilities

    def event(self, probabilities: Floats) -> Floats:
        """Return the calibrated probabilities of events, of any shape."""
        if self.method == "isotonic":
            before, after = np.array(self.knots).T
            mapped = np.interp(probabilities, before, after)
        else:
            logits = scipy.special.logit(np.asarray(probabilities, dtype=np.float64))
            mapped = scipy.special.expit(self.slope * logits + self.intercept)
        return (1 - OWN_SHARE) * mapped + OWN_SHARE * probabilities

    def move(self, threshold: float) -> float:
        """Return the threshold that predicts the same classes from calibrated probabilities."""
        return float(self.event(np.array(threshold)))

    def undo(self, probability: float) -> float:
        """Return the probability of an event before the map; 0 or 1 outside of the map's range.

        NaN, the threshold of a multi-class task, stays NaN in both directions.
        """
        if np.isnan(probability):
            return probability

        def off(before: float) -> float:
            return float(self.event(np.array(before))) - probability

        if off(0.0) >= 0 or off(1.0) <= 0:
            return float(off(0.0) < 0)
        return float(scipy.optimize.brentq(off, 0.0, 1.0, xtol=1e-15))


class Calibration(BaseModel):
    """A map chosen on held-out notes, and how much it lowers their log-loss.

    Attributes
    ----------
    map : CalibrationMap
    notes, patients : int
        Numbers of the notes that it was fitted on, and of their patients.
    raw : float
        Log-loss of the model's own probabilities on these notes.
    calibrated : float
        That of the calibrated ones, each from a map fitted without the note's patient.
    low, high : float
        95 % interval of calibrated minus raw, over patients.
    surely : bool
        True if the log-loss is significantly lower, after correction for all maps tried.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    map: CalibrationMap
    notes: int
    patients: int
    raw: float
    calibrated: float
    low: float
    high: float
    surely: bool
