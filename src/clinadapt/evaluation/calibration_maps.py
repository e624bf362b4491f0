r"""Maps that calibrate probabilities, fitted on notes that the model did not learn from.

A map is one strictly increasing function $m$ for all notes (and, in a multi-label task, for all
labels), so that ranks stay as they are, and the classes too once the threshold moves with it:

$$ \text{temperature: } \operatorname{logit} m(p) = a \operatorname{logit} p, \qquad
   \text{logistic: } \operatorname{logit} m(p) = a \operatorname{logit} p + b, \qquad a > 0, $$

and isotonic regression, the best increasing function. In a multi-class task, where an intercept or
a function for each class would change which class is the most probable one, there is the
temperature alone, $m(p)_k \propto p_k^a$.

Guo et al. 2017 (arXiv 1706.04599), temperature; Cox 1958, Platt 1999, logistic; Zadrozny & Elkan
2002, isotonic. As Platt does, a class that $n$ patients have is fitted as if it had a probability
of $(n + 1) / (n + 2)$ on its notes instead of 1, so that few notes cannot make a map certain.
"""

from typing import Annotated, Any, Literal, Self

import numpy as np
import scipy  # its parts are loaded on first use
from annotated_types import Interval, Len
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from clinadapt.core.arrays import Floats
from clinadapt.data.labels import Labels, Task
from clinadapt.evaluation import metrics
from clinadapt.evaluation.paired_comparison import Difference, corrected, difference

Method = Literal["temperature", "logistic", "isotonic"]
Scale = Literal["raw", "calibrated"]
METHODS: dict[Task, tuple[Method, ...]] = {
    "binary": ("temperature", "logistic", "isotonic"),
    "multilabel": ("temperature", "logistic", "isotonic"),
    "multiclass": ("temperature",),
}
FOLDS = 10
LEAST_PATIENTS = 20
LEAST_CARRIERS = 10  # patients with, and without, an event
RESAMPLES = 1000
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
        Log-loss of the model's own probabilities on these notes; see `log_losses`.
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


def calibrate(
    labels: Labels, probabilities: Floats, clusters: NDArray[np.int64], seed: int = 0
) -> Calibration | None:
    """Return the map with the lowest log-loss, by cross-fitting over patients.

    Parameters
    ----------
    labels : Labels
        Labels of held-out notes.
    probabilities : ndarray of float64, shape [note, class]
        Probabilities from a model that learned from neither these notes nor their patients.
    clusters : ndarray of int64, shape [note]
        Patient of each note.
    seed : int
        Seed of the folds.

    Returns
    -------
    Calibration, optional
        None where no map lowers the log-loss, or with too few patients: fewer than 20, or fewer
        than 10 with the positive class (or any label) or without it.

    Examples
    --------
    >>> import numpy as np
    >>> from clinadapt.data.labels import from_single
    >>> p = np.linspace(0.01, 0.99, 200)
    >>> labels = from_single((np.random.default_rng(0).random(200) < p).astype(int).tolist())
    >>> sharpened = p**3 / (p**3 + (1 - p) ** 3)  # surer than it should be
    >>> found = calibrate(labels, np.column_stack([1 - sharpened, sharpened]), np.arange(200))
    >>> found.surely, found.calibrated < found.raw
    (True, True)
    """
    patients = len(np.unique(clusters))
    if patients < LEAST_PATIENTS or _fewer_carriers(labels, clusters) < LEAST_CARRIERS:
        return None
    raw = log_losses(labels, probabilities)
    tried: list[tuple[float, Method, Difference]] = []
    for method in METHODS[labels.task]:
        losses = _cross_fitted(method, labels, probabilities, clusters, seed)
        tried.append((float(losses.mean()), method, _mean_difference(losses - raw, clusters)))
    differences = corrected([one for *_, one in tried])
    (loss, method, _), best = min(zip(tried, differences, strict=True), key=lambda each: each[0][0])
    if loss >= raw.mean():
        return None
    return Calibration(
        map=fit_map(method, labels, probabilities, clusters),
        notes=len(labels),
        patients=patients,
        raw=float(raw.mean()),
        calibrated=loss,
        low=best.low,
        high=best.high,
        surely=best.different,
    )


