"""Files and folders that appear whole or not at all."""

import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

PARTIAL = ".tmp"  # behind the name of what is being written


@contextmanager
def atomic_path(path: Path, mode: int | None = None) -> Iterator[Path]:
    """Yield a path beside a file to write at; it takes the file's place if nothing goes wrong.

    On any error it is deleted, and the file stays what it was. What a killed run left there is
    written over.

    Parameters
    ----------
    path : Path
        In a folder that is there.
    mode : int, optional
        The file's permissions, which it has before anything is written.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        if mode is not None:
            partial.unlink(missing_ok=True)  # it may be open to others
            partial.touch(mode, exist_ok=False)
        yield partial
        if mode is not None:
            partial.chmod(mode)  # safetensors puts a file of its own there
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


@contextmanager
def atomic_folder(path: Path, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder beside a folder; it takes that one's place if nothing goes wrong.

    On any error while it is written it is deleted, and the other folder stays what it was. What a
    killed run left there is deleted first.

    Parameters
    ----------
    path : Path
    replace : bool
        Delete what is in the folder, if it is there; otherwise it must be absent or empty.
    """
    partial = path.with_name(path.name + PARTIAL)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        yield partial
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    # From here on nothing deletes it: it may be all there is.
    if replace:
        shutil.rmtree(path, ignore_errors=True)
    os.replace(partial, path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON at once, whole; NaN becomes null."""
    text = json.dumps(_plain(content), ensure_ascii=False, indent=1, allow_nan=False)
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def read_json(path: Path) -> dict[str, Any] | None:
    """Contents of a JSON file; None if it is absent or damaged (the work is then done again)."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_csv(frame: pl.DataFrame, path: Path) -> None:
    """Write a CSV file, at once."""
    with atomic_path(path) as partial:
        frame.write_csv(partial)
