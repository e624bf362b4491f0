"""A bundle's record: what is in ``bundle.json``, and the version of the model."""

import hashlib
import os
from pathlib import Path
from typing import Any

from clinadapt.core import safe_files
from clinadapt.core.errors import InputError
from clinadapt.models.bundle import integrity
from clinadapt.models.bundle.integrity import MOST_BYTES, RECORD

FORMAT = 3
READ_FORMATS = (2, FORMAT)  # 2 had the names of version 0.1
MODEL_FOLDER = "model"
STUDY_FOLDERS = ("best", "recommended")


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
    if record.get("format") not in READ_FORMATS:
        # An older one has no checksums; reading it anyway would let anybody do without them.
        raise InputError(
            f"{folder} has bundle format {record.get('format')}, this version reads {FORMAT}: fit "
            "and save it again (`clinadapt study`, run again in its folder, does so), or open it "
            f"with the clinadapt that wrote it ({record.get('clinadapt')})"
        )
    return integrity.check_record(Path(folder), record)


def name_of(folder: str | Path) -> str:
    """A task's name: its bundle's folder, or the study of ``best`` and ``recommended``."""
    path = Path(os.path.abspath(folder))
    return path.parent.name if path.name in STUDY_FOLDERS else path.name


def fingerprint(folder: str | Path) -> str:
    """Version of a bundle's model: hash of its record, in 16 hexadecimal digits.

    The record holds the hashes of all files but the card.
    """
    return hashlib.sha256((Path(folder) / RECORD).read_bytes()).hexdigest()[:16]
