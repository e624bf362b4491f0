"""Choose a calibration map by cross-fitting over patients, and measure what it does."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from clinadapt.core.arrays import Floats, evenly_spaced
from clinadapt.data.labels import Labels
from clinadapt.evaluation import metrics
from clinadapt.evaluation.calibration_fit import fit_map
from clinadapt.evaluation.calibration_maps import (
    METHODS,
    SMALLEST,
    Calibration,
    CalibrationMap,
    Method,
)
from clinadapt.evaluation.paired_comparison import Difference, corrected, difference

FOLDS = 10
LEAST_PATIENTS = 20
LEAST_CARRIERS = 10  # patients with, and without, an event
RESAMPLES = 1000
MOST_ANSWERS = 2**18  # notes times classes; a map has few parameters, and gains nothing by more


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
        Patient of each note. Where notes times classes are very many, some notes are taken, evenly
        spaced.
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
    taken = evenly_spaced(len(labels), max(1, MOST_ANSWERS // labels.matrix.shape[1]))
    labels, probabilities, clusters = labels.take(taken), probabilities[taken], clusters[taken]
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


def _fewer_carriers(labels: Labels, clusters: NDArray[np.int64]) -> int:
    """Return the number of patients with events, or without if they are fewer."""
    if labels.task == "multiclass":  # the events, right answers, are those of every patient
        return len(np.unique(clusters))
    events = labels.matrix[:, 1:] if labels.task == "binary" else labels.matrix
    return min(len(np.unique(clusters[side.any(axis=1)])) for side in (events, ~events))


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
