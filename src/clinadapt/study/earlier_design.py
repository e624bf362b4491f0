"""Compare a study with the one that its folder already holds, so that none is replaced unnoticed.

A study may grow in its folder: configurations, seeds and curves may be added at any time. One that
loses configurations is told; another study is refused.
"""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.core.errors import InputError
from clinadapt.study import result_files
from clinadapt.study.design import Design

LOG = logging.getLogger("clinadapt")
SHOWN = 3
OF_THE_DATA = (
    "resamples",
    "test_fraction",
    "validation_fraction",
    "split_seed",
    "folds",
    "nested",
    "level",
    "group_label",
    "aggregation",
)


def check_earlier(out: Path, name: str, metric: str, configurations: Collection[str]) -> None:
    """Tell what a study takes out of the leaderboard that its folder holds.

    Parameters
    ----------
    out : Path
        The study's folder.
    name, metric : str
        Name and metric of the study that is to run.
    configurations : collection of str
        Ids of its configurations.

    Raises
    ------
    InputError
        The folder holds a study of another name, of which something would be lost.
    """
    earlier = result_files.read_result_file(out / "study.json")
    if earlier is None:
        return
    known = _configurations(out)
    gone = [label for key, label in known.items() if key not in configurations]
    changes = []
    if gone and len(gone) == len(known):
        changes.append(f"none of its configurations is in this one ({'; '.join(gone[:SHOWN])})")
    elif gone:
        more = f" and {len(gone) - SHOWN} more" if len(gone) > SHOWN else ""
        changes.append(
            f"{len(gone)} of its {len(known)} configurations are not in this one "
            f"({'; '.join(gone[:SHOWN])}{more})"
        )
    if known and earlier.get("metric") not in (metric, None):
        changes.append(f"it ranks by {earlier['metric']}, this one by {metric}")
    if not changes:
        return
    if earlier.get("name") not in (name, None):
        raise InputError(
            f"{out} holds another study, {earlier['name']!r}: {' and '.join(changes)}. Choose "
            f"another folder (--out), or add to the study file of {earlier['name']!r} and keep its "
            "name"
        )
    LOG.warning(
        "%s holds an earlier state of this study: %s. The leaderboard is replaced; finished runs "
        "are kept and count again once they are asked for",
        out,
        " and ".join(changes),
    )


def what_differs(earlier: Mapping[str, Any], design: Design) -> str:
    """Return how the notes or the split of an earlier study differ, from its ``study.json``."""
    before, now = {"level": "note", **(earlier.get("design") or {})}, design.model_dump()
    other = [
        f"{name} = {before[name]} (now {now[name]})"
        for name in OF_THE_DATA
        if name in before and before[name] != now[name]
    ]
    if other:
        return f"of another split, level or number of resamples ({', '.join(other)})"
    return "of other notes or of another split"


def _configurations(out: Path) -> dict[str, str]:
    """Return the labels of the configurations in a folder's leaderboard, by id."""
    path, columns = out / result_files.LEADERBOARD, ("configuration_id", "configuration")
    try:
        board = result_files.read_leaderboard(path, dict.fromkeys(columns, pl.String))
    except (OSError, pl.exceptions.PolarsError):
        return _begun(out)
    return dict(board.select(columns).iter_rows())


def _begun(out: Path) -> dict[str, str]:
    """Return the same from the finished runs of a study that was never finished."""
    results = [result_files.read_result(path) for path in sorted(out.glob("cells/*/result.json"))]
    return {
        result["configuration_id"]: result["configuration"]
        for result in results
        if result is not None and result["status"] == "done"
    }
