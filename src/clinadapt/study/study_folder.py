"""The folder of a study: refuse one in which a study would overwrite what others keep there."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from clinadapt.core.atomic_files import read_json
from clinadapt.core.errors import InputError
from clinadapt.core.output_guard import Output, check_outputs, json_with
from clinadapt.features.cache_admin import NAME
from clinadapt.models.bundle.integrity import foreign_files
from clinadapt.study import result_files

STUDY = "study.json"
BUNDLES = ("best", "recommended")
CACHE = "cache"
# Everything that a study, its report and its plan write into the study's folder.
FILES = (
    STUDY,
    "split.json",
    result_files.LEADERBOARD,
    result_files.LEDGER,
    result_files.EVIDENCE,
    result_files.CURVES,
    result_files.SITES,
    result_files.SUBGROUPS,
    result_files.CHECKS,
    result_files.LABELS_TO_CHECK,
    result_files.ABSTENTION,
    "plan.json",
    "tasks.json",
    "report.html",
    "report.json",
    "tripod-ai.md",
)
FOLDERS = (result_files.RUNS, *BUNDLES, CACHE, "curves", "sites", "tables")
is_plan = json_with("format", "made_for", "memory", "forecasts")


def check_study_folder(out: Path) -> None:
    """Raise an error if a study in this folder would overwrite what is not a study's.

    In a folder of a study, everything under the names that a study uses is its own, except for
    other files in the folders of bundles, which are replaced as a whole. In any other folder none
    of these names may be taken. Whatever has another name does not matter.

    Parameters
    ----------
    out : Path
        The study's folder; it need not exist.

    Raises
    ------
    InputError
        Names everything that is in the way.
    """
    check_outputs([Output(out, "--out", lambda path: True, folder=True)])
    if problems := list(_in_the_way(out)):
        raise InputError(
            [*problems, "nothing was changed: choose another folder (--out), or move these away"]
        )


def _in_the_way(out: Path) -> Iterator[str]:
    is_own = _is_study(out)
    for name in (*FILES, *FOLDERS):
        path = out / name
        if not path.exists():
            continue
        if path.is_dir() != (name in FOLDERS):
            yield f"{path} is a {'folder' if path.is_dir() else 'file'} that no study wrote"
        elif is_own:
            if name in BUNDLES and (others := foreign_files(path)):
                yield f"{path} also holds files that no study wrote: {_few(others)}"
        elif not _is_harmless(path):
            yield f"{path} exists, but {out} is not the folder of a study"


def _is_study(out: Path) -> bool:
    """Return whether a folder is a study's: by its ``study.json`` or, if that is lost, its runs."""
    path = out / STUDY
    try:
        content = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError):
        content = None
    if content is not None:
        data = content.get("data") if isinstance(content, dict) else None
        return isinstance(data, dict) and "fingerprint" in data
    results = sorted(out.glob(f"{result_files.RUNS}/*/{result_files.RESULT}"))
    return any((read_json(result) or {}).get("id") == result.parent.name for result in results)


def _is_harmless(path: Path) -> bool:
    """Return whether a study may use what is there although the folder is not a study's yet."""
    if path.is_dir():
        entries = list(path.iterdir())
        return not entries or (path.name == CACHE and all(NAME.fullmatch(e.name) for e in entries))
    return path.name == "plan.json" and _is_plan(path)


def _is_plan(path: Path) -> bool:
    try:
        return is_plan(path)
    except (OSError, ValueError):
        return False


def _few(names: list[Any]) -> str:
    more = len(names) - 3
    return ", ".join(map(str, names[:3])) + (f" and {more} more" if more > 0 else "")
