"""Files of a study's folder: names, formats and the columns of the leaderboard.

``cells/<id>/result.json`` is the commit point of a run: it is written last and atomically, so that
after an interruption at any moment each run is either finished or not begun. It has a checksum of
itself and of the predictions, so that damage is noticed and the run is fitted again.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.core import atomic_files, old_names
from clinadapt.evaluation import metrics

FORMAT = 2  # format 1 had the names of version 0.1
RUNS = "cells"
RESULT = "result.json"
BUNDLE = "bundle"
LEADERBOARD = "leaderboard.csv"
LEDGER = "ledger.csv"
EVIDENCE = "evidence.json"
CURVES = "curves.json"
SITES = "sites.json"
SUBGROUPS = "subgroups.json"
CHECKS = "checks.json"
LABELS_TO_CHECK = "labels_to_check.csv"
ABSTENTION = "abstention.json"
COSTS = (
    "encode_seconds",
    "fit_seconds",
    "predict_seconds",
    "peak_memory_bytes",
    "trainable_parameters",
    "total_parameters",
    "disk_bytes",
)
# Without these a result is damaged, the second also if the run is done.
NEEDED = ("id", "status", "reason", "configuration", "configuration_id", "seed", "axes", "settings")
NEEDED_IF_DONE = ("metrics", "validation_metrics", "threshold", "cost", "data")
CHECKSUM = "sha256"
LEADERBOARD_COLUMNS: dict[str, Any] = {
    "rank": pl.Int64,
    "configuration": pl.String,
    "configuration_id": pl.String,
    "status": pl.String,
    "reason": pl.String,
    "model": pl.String,
    "encoder": pl.String,
    "adapter": pl.String,
    "placement": pl.String,
    "tuned_layers": pl.String,
    "seeds": pl.Int64,
    "best": pl.Boolean,
    "recommended": pl.Boolean,
    "group": pl.Int64,
    "metric": pl.String,
    "validation": pl.Float64,
    "test": pl.Float64,
    "test_low": pl.Float64,
    "test_high": pl.Float64,
    "test_rarest_patients": pl.Int64,  # with the positive class (binary) or the rarest one
    **{name: pl.Float64 if name.endswith("seconds") else pl.Int64 for name in COSTS[:-1]},
    "notes": pl.String,
}


def read_result_file(path: Path) -> dict[str, Any] | None:
    """Return a result file's content under current names; None if it is absent or damaged.

    Files of version 0.1 have format 1, or no format and the old names.
    """
    content = atomic_files.read_json(path)
    if content is None:
        return None
    written = content.get("format", 1 if {"row", "rows", "row_id"} & content.keys() else FORMAT)
    if written == FORMAT:
        return content
    old_names.tell_once(str(path.parent))
    renamed: dict[str, Any] = old_names.result(content)
    if "format" in renamed:
        renamed["format"] = FORMAT
    return renamed


def write_result(path: Path, result: Mapping[str, Any]) -> None:
    """Write a run's result atomically, with its own checksum."""
    plain = json.loads(atomic_files.as_json(result))
    atomic_files.write_json(path, {**plain, CHECKSUM: _checksum(plain)})


def read_result(path: Path) -> dict[str, Any] | None:
    """Return a run's result under current names; None if it is absent, damaged or incomplete."""
    content = read_result_file(path)
    if content is None or not set(NEEDED) <= content.keys():
        return None
    if content["status"] == "done" and not set(NEEDED_IF_DONE) <= content.keys():
        return None
    return content


def is_unchanged(result: Mapping[str, Any]) -> bool:
    """Return whether a result is as it was written, by its checksum if it has one."""
    written = result.get(CHECKSUM)
    return written is None or written == _checksum(result)


def _checksum(result: Mapping[str, Any]) -> str:
    content = {name: value for name, value in result.items() if name != CHECKSUM}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_leaderboard(path: Path, columns: Mapping[str, Any]) -> pl.DataFrame:
    """Return columns of a leaderboard file, of this version or of 0.1, with their types.

    Parameters
    ----------
    path : Path
        CSV file.
    columns : mapping of str to polars type
        Names and types of the columns to read.
    """
    read = partial(pl.read_csv, path, glob=False)  # the folder's name may look like a pattern
    header = read(n_rows=0).columns
    if not set(old_names.RESULT) & set(header):
        return read(columns=list(columns), schema_overrides=dict(columns))
    old_names.tell_once(str(path.parent))
    current = {name: old_names.RESULT.get(name, name) for name in header}
    types = {name: columns[new] for name, new in current.items() if new in columns}
    table = read(columns=list(types), schema_overrides=types)
    return table.rename({name: current[name] for name in types}).select(list(columns))


def leaderboard(lines: list[dict[str, Any]], metric: str, synthetic: bool) -> pl.DataFrame:
    """Return one line per configuration, best on validation first, those without a result last."""
    sign = -metrics.sign(metric)
    ordered = sorted(
        lines,
        key=lambda line: (line["status"] != "done", sign * (line.get("validation") or 0.0)),
    )
    rank = 0
    for line in ordered:
        line["notes"] = "synthetic" if synthetic else "real"
        if line["status"] == "done":
            rank += 1
            line["rank"] = rank
    return pl.DataFrame(
        [{name: line.get(name) for name in LEADERBOARD_COLUMNS} for line in ordered],
        schema=LEADERBOARD_COLUMNS,
        orient="row",
    )
