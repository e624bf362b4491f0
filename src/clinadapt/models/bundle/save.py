"""A bundle: a fitted classifier as a folder of plain files, opened offline anywhere.

``bundle.json`` (settings, classes, threshold, provenance), weights as safetensors, tokenizer or
terms as JSON, counts that describe the notes, and a model card. There are no pickles: opening a
bundle runs none of its code, and other files are refused (`integrity.py`).
"""

import importlib.metadata
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clinadapt.core.atomic_files import atomic_folder
from clinadapt.core.errors import InputError
from clinadapt.evaluation.threshold import Threshold
from clinadapt.models import registry
from clinadapt.models.bundle import integrity
from clinadapt.models.bundle.fitted import FittedClassifier
from clinadapt.models.bundle.integrity import (
    CARD,
    MODEL_FOLDER,
    RECORD,
    REFERENCE,
    foreign_files,
)
from clinadapt.models.bundle.model_card import model_card
from clinadapt.models.bundle.record import FORMAT


def save_bundle(
    classifier: FittedClassifier, folder: Path, provenance: dict[str, Any] | None = None
) -> Path:
    """Write a bundle; its folder replaces an earlier one in one step, once it is complete.

    Parameters
    ----------
    classifier : NoteClassifier
        Fitted.
    folder : Path
    provenance : dict, optional
        Configuration, scores and data the model came from; kept in the record and shown on the
        card.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    InputError
        There is a folder with files that are not a bundle's.
    """
    if folder.exists() and not _is_free(folder):
        raise InputError(
            f"{folder} exists and is not a bundle, or holds other files too: saving would delete "
            "them. Choose another folder"
        )
    with atomic_folder(folder, replace=True) as partial:
        _write(classifier, partial, provenance)
    return folder


def _is_free(folder: Path) -> bool:
    """Return whether a folder is empty or a bundle without other files."""
    if not folder.is_dir():
        return False
    return not any(folder.iterdir()) or ((folder / RECORD).is_file() and not foreign_files(folder))


def _write(classifier: FittedClassifier, partial: Path, provenance: dict[str, Any] | None) -> None:
    (partial / MODEL_FOLDER).mkdir()
    model = classifier.model_
    model.save(partial / MODEL_FOLDER)
    configured = model.configured
    settings = registry.settings_of(configured)
    for name in configured.path_settings:  # paths of this machine mean nothing elsewhere
        if settings.get(name) is not None:
            settings[name] = Path(os.path.abspath(settings[name])).name
    record = {
        "format": FORMAT,
        "clinadapt": importlib.metadata.version("clinadapt"),
        "model": registry.name_of(configured),
        "settings": settings,
        "task": classifier.task_,
        "classes": classifier.label_classes_.tolist(),
        "level": model.level,
        "metric": classifier.metric_,
        "indicator": classifier.indicator_,
        "threshold": _threshold(classifier.thresholds_["raw"]),
        "provenance": provenance or {},
    }
    if model.aggregation is not None:
        record["aggregation"] = model.aggregation
    if classifier.calibration_ is not None:
        record["calibration"] = classifier.calibration_.model_dump(mode="json")
        record["calibrated_threshold"] = _threshold(classifier.thresholds_["calibrated"])
        record["scale"] = classifier.scale_
    if model.guarantee_ is not None:
        record["privacy"] = asdict(model.guarantee_)
    if classifier.abstention_ is not None and classifier.abstention_holds:
        record["abstention"] = classifier.abstention_.model_dump()
    (partial / CARD).write_text(model_card(record), encoding="utf-8")
    # The guarantee of a private fit does not cover counts of the training notes.
    if classifier.reference_ is not None and "privacy" not in record:
        text = classifier.reference_.model_dump_json(indent=1)
        (partial / REFERENCE).write_text(text, encoding="utf-8")
    integrity.seal(partial, record)


def _threshold(threshold: Threshold) -> dict[str, Any]:
    value = None if math.isnan(threshold.value) else threshold.value
    return {"value": value, "at_least_one": threshold.at_least_one}
