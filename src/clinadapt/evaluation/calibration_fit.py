"""Fit a calibration map on notes that the model did not learn from.

As Platt (1999) does, a class that $n$ patients have is fitted as if it had a probability of
$(n + 1) / (n + 2)$ on its notes instead of 1, so that few notes cannot make a map certain.
"""

import numpy as np
import scipy  # its parts are loaded on first use
from numpy.typing import NDArray

from clinadapt.core.arrays import Floats
from clinadapt.data.labels import Labels
from clinadapt.evaluation.calibration_maps import (
    MOST_INTERCEPT,
    SLOPES,
    SMALLEST,
    CalibrationMap,
    Method,
)


def fit_map(
    method: Method, labels: Labels, probabilities: Floats, clusters: NDArray[np.int64]
) -> CalibrationMap:
    """Return a map fitted on held-out notes.

    Parameters
    ----------
    method : {"temperature", "logistic", "isotonic"}
    labels, probabilities, clusters
        As in `clinadapt.evaluation.calibration_choice.calibrate`.
    """
    if labels.task == "multiclass":
        return CalibrationMap(method=method, slope=_class_slope(labels, probabilities, clusters))
    binary = labels.task == "binary"
    events = labels.matrix[:, 1:] if binary else labels.matrix
    values = (probabilities[:, 1:] if binary else probabilities).ravel()
    carriers, others = (len(np.unique(clusters[side.any(axis=1)])) for side in (events, ~events))
    low, high = 1 / (others + 2), (carriers + 1) / (carriers + 2)
    if method == "isotonic":
        return _isotonic(values, events.ravel(), low, high)
    slope, intercept = _logistic(values, np.where(events.ravel(), high, low), method == "logistic")
    return CalibrationMap(method=method, slope=slope, intercept=intercept)


def _isotonic(values: Floats, events: NDArray[np.bool_], low: float, high: float) -> CalibrationMap:
    from sklearn.isotonic import IsotonicRegression  # slow to import

    # Between the limits, as a step of few notes would otherwise be certain.
    regression = IsotonicRegression(y_min=low, y_max=max(low, high), out_of_bounds="clip")
    regression.fit(values, events)
    before, after = regression.X_thresholds_, regression.y_thresholds_
    # scikit-learn keeps both ends of each flat stretch, but may keep two equal points.
    kept = np.r_[True, np.diff(before) > 0]
    knots = zip(before[kept].tolist(), after[kept].tolist(), strict=True)
    return CalibrationMap(method="isotonic", knots=list(knots))


def _logistic(values: Floats, targets: Floats, has_intercept: bool) -> tuple[float, float]:
    """Return slope and intercept of the logits with the lowest log-loss."""
    logits = scipy.special.logit(np.clip(values, SMALLEST, 1 - SMALLEST))

    def loss(parameters: Floats) -> tuple[float, Floats]:
        scores = parameters[0] * logits + parameters[1]
        wrong = scipy.special.expit(scores) - targets
        value = np.mean(np.logaddexp(0, scores) - targets * scores)
        return float(value), np.array([np.mean(wrong * logits), np.mean(wrong)])

    most = MOST_INTERCEPT if has_intercept else 0.0
    found = scipy.optimize.minimize(
        loss, np.array([1.0, 0.0]), jac=True, bounds=[SLOPES, (-most, most)], method="L-BFGS-B"
    )
    return float(found.x[0]), float(found.x[1])


def _class_slope(labels: Labels, probabilities: Floats, clusters: NDArray[np.int64]) -> float:
    """Return the slope of a multi-class task with the lowest log-loss."""
    logs = np.log(np.clip(probabilities, SMALLEST, 1.0))
    matrix, classes = labels.matrix, labels.matrix.shape[1]
    patients = np.array([len(np.unique(clusters[own])) for own in matrix.T])
    low = (1 / (patients + classes))[matrix.argmax(axis=1)]
    targets = np.where(matrix, 1 - (classes - 1) * low[:, None], low[:, None])
    expected = (targets * logs).sum(axis=1)  # the targets of a note sum to one

    def loss(logarithm: float) -> float:
        slope = np.exp(logarithm)
        return float(np.mean(scipy.special.logsumexp(slope * logs, axis=1) - slope * expected))

    found = scipy.optimize.minimize_scalar(
        loss, bounds=np.log(SLOPES).tolist(), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))
