"""A bundle: a fitted classifier as a folder of plain files, opened offline anywhere.

``bundle.json`` (settings, classes, threshold, where it came from), weights as safetensors,
tokenizer or terms as JSON, what its notes were like as counts, and a model card. No pickles:
opening a bundle runs no code of it, and what was not saved so is refused (`bundle_checks.py`).
"""

import hashlib
import importlib.metadata
import math
import os
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt import bundle_checks, families
from clinadapt.bundle_checks import CARD, MOST_BYTES, RECORD, REFERENCE
from clinadapt.card import model_card
from clinadapt.classifier import NoteClassifier
from clinadapt.core import safe_files
from clinadapt.core.errors import ClinadaptError, InputError, describe_unexpected
from clinadapt.drift.reference import Reference
from clinadapt.evaluation.threshold import Threshold
from clinadapt.families.exported import ExportedModel, load_fitted

FORMAT = 2
MODEL_FOLDER = "model"
STUDY_FOLDERS = ("best", "recommended")


def save_bundle(
    classifier: NoteClassifier, folder: Path, provenance: dict[str, Any] | None = None
) -> Path:
    """Write a bundle; the folder appears at once, whole, in place of what was there.

    Parameters
    ----------
    classifier : NoteClassifier
        Fitted.
    folder : Path
    provenance : dict, optional
        Where the model came from: row, scores, data. Kept in the record and shown on the card.

    Returns
    -------
    Path
        The folder.
    """
    partial = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(partial, ignore_errors=True)
    (partial / MODEL_FOLDER).mkdir(parents=True)
    model = classifier.model_
    model.save(partial / MODEL_FOLDER)
    value = classifier.threshold_.value
    described = model.original if isinstance(model, ExportedModel) else model
    settings = families.settings_of(described)
    for name in ("encoder", "vectors"):  # a name or a path of the machine that made it
        if settings.get(name) is not None:
            settings[name] = Path(os.path.abspath(settings[name])).name
    record = {
        "format": FORMAT,
        "clinadapt": importlib.metadata.version("clinadapt"),
        "family": families.family_of(described),
        "settings": settings,
        "task": classifier.task_,
        "classes": classifier.classes_.tolist(),
        "metric": classifier.metric_,
        "indicator": classifier.indicator_,
        "threshold": {
            "value": None if math.isnan(value) else value,
            "at_least_one": classifier.threshold_.at_least_one,
        },
        "provenance": provenance or {},
    }
    if hasattr(model, "guarantee_"):
        record["privacy"] = asdict(model.guarantee_)
    (partial / CARD).write_text(model_card(record), encoding="utf-8")
    # Counts of the training notes are no part of what a private fit may give away.
    if classifier.reference_ is not None and "privacy" not in record:
        text = classifier.reference_.model_dump_json(indent=1)
        (partial / REFERENCE).write_text(text, encoding="utf-8")
    bundle_checks.seal(partial, record)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
    return folder


def read_record(folder: str | Path) -> dict[str, Any]:
    """Contents of ``bundle.json``.

    Raises
    ------
    InputError
        Not a bundle, one of another format, or not as it was saved.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        raise InputError(f"{folder} is not a bundle (no {RECORD}); expected a folder like OUT/best")
    record = safe_files.read_json(path, MOST_BYTES[RECORD])
    if not isinstance(record, dict):
        raise InputError(f"{folder} is not a bundle: {RECORD} holds no mapping")
    if record.get("format") != FORMAT:
        # An older one has no checksums; reading it anyway would let anybody do without them.
        raise InputError(
            f"{folder} has bundle format {record.get('format')}, this version reads {FORMAT}: fit "
            "and save it again (`clinadapt study`, run again in its folder, does so), or open it "
            f"with the clinadapt that wrote it ({record.get('clinadapt')})"
        )
    bundle_checks.check_record(Path(folder), record)
    return record


def name_of(folder: str | Path) -> str:
    """A task's name: its bundle's folder, or the study of ``best`` and ``recommended``."""
    path = Path(os.path.abspath(folder))
    return path.parent.name if path.name in STUDY_FOLDERS else path.name


def fingerprint(folder: str | Path) -> str:
    """Version of a bundle's model: hash of its record, in 16 hexadecimal digits.

    The record holds the hashes of all files but the card.
    """
    return hashlib.sha256((Path(folder) / RECORD).read_bytes()).hexdigest()[:16]


def load(folder: str | Path) -> NoteClassifier:
    """Open a bundle, offline.

    Parameters
    ----------
    folder : path
        Written by a study (``OUT/best``) or by `NoteClassifier.save`.

    Returns
    -------
    NoteClassifier
        Fitted, with the very probabilities of the one that was saved.

    Raises
    ------
    InputError
        Not a bundle, or not as it was saved: which files differ is said.
    """
    folder, record = Path(folder), read_record(folder)
    try:
        bundle_checks.check_files(folder, record)
        return _open(folder, record)
    except ClinadaptError:
        raise
    except Exception as error:  # whatever a file that was made to harm may lead to
        raise InputError(
            f"{folder} cannot be opened ({describe_unexpected(error)}): the bundle is damaged, was "
            "made by another version, or this is a fault of clinadapt, which its maintainers "
            "would like to hear of"
        ) from error


def _open(folder: Path, record: dict[str, Any]) -> NoteClassifier:
    model = families.build(record["family"], record["settings"])
    classifier = NoteClassifier(model, metric=record["metric"])
    classes = np.array(record["classes"])
    classifier.model_ = load_fitted(model, folder / MODEL_FOLDER, record["task"], len(classes))
    classifier.classes_ = classes
    classifier.task_ = record["task"]
    classifier.metric_ = record["metric"]
    classifier.indicator_ = record["indicator"]
    value = record["threshold"]["value"]
    classifier.threshold_ = Threshold(
        float("nan") if value is None else value, record["threshold"]["at_least_one"]
    )
    path = folder / REFERENCE
    classifier.reference_ = Reference.read(path) if path.is_file() else None
    return classifier
