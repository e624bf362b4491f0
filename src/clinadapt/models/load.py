"""Open a bundle, offline."""

from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.core.errors import ClinadaptError, InputError, describe_unexpected
from clinadapt.evaluation.threshold import Threshold
from clinadapt.models import registry
from clinadapt.models.aggregated import Aggregated
from clinadapt.models.bundle import integrity
from clinadapt.models.bundle.integrity import MODEL_FOLDER, REFERENCE
from clinadapt.models.bundle.record import read_record
from clinadapt.models.bundle.reference import Reference
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.onnx_model import load_fitted


def load(folder: str | Path) -> NoteClassifier:
    """Open a bundle, offline.

    Parameters
    ----------
    folder : path
        Written by a study (``OUT/best``) or by `NoteClassifier.save`.

    Returns
    -------
    NoteClassifier
        Fitted, with exactly the probabilities of the saved classifier. One from a study of
        patients reads their documents, see `clinadapt.patient_documents`.

    Raises
    ------
    InputError
        The folder is not a bundle, or has changed since it was saved; the message names the files.

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
    try:
        integrity.check_files(folder, record)
        return _open(folder, record)
    except ClinadaptError:
        raise
    except Exception as error:  # a manipulated file may raise anything
        raise InputError(
            f"{folder} cannot be opened ({describe_unexpected(error)}): the bundle is damaged, was "
            "made by another version, or this is a bug in clinadapt, which its maintainers "
            "would like to know about"
        ) from error


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
    value = record["threshold"]["value"]
    classifier.threshold_ = Threshold(
        float("nan") if value is None else value, record["threshold"]["at_least_one"]
    )
    path = folder / REFERENCE
    classifier.reference_ = Reference.read(path) if path.is_file() else None
    return classifier
