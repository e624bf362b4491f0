"""Check that a bundle is unchanged and contains only data, before any of it is used.

``bundle.json`` contains the SHA-256 of every other file (except the card, which people complete by
hand) and of its own content. This detects damage. Against an attacker who also writes checksums,
names, sizes, shapes and values are compared with what a bundle may contain.

To add a kind of file to bundles, enter its name and largest size in `MOST_BYTES`, and the checks
of its content in `_content_problems`. To add a file to an existing bundle, write it, then call
``seal(folder, read_record(folder) | {...})``.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from annotated_types import Interval, Len
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from clinadapt.core import old_names, safe_files
from clinadapt.core.errors import InputError
from clinadapt.data.levels import Aggregation, Level
from clinadapt.evaluation import metrics
from clinadapt.evaluation.abstention import Abstention
from clinadapt.evaluation.calibration_maps import METHODS, Calibration, Scale
from clinadapt.features.encoders import config_checks
from clinadapt.models.files import (
    ABOUT_BYTES,
    ABOUT_FILE,
    GUARANTEE_BYTES,
    GUARANTEE_FILE,
    NETWORK_FILE,
    PIPELINE_BYTES,
    PIPELINE_FILE,
)

DEFAULTS_OF_ADAPTERS = 4  # format in which they are as now
RECORD = "bundle.json"
MODEL_FOLDER = "model"
CARD = "README.md"
REFERENCE = "reference.json"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
MODEL_FILE = "model.json"  # for models of other packages
# Largest size by file name. A vocabulary of word pairs of a million notes takes 200 MB.
MOST_BYTES = {
    RECORD: 2**24,
    REFERENCE: 2**22,
    CONFIG: 2**20,
    INDEX: 2**24,
    "tokenizer.json": 2**28,
    "terms.json": 2**29,
    GUARANTEE_FILE: GUARANTEE_BYTES,
    PIPELINE_FILE: PIPELINE_BYTES,
    MODEL_FILE: 2**24,
    CARD: 2**22,
    ABOUT_FILE: ABOUT_BYTES,
    NETWORK_FILE: 2**31,
}
LICENCE, LICENCE_BYTES = "LICENSE*", 2**20
WEIGHTS = "*.safetensors"
MOST_FILES = 1000
SHOWN = 5


class _Threshold(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    value: Annotated[float, Interval(ge=0, le=1)] | None
    at_least_one: bool


class _Score(BaseModel):
    model_config = ConfigDict(strict=True)
    value: float | None = None


class _Provenance(BaseModel):
    """Optional parts of ``provenance`` that are read; there may be more."""

    model_config = ConfigDict(strict=True)
    configuration: str = ""
    data: dict[str, Any] = {}
    metrics: dict[str, _Score] = {}
    calibration: dict[str, Any] | None = None
    environment: dict[str, Any] = {}


class _Record(BaseModel):
    """Required content of ``bundle.json``; there may be more."""

    model_config = ConfigDict(strict=True)
    model: str
    settings: dict[str, Any]
    task: Literal["binary", "multiclass", "multilabel"]
    classes: Annotated[list[str | int | float | bool], Len(1)]
    metric: str
    indicator: bool
    level: Level = "note"  # not in formats before 5
    aggregation: Aggregation | None = None
    threshold: _Threshold
    calibration: Calibration | None = None
    calibrated_threshold: _Threshold | None = None
    scale: Scale = "raw"
    provenance: _Provenance
    abstention: Abstention | None = None
    files: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]


def seal(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``bundle.json`` with the checksums of the folder's files and of itself.

    Parameters
    ----------
    folder : Path
        A complete bundle, except for this file.
    record : mapping
        Content of the file; earlier checksums in it are replaced.

    Raises
    ------
    InputError
        The folder contains files that `check_files` would refuse.
    """
    present = dict(_files(folder))
    _raise(folder, [text for name, path in present.items() for text in _file_problems(name, path)])
    files = {name: checksum(path) for name, path in sorted(present.items()) if _is_listed(name)}
    content = {**record, "files": files}
    content["sha256"] = _own_checksum(content)
    text = json.dumps(content, ensure_ascii=False, indent=2)
    (folder / RECORD).write_text(text, encoding="utf-8")


