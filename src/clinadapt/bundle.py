"""A bundle: a fitted classifier as a folder of plain files, opened offline anywhere.

``bundle.json`` (settings, classes, threshold, where it came from), weights as safetensors,
tokenizer or terms as JSON, and a model card. No pickles: opening a bundle runs no code of it.
"""

import hashlib
import importlib.metadata
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt import families
from clinadapt.card import model_card
from clinadapt.classifier import NoteClassifier
from clinadapt.errors import InputError
from clinadapt.threshold import Threshold

FORMAT = 1
RECORD = "bundle.json"
MODEL_FOLDER = "model"
CARD = "README.md"
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
    settings = families.settings_of(model)
    for name in ("encoder", "vectors"):  # a name or a path of the machine that made it
        if settings.get(name) is not None:
            settings[name] = Path(settings[name]).name
    record = {
        "format": FORMAT,
        "clinadapt": importlib.metadata.version("clinadapt"),
        "family": families.family_of(model),
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
    text = json.dumps(record, ensure_ascii=False, indent=2)
    (partial / RECORD).write_text(text, encoding="utf-8")
    (partial / CARD).write_text(model_card(record), encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(partial, folder)
    return folder


def read_record(folder: str | Path) -> dict[str, Any]:
    """Contents of ``bundle.json``.

    Raises
    ------
    InputError
        Not a bundle, or one of another format.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        raise InputError(f"{folder} is not a bundle (no {RECORD}); expected a folder like OUT/best")
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if record.get("format") != FORMAT:
        raise InputError(
            f"{folder} has bundle format {record.get('format')}, this version reads {FORMAT}: "
            f"use clinadapt {record.get('clinadapt')}"
        )
    return record


def name_of(folder: str | Path) -> str:
    """A task's name: its bundle's folder, or the study of ``best`` and ``recommended``."""
    path = Path(os.path.abspath(folder))
    return path.parent.name if path.name in STUDY_FOLDERS else path.name


def fingerprint(folder: str | Path) -> str:
    """Version of a bundle's model: hash of all its files but the card, in 16 hexadecimal digits."""
    digest = hashlib.sha256()
    files = (path for path in Path(folder).rglob("*") if path.is_file() and path.name != CARD)
    for path in sorted(files):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.relative_to(folder).as_posix()} {content}\n".encode())
    return digest.hexdigest()[:16]


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
    """
    record = read_record(folder)
    model = families.build(record["family"], record["settings"])
    classifier = NoteClassifier(model, metric=record["metric"])
    classes = np.array(record["classes"])
    classifier.model_ = model.load(Path(folder) / MODEL_FOLDER, record["task"], len(classes))
    classifier.classes_ = classes
    classifier.task_ = record["task"]
    classifier.metric_ = record["metric"]
    classifier.indicator_ = record["indicator"]
    value = record["threshold"]["value"]
    classifier.threshold_ = Threshold(
        float("nan") if value is None else value, record["threshold"]["at_least_one"]
    )
    return classifier
