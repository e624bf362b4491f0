"""A bundle's record, ``bundle.json``, and the version of its model."""

import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from clinadapt.core import safe_files
from clinadapt.core.errors import InputError
from clinadapt.models.bundle import integrity
from clinadapt.models.bundle.integrity import MOST_BYTES, RECORD

FORMAT = 5
# 2 has the names of version 0.1, 3 other defaults of adapters, 4 no calibration and no patients.
READ_FORMATS = (2, 3, 4, FORMAT)
STUDY_FOLDERS = ("best", "recommended")
NAME = re.compile(r"[\w.-]{1,64}")


def read_record(folder: str | Path) -> dict[str, Any]:
    """Return the content of ``bundle.json``, checked.

    Raises
    ------
    InputError
        The folder is not a bundle, has another format, or has changed since it was saved.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        raise InputError(f"{folder} is not a bundle (no {RECORD}); expected a folder like OUT/best")
    record = safe_files.read_json(path, MOST_BYTES[RECORD])
    if not isinstance(record, dict):
        raise InputError(f"{folder} is not a bundle: {RECORD} does not contain a mapping")
    if record.get("format") not in READ_FORMATS:
        # Older formats have no checksums; reading them would let anyone bypass the checks.
        read = ", ".join(map(str, READ_FORMATS[:-1]))
        raise InputError(
            f"{folder} has bundle format {record.get('format')}, this version reads "
            f"{read} and {FORMAT}: fit and save it again (running `clinadapt "
            "study` again in its folder does so), or open it with the clinadapt that wrote it "
            f"({record.get('clinadapt')})"
        )
    return integrity.check_record(Path(folder), record)


def find_bundle(folder: str | Path) -> Path:
    """Return a bundle: the folder itself or, of a study's folder, the recommended or best one.

    Raises
    ------
    InputError
        The folder is neither.
    """
    folder = Path(folder)
    for place in (folder, *(folder / name for name in reversed(STUDY_FOLDERS))):
        if (place / RECORD).is_file():
            return place
    raise InputError(
        f"{folder} is neither a bundle nor the folder of a finished study: expected a folder like "
        "OUT or OUT/recommended"
    )


def name_of(folder: str | Path) -> str:
    """Return a task's name: the bundle's folder; for ``best`` and ``recommended`` the study's."""
    path = Path(os.path.abspath(folder))
    return path.parent.name if path.name in STUDY_FOLDERS else path.name


def fingerprint(folder: str | Path) -> str:
    """Return the version of a bundle's model: a hash of its record, in 16 hexadecimal digits.

    The record contains the hashes of all files except the card.
    """
    return hashlib.sha256((Path(folder) / RECORD).read_bytes()).hexdigest()[:16]


def named_bundles(arguments: Sequence[str]) -> dict[str, Path]:
    """Return bundles by task name, from arguments ``FOLDER`` or ``NAME=FOLDER``.

    Without a name the task is named after the folder, or, for a study's ``best`` and
    ``recommended``, after the study.

    Raises
    ------
    InputError
        Two tasks have one name, or a name is not valid.
    """
    bundles: dict[str, Path] = {}
    problems = []
    for argument in arguments:
        name, separator, folder = argument.partition("=")
        path = Path(folder if separator else argument)
        if not separator:
            name = name_of(path)
        if not NAME.fullmatch(name):
            problems.append(
                f"a task's name may have letters, digits, '.', '_' and '-', got {name!r}: write "
                "NAME=FOLDER"
            )
        elif name in bundles:
            problems.append(f"two tasks are called {name!r}: write NAME=FOLDER for one of them")
        bundles[name] = path
    if problems:
        raise InputError(problems)
    return bundles
