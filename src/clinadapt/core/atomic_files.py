"""Write files and folders atomically: they are complete or not there."""

import errno
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from clinadapt.core.escaping import for_spreadsheets
from clinadapt.core.machine_faults import PARTIAL, machine_faults_told
from clinadapt.core.messages import Message
from clinadapt.core.permissions import OWNER_ONLY, close_to_others, private_folder

MESSAGES = "messages"


@contextmanager
def atomic_path(path: Path, mode: int | None = OWNER_ONLY) -> Iterator[Path]:
    """Yield a temporary path in the same folder; on success it replaces the file.

    On any error the temporary file is deleted and the file is left unchanged. A temporary file
    left by a killed process is overwritten.

    Parameters
    ----------
    path : Path
        Target file; its folder must exist.
    mode : int, optional
        Permissions of the file, set before anything is written; None for those of any new file.

    Raises
    ------
    IsADirectoryError
        A folder has the name of the file.
    MachineError
        The disk is full, or another fault of the machine.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    partial = path.with_name(path.name + PARTIAL)
    with machine_faults_told(path):
        try:
            if mode is not None:
                partial.unlink(missing_ok=True)  # a leftover may be readable by others
                partial.touch(mode, exist_ok=False)
            yield partial
            if mode is not None:
                partial.chmod(mode)  # safetensors replaces the file with one of its own
            os.replace(partial, path)
        except BaseException:
            with suppress(OSError):  # what went wrong matters more than the leftover
                partial.unlink(missing_ok=True)
            raise


@contextmanager
def atomic_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty temporary folder next to the target; on success it replaces the target.

    The folder and all files in it are closed to all but their owner.

    On any error while it is being written, the temporary folder is deleted and the target is left
    unchanged. A temporary folder left by a killed process is deleted first.

    Parameters
    ----------
    path : Path
        Target folder; missing parents are created.
    replace : bool
        Whether to delete an existing target. If False, the target must be absent or empty.

    Raises
    ------
    MachineError
        The disk is full, or another fault of the machine.
    """
    partial = path.with_name(path.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    with machine_faults_told(path):
        try:
            private_folder(partial)
            yield partial
            close_to_others(partial)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        # From here on the temporary folder may be the only copy, so no error deletes it.
        if replace:
            shutil.rmtree(path, ignore_errors=True)
        os.replace(partial, path)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically, in UTF-8."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically; numbers that are not finite become null."""
    write_text(path, as_json(content))


def as_json(content: Mapping[str, Any]) -> str:
    """Return JSON; numbers that are not finite become null, paths become text.

    A message becomes its English text; what it is made of goes below ``messages``, by that text.
    """
    said: dict[str, Message] = {}
    plain = _plain(content, said)
    if said:
        plain[MESSAGES] = {text: _plain(one.to_json(), {}) for text, one in said.items()}
    return json.dumps(plain, ensure_ascii=False, indent=1, allow_nan=False)


def _plain(value: Any, said: dict[str, Message]) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item, said) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, said) for item in value]
    if isinstance(value, Message):
        said[str(value)] = value
        return str(value)
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def read_json(path: Path) -> dict[str, Any] | None:
    """Return the content of a JSON file, or None if it is absent or damaged.

    Callers treat None as "not done yet" and compute the content again. Texts that were messages
    are messages again.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict):
        return None
    said = content.get(MESSAGES)
    if not isinstance(said, dict):
        return content
    again = {text: message for text, made in said.items() if (message := _again(text, made))}
    return {
        key: value if key == MESSAGES else _with_messages(value, again)
        for key, value in content.items()
    }


def _again(text: str, made: Any) -> Message | None:
    """Return the message that a text was; None if the file does not describe it."""
    try:
        message = Message.from_json(made)
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    return message if message == text else None


def _with_messages(value: Any, again: Mapping[str, Message]) -> Any:
    if isinstance(value, dict):
        return {key: _with_messages(item, again) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_messages(item, again) for item in value]
    return again.get(value, value) if isinstance(value, str) else value


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_csv(frame: pl.DataFrame, path: Path) -> None:
    """Write a CSV file for people atomically; see `clinadapt.core.escaping.for_spreadsheets`."""
    with atomic_path(path) as partial:
        for_spreadsheets(frame).write_csv(partial)
