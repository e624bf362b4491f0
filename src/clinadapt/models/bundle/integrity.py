"""Whether a bundle is what was saved, and only data: checked before anything in it is used.

``bundle.json`` holds the SHA-256 of every other file (but of the card, which its makers fill in)
and of its own content. That tells damage. Against somebody who writes checksums too, names, sizes,
shapes and values are held against what a bundle can be.

To add a kind of file to bundles: say its name and its largest size in `MOST_BYTES`, and what is
looked at in it in `_content_problems`. To add a file to a bundle that is there: write it, then
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
from clinadapt.evaluation import metrics
from clinadapt.features.encoders import config_checks
from clinadapt.models.onnx_runtime import ABOUT_BYTES, ABOUT_FILE, NETWORK_FILE
from clinadapt.models.private import GUARANTEE_BYTES, GUARANTEE_FILE
from clinadapt.models.sklearn_pipeline import PIPELINE_BYTES, PIPELINE_FILE

RECORD = "bundle.json"
CARD = "README.md"
REFERENCE = "reference.json"
INDEX = "model.safetensors.index.json"
CONFIG = "config.json"
MODEL_FILE = "model.json"  # for models of other packages
# The largest file of each name. A vocabulary of word pairs of a million notes takes 200 MB.
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


class _Record(BaseModel):
    """What must be in ``bundle.json`` for the model to be opened; there may be more."""

    model_config = ConfigDict(strict=True)
    model: str
    settings: dict[str, Any]
    task: Literal["binary", "multiclass", "multilabel"]
    classes: Annotated[list[str | int | float | bool], Len(1)]
    metric: str
    indicator: bool
    threshold: _Threshold
    provenance: dict[str, Any]
    files: dict[str, Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]


def seal(folder: Path, record: Mapping[str, Any]) -> None:
    """Write ``bundle.json`` with the checksums of what is in the folder and of itself.

    Parameters
    ----------
    folder : Path
        A whole bundle, but for this file.
    record : mapping
        Content of the file; checksums of an earlier sealing in it are replaced.

    Raises
    ------
    InputError
        Files that `check_files` would refuse.
    """
    found = dict(_found(folder))
    _raise(folder, [problem for name, path in found.items() for problem in _misplaced(name, path)])
    files = {name: checksum(path) for name, path in sorted(found.items()) if _is_listed(name)}
    content = {**record, "files": files}
    content["sha256"] = _own_checksum(content)
    text = json.dumps(content, ensure_ascii=False, indent=2)
    (folder / RECORD).write_text(text, encoding="utf-8")


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _own_checksum(record: Mapping[str, Any]) -> str:
    content = {name: value for name, value in record.items() if name != "sha256"}
    try:
        text = json.dumps(content, sort_keys=True, allow_nan=False)
    except (ValueError, RecursionError):
        raise InputError(
            f"{RECORD}: settings and scores must be finite numbers, and not nested deeply"
        ) from None
    return hashlib.sha256(text.encode()).hexdigest()


# ---------------------------------------------------------------- the record


def check_record(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of ``bundle.json`` under today's names, once it has been checked.

    Raises
    ------
    InputError
        With everything that is wrong with it.
    """
    if record.get("sha256") != _own_checksum(record):
        _raise(folder, [f"{RECORD} is not as it was saved"])
    content = _under_todays_names(folder, record)
    try:
        checked = _Record.model_validate(content)
    except ValidationError as error:
        places = [".".join(map(str, detail["loc"])) for detail in error.errors()]
        _raise(folder, [f"{RECORD}: {name} is missing or not what it should be" for name in places])
        raise
    task, classes = checked.task, checked.classes
    problems = []
    if len(set(classes)) < len(classes):
        problems.append("a class is named twice")
    if (task == "binary") != (len(classes) == 2 and task != "multilabel"):
        problems.append(f"a {task} task cannot have {len(classes)} classes")
    if (checked.threshold.value is None) != (task == "multiclass"):
        problems.append(f"the threshold is not one of a {task} task")
    if checked.metric not in metrics.metric_names(task):
        problems.append(f"the metric is not one of a {task} task")
    problems += _setting_problems(checked.settings)
    problems += [
        f"a listed file lies outside the bundle: {name[:80]!r}"
        for name in checked.files
        if not _is_inside(name)
    ]
    _raise(folder, [f"{RECORD}: {problem}" for problem in problems])
    return content


def _under_todays_names(folder: Path, record: Mapping[str, Any]) -> dict[str, Any]:
    if "family" not in record:
        return dict(record)
    content = old_names.renamed(record, {"family": "model"}, f"{folder}/{RECORD}")
    if isinstance(content.get("settings"), dict):
        content["settings"] = old_names.settings(content["settings"], RECORD)
    if isinstance(content.get("provenance"), dict):
        content["provenance"] = old_names.result(content["provenance"])
    return content


def _setting_problems(settings: Mapping[str, Any]) -> list[str]:
    """Paths where names belong: what settings imply for memory is checked against the files."""
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
    """Raise `InputError` with everything that is wrong with the files of a bundle.

    Parameters
    ----------
    folder : Path
    record : mapping
        Content of ``bundle.json``, checked.
    """
    found = dict(_found(folder))
    listed: Mapping[str, str] = record["files"]
    present = {name for name in found if _is_listed(name)}
    problems = [problem for name, path in found.items() for problem in _misplaced(name, path)]
    problems += [f"{name} is missing" for name in sorted(set(listed) - present)]
    problems += [f"{name!r} is not part of it" for name in sorted(present - set(listed))]
    _raise(folder, problems)
    changed = [name for name in sorted(listed) if checksum(found[name]) != listed[name]]
    _raise(folder, [f"{name} is not as it was saved" for name in changed])
    for name in sorted(listed):
        try:
            problems += [f"{name}: {problem}" for problem in _content_problems(found[name])]
        except InputError as error:
            problems += error.problems
    _raise(folder, problems)


def _found(folder: Path) -> Iterator[tuple[str, Path]]:
    """Files below a folder by their names within it; links are not followed."""
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


def _misplaced(name: str, path: Path) -> Iterator[str]:
    """What is wrong with a file before it is opened."""
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
        yield f"{name!r} is no file of a bundle"
    elif about.st_size > most:
        yield f"{name}: expected at most {most:,} bytes, got {about.st_size:,}"


def _content_problems(path: Path) -> Iterator[str]:
    if path.suffix == ".safetensors":
        kinds = {kind for kind, _ in safe_files.headers(path).values()}
        if odd := sorted(kinds - set(safe_files.FLOATS + safe_files.WHOLE)):
            yield f"tensors of the type {', '.join(odd)}"
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
            yield "names weights outside its folder"


def _raise(folder: Path, problems: list[str]) -> None:
    if problems:
        more = [f"and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
        raise InputError(
            [f"{folder}: {problem}" for problem in problems[:SHOWN]]
            + more
            + ["the bundle is damaged or not to be trusted: take it again from where it was made"]
        )
