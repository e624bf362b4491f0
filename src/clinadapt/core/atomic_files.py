"""Files that appear whole or not at all."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON at once, whole; NaN becomes null."""
    text = json.dumps(_plain(content), ensure_ascii=False, indent=1, allow_nan=False)
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


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
    partial = path.with_name(path.name + ".tmp")
    frame.write_csv(partial)
    os.replace(partial, path)