def compare(
    map: CalibrationMap, labels: Labels, probabilities: Floats, clusters: NDArray[np.int64]
) -> dict[str, Any]:
    """Return scores of probabilities as they are and calibrated, on notes that played no part.

    Parameters
    ----------
    map : CalibrationMap
    labels, probabilities, clusters
        As in `calibrate`, of other notes.

    Returns
    -------
    dict
        "log_loss", "brier" and "ece", each with "raw" and "calibrated"; the first also has the
        95 % interval of its difference, "low" and "high".
    """
    calibrated = map.apply(labels.task, probabilities)
    ones = np.ones((1, len(labels)))
    content: dict[str, Any] = {}
    for name, score in (("brier", metrics.brier), ("ece", metrics.ece)):
        content[name] = {
            scale: float(score(labels.task, labels.matrix, table, ones)[0])
            for scale, table in (("raw", probabilities), ("calibrated", calibrated))
        }
    before, after = log_losses(labels, probabilities), log_losses(labels, calibrated)
    paired = _mean_difference(after - before, clusters)
    content["log_loss"] = {
        "raw": float(before.mean()),
        "calibrated": float(after.mean()),
        "low": paired.low,
        "high": paired.high,
    }
    return content


def log_losses(labels: Labels, probabilities: Floats) -> Floats:
    """Return the log-loss of each note [note]; in a multi-label task its mean over the labels."""
    clipped = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    right = np.log(np.where(labels.matrix, clipped, 1 - clipped))
    if labels.task == "multilabel":
        return -right.mean(axis=1)
    return -np.where(labels.matrix, right, 0.0).sum(axis=1)


def fit_map(
    method: Method, labels: Labels, probabilities: Floats, clusters: NDArray[np.int64]
) -> CalibrationMap:
    """Return a map fitted on held-out notes; the parameters are those of `calibrate`."""
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


def _fewer_carriers(labels: Labels, clusters: NDArray[np.int64]) -> int:
    """Return the number of patients with events, or without if they are fewer."""
    if labels.task == "multiclass":  # the events, right answers, are those of every patient
        return len(np.unique(clusters))
    events = labels.matrix[:, 1:] if labels.task == "binary" else labels.matrix
    return min(len(np.unique(clusters[side.any(axis=1)])) for side in (events, ~events))


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

    def loss(logarithm: float) -> float:
        shares = scipy.special.log_softmax(np.exp(logarithm) * logs, axis=1)
        return float(-np.mean((targets * shares).sum(axis=1)))

    found = scipy.optimize.minimize_scalar(
        loss, bounds=np.log(SLOPES).tolist(), method="bounded", options={"xatol": 1e-6}
    )
    return float(np.exp(found.x))


def _cross_fitted(
    method: Method,
    labels: Labels,
    probabilities: Floats,
    clusters: NDArray[np.int64],
    seed: int,
) -> Floats:
    """Return the log-loss of each note under a map that was fitted without its patient [note]."""
    names, patient = np.unique(clusters, return_inverse=True)
    fold = (np.random.default_rng(seed).permutation(len(names)) % FOLDS)[patient]
    losses = np.empty(len(labels))
    for number in range(FOLDS):
        own, others = np.flatnonzero(fold == number), np.flatnonzero(fold != number)
        fitted = fit_map(method, labels.take(others), probabilities[others], clusters[others])
        losses[own] = log_losses(labels.take(own), fitted.apply(labels.task, probabilities[own]))
    return losses


def _mean_difference(differences: Floats, clusters: NDArray[np.int64]) -> Difference:
    """Return the mean of paired differences [note] with its interval over patients."""
    names, patient = np.unique(clusters, return_inverse=True)
    sums, notes = np.bincount(patient, differences), np.bincount(patient)
    resampled = [
        (weights @ sums) / (weights @ notes)
        for weights in metrics.resample_weights(np.arange(len(names)), RESAMPLES, 0)
    ]
    value = float(differences.mean())
    return difference(value, np.concatenate(resampled), len(names) - 1)
