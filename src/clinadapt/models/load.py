"""Open a bundle, offline."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.core.errors import ClinadaptError, InputError, describe_unexpected
from clinadapt.evaluation.abstention import Abstention
from clinadapt.evaluation.calibration_maps import Calibration, Scale
from clinadapt.evaluation.threshold import Threshold
from clinadapt.models import registry
from clinadapt.models.aggregated import Aggregated
from clinadapt.models.bundle import integrity
from clinadapt.models.bundle.decision_rule import DecisionRule
from clinadapt.models.bundle.integrity import MODEL_FOLDER, REFERENCE
from clinadapt.models.bundle.record import read_record
from clinadapt.models.bundle.reference import Reference
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.onnx_model import load_fitted


def load(
    folder: str | Path, scale: Scale | None = None, threshold: float | None = None
) -> NoteClassifier:
    """Open a bundle, offline.

    Parameters
    ----------
    folder : path
        Written by a study (``OUT/best``) or by `NoteClassifier.save`.
    scale : {"raw", "calibrated"}, optional
        Whether probabilities are the model's own or calibrated; default: as it was saved.
    threshold : float, optional
        Probability from which on a class is predicted, instead of the one chosen on validation
        notes. It is meant for the probabilities of `scale`.

    Returns
    -------
    NoteClassifier
        Fitted, with exactly the probabilities of the saved classifier. One from a study of
        patients reads their documents, see `clinadapt.patient_documents`.

    Raises
    ------
    InputError
        The folder is not a bundle, or has changed since it was saved; the message names the files.
        Or it has no calibrated probabilities, or no threshold.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from clinadapt import NoteClassifier, load
    >>> classifier = NoteClassifier().fit(["fièvre et toux", "suivi du diabète"] * 20, [1, 0] * 20)
    >>> with TemporaryDirectory() as folder:
    ...     again = load(classifier.save(f"{folder}/bundle"))
    >>> again.predict(["fièvre et toux"])
    array([1])
    """
    folder, record = Path(folder), read_record(folder)
    DecisionRule.of(folder, record, scale, threshold)  # refuses what the bundle has not
    try:
        integrity.check_files(folder, record)
        classifier = _open(folder, record)
    except ClinadaptError:
        raise
    except Exception as error:  # a manipulated file may raise anything
        raise InputError(
            f"{folder} cannot be opened ({describe_unexpected(error)}): the bundle is damaged, was "
            "made by another version, or this is a bug in clinadapt, which its maintainers "
            "would like to know about"
        ) from error

    if scale is not None:
        classifier = classifier.with_scale(scale)
    if threshold is not None:
        classifier.threshold_ = replace(classifier.threshold_, value=threshold)
    return classifier


def _threshold(content: Mapping[str, Any]) -> Threshold:
    value = content["value"]
    return Threshold(float("nan") if value is None else value, content["at_least_one"])


def _open(folder: Path, record: dict[str, Any]) -> NoteClassifier:
    model = registry.build(record["model"], record["settings"])
    classifier = NoteClassifier(model, metric=record["metric"])
    classes = np.array(record["classes"])
    classifier.model_ = load_fitted(model, folder / MODEL_FOLDER, record["task"], len(classes))
    if record.get("aggregation") is not None:
        classifier.model_ = Aggregated(classifier.model_, record["task"], record["aggregation"])
    classifier.set_classes(record["task"], classes)
    classifier.metric_ = record["metric"]
    classifier.indicator_ = record["indicator"]
    calibration = record.get("calibration")
    if calibration is None:
        classifier.set_scale(_threshold(record["threshold"]))
    else:
        classifier.set_scale(
            _threshold(record["threshold"]),
            Calibration.model_validate(calibration),
            record["scale"],
            _threshold(record["calibrated_threshold"]),
        )
    kept = record.get("abstention")
    classifier.keep_abstention(None if kept is None else Abstention.model_validate(kept))
    path = folder / REFERENCE
    classifier.reference_ = Reference.read(path) if path.is_file() else None
    return classifier