def checksum(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _own_checksum(record: Mapping[str, Any]) -> str:
    content = {name: value for name, value in record.items() if name != "sha256"}
    try:
        text = json.dumps(content, sort_keys=True, allow_nan=False)
    except (ValueError, RecursionError):
        raise InputError(
            f"{RECORD}: numbers in settings and scores must be finite, and nesting shallow"
        ) from None
    return hashlib.sha256(text.encode()).hexdigest()


# ---------------------------------------------------------------- the record


def check_record(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of ``bundle.json`` under current names, once it has been checked.

    Raises
    ------
    InputError
        The content is not valid; the message lists all problems.
    """
    if record.get("sha256") != _own_checksum(record):
        _raise(folder, [f"{RECORD} has changed since it was saved"])
    content = _with_current_meanings(folder, record)
    try:
        checked = _Record.model_validate(content)
    except ValidationError as error:
        places = [".".join(map(str, detail["loc"])) for detail in error.errors()]
        _raise(folder, [f"{RECORD}: {name} is missing or not valid" for name in places])
        raise
    task, classes = checked.task, checked.classes
    problems = []
    if len(set(classes)) < len(classes):
        problems.append("a class is listed twice")
    if (task == "binary") != (len(classes) == 2 and task != "multilabel"):
        problems.append(f"a {task} task cannot have {len(classes)} classes")
    if (checked.threshold.value is None) != (task == "multiclass"):
        problems.append(f"the threshold is not valid for a {task} task")
    if checked.aggregation is not None and checked.level != "group":
        problems.append("an aggregation is for classifiers of patients only")
    problems += _calibration_problems(checked)
    if checked.metric not in metrics.metric_names(task):
        problems.append(f"the metric is not valid for a {task} task")
    if checked.abstention is not None and not checked.abstention.fits(task, len(classes)):
        problems.append(f"the reject bands or prediction sets are not valid for a {task} task")
    problems += _setting_problems(checked.settings)
    problems += [
        f"a listed file lies outside the bundle: {name[:80]!r}"
        for name in checked.files
        if not _is_inside(name)
    ]
    _raise(folder, [f"{RECORD}: {problem}" for problem in problems])
    return content


def _with_current_meanings(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record under current names, with the defaults that were those of its format."""
    content = dict(record)
    if "family" in record:
        content = old_names.renamed(record, {"family": "model"}, f"{folder}/{RECORD}")
        if isinstance(content.get("settings"), dict):
            content["settings"] = old_names.settings(content["settings"], RECORD)
        if isinstance(content.get("provenance"), dict):
            content["provenance"] = old_names.result(content["provenance"])
    if content["format"] < DEFAULTS_OF_ADAPTERS and isinstance(content.get("settings"), dict):
        content["settings"] = old_names.earlier_defaults(content["settings"])
    return content


def _calibration_problems(record: _Record) -> list[str]:
    """Return parts of the calibration that are missing, or do not suit the task."""
    calibration, threshold = record.calibration, record.calibrated_threshold
    if calibration is None:
        return (
            ["calibrated probabilities have no map"] if threshold or record.scale != "raw" else []
        )
    if calibration.map.method not in METHODS[record.task]:
        return [f"{calibration.map.method} calibration is not for a {record.task} task"]
    if threshold is None or (threshold.value is None) != (record.task == "multiclass"):
        return [f"the threshold of calibrated probabilities is not valid for a {record.task} task"]
    return []


def _setting_problems(settings: Mapping[str, Any]) -> list[str]:
    """Return settings that are paths instead of names; sizes are checked against the files."""
    return [
        f"the setting {name!r} is a path, expected a name"
        for name in ("encoder", "vectors")
        if isinstance(settings.get(name), str) and not _is_name(settings[name])
    ]


def _is_name(name: str) -> bool:
    return name not in ("", ".", "..") and not set(name) & set("/\\\0")


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and all(map(_is_name, path.parts))


# ---------------------------------------------------------------- the files


def check_files(folder: Path, record: Mapping[str, Any]) -> None:
    """Check the files of a bundle: their names, checksums and content.

    Parameters
    ----------
    folder : Path
    record : mapping
        Content of ``bundle.json``, checked.

    Raises
    ------
    InputError
        A file is missing, unexpected, changed or not valid.
    """
    paths = dict(_files(folder))
    listed: Mapping[str, str] = record["files"]
    present = {name for name in paths if _is_listed(name)}
    problems = [text for name, path in paths.items() for text in _file_problems(name, path)]
    problems += [f"{name} is missing" for name in sorted(set(listed) - present)]
    problems += [f"{name!r} is not part of the bundle" for name in sorted(present - set(listed))]
    _raise(folder, problems)
    changed = [name for name in sorted(listed) if checksum(paths[name]) != listed[name]]
    _raise(folder, [f"{name} has changed since it was saved" for name in changed])
    for name in sorted(listed):
        try:
            problems += [f"{name}: {problem}" for problem in _content_problems(paths[name])]
        except InputError as error:
            problems += error.problems
    _raise(folder, problems)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield the files below a folder with their names within it; links are not followed."""
    for number, path in enumerate(_walk(folder)):
        if number == MOST_FILES:
            _raise(folder, [f"more than {MOST_FILES} files"])
        yield path.relative_to(folder).as_posix(), path


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder, followlinks=False):
        linked = [name for name in folders if (Path(place) / name).is_symlink()]
        yield from (Path(place) / name for name in sorted(linked + files))


def _is_listed(name: str) -> bool:
    return name not in (RECORD, CARD)


def foreign_files(folder: Path) -> list[str]:
    """Return the names of files and links in a folder that no bundle has; nothing is opened."""
    names = {path.relative_to(folder).as_posix(): path for path in _walk(folder)}
    return [
        name
        for name, path in names.items()
        if path.is_symlink()
        or not (name in (RECORD, CARD, REFERENCE) or name.startswith(f"{MODEL_FOLDER}/"))
        or not _is_bundle_name(path.name)
    ]


def _is_bundle_name(name: str) -> bool:
    return name in MOST_BYTES or any(fnmatchcase(name, kind) for kind in (LICENCE, WEIGHTS))


def _file_problems(name: str, path: Path) -> Iterator[str]:
    """Yield problems of a file that show without opening it."""
    about = path.lstat()
    if stat.S_ISLNK(about.st_mode):
        yield f"{name!r} is a link, expected a file"
        return
    if not stat.S_ISREG(about.st_mode):
        yield f"{name!r} is not a plain file"
        return
    if path.suffix == ".safetensors":
        return
    most = LICENCE_BYTES if fnmatchcase(path.name, LICENCE) else MOST_BYTES.get(path.name)
    if most is None:
        yield f"{name!r} is not a file that a bundle may contain"
    elif about.st_size > most:
        yield f"{name}: expected at most {most:,} bytes, got {about.st_size:,}"


def _content_problems(path: Path) -> Iterator[str]:
    if path.suffix == ".safetensors":
        kinds = {kind for kind, _ in safe_files.headers(path).values()}
        if odd := sorted(kinds - set(safe_files.FLOATS + safe_files.WHOLE)):
            yield f"it contains tensors of type {', '.join(odd)}"
        elif not safe_files.all_finite(path):
            yield "a weight is not a finite number"
    elif path.name == NETWORK_FILE:
        from clinadapt.models import onnx_checks  # needs an optional library

        yield from onnx_checks.problems(path)
    elif path.name == CONFIG:
        yield from config_checks.problems(safe_files.read_json(path, MOST_BYTES[CONFIG]))
    elif path.name == INDEX:
        content = safe_files.read_json(path, MOST_BYTES[INDEX])
        places = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(places, dict) or not all(
            isinstance(name, str) and _is_name(name) and fnmatchcase(name, WEIGHTS)
            for name in places.values()
        ):
            yield "it names weights outside its folder"


def _raise(folder: Path, problems: list[str]) -> None:
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise InputError(
            [f"{folder}: {problem}" for problem in problems[:SHOWN]]
            + more
            + ["the bundle is damaged or cannot be trusted: copy it again from its source"]
        )
