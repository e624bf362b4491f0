"""Names that version 0.1 wrote into files, read as the names of today.

Study files, results and bundles of 0.1 say structure, family, row, cell, cut and economies where
this version says adapter, model, configuration, run, truncation and memory savings. What is read
under an old name is told once a process.
"""

import logging
import re
from collections.abc import Mapping
from typing import Any

from clinadapt.core.errors import InputError

LOG = logging.getLogger("clinadapt")
SETTINGS = {
    "structure": "adapter",
    "structure_options": "adapter_options",
    "cut": "truncation",
}
DESIGN = {"rows": "configurations", "cut": "truncation"}
ENTRY = SETTINGS | {"family": "model"}
RESULT = {
    "row": "configuration",
    "row_id": "configuration_id",
    "rows": "configurations",
    "family": "model",
    "structure": "adapter",
    "structure_options": "adapter_options",
    "cell": "run",
    "cut": "truncated",
    "economies": "memory_savings",
}
# Names of people's classes, columns and notes: nothing below is ours to rename.
NOT_OURS = ("classes", "labels", "subgroups", "left_out", "duplicates")
WEIGHT = re.compile(r"(^|\.)structure\.")


_told: list[str] = []


def tell_once(what: str) -> None:
    """Say, once a process, that something was written under the names of version 0.1."""
    if _told:
        return
    _told.append(what)
    LOG.warning(
        "%s is written with names of version 0.1 (structure, family, row, cell, cut): they are "
        "read as adapter, model, configuration, run and truncation",
        what,
    )


def renamed(content: Mapping[str, Any], names: Mapping[str, str], where: str) -> dict[str, Any]:
    """Return a mapping with its old keys under their names of today.

    Parameters
    ----------
    content : mapping
    names : mapping of str to str
        Today's name of each old one.
    where : str
        What the mapping is, for messages.

    Raises
    ------
    InputError
        A key stands there under both names.
    """
    both = [f"{old} and {new}" for old, new in names.items() if old in content and new in content]
    if both:
        raise InputError([f"{where}: {pair} are the same setting: leave one out" for pair in both])
    if any(old in content for old in names):
        tell_once(where)
    return {names.get(key, key): value for key, value in content.items()}


def settings(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return settings of a model, those of an encoder inside among them, under today's names."""
    found = renamed(content, SETTINGS, where)
    inside = found.get("encoder_options")
    if isinstance(inside, list):  # an axis of a study file
        found["encoder_options"] = [
            renamed(one, SETTINGS, where) if isinstance(one, Mapping) else one for one in inside
        ]
    elif isinstance(inside, Mapping):
        found["encoder_options"] = renamed(inside, SETTINGS, where)
    return found


def design(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return what a study file says, under today's names."""
    found = renamed(content, DESIGN, where)
    entries = found.get("configurations")
    if isinstance(entries, list):
        found["configurations"] = [
            settings(renamed(entry, {"family": "model"}, where), where)
            if isinstance(entry, Mapping)
            else entry
            for entry in entries
        ]
    return found


def as_hashed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings under the names of version 0.1.

    Ids of runs and configurations are hashes of settings under these names, so that studies begun
    with 0.1 are gone on with and not begun again.
    """
    old = {new: name for name, new in SETTINGS.items()}
    found = {old.get(key, key): value for key, value in content.items()}
    inside = found.get("encoder_options")
    if isinstance(inside, Mapping):
        found["encoder_options"] = {old.get(key, key): value for key, value in inside.items()}
    return found


def result(content: Any) -> Any:
    """Return a result file's content of version 0.1 under today's names, at every depth."""
    if isinstance(content, list):
        return [result(item) for item in content]
    if not isinstance(content, dict):
        return content
    found = {
        RESULT.get(key, key): value if key in NOT_OURS else result(value)
        for key, value in content.items()
    }
    if isinstance(found.get("questions"), list):  # what a comparison of two configurations answers
        found["questions"] = [SETTINGS.get(name, name) for name in content["questions"]]
    if isinstance(found.get("settings"), dict):
        found["settings"] = {
            SETTINGS.get(key, key): result(value) for key, value in content["settings"].items()
        }
    if isinstance(found.get("design"), dict):
        found["design"] = design(content["design"], "design")
    # What was "model" told the place in the comparison, in which "family" is today's "model".
    if isinstance(content.get("model"), dict) and "row_id" in content:
        found["axes"] = found.pop("model")
    return found


def weight(name: str) -> str:
    """Return today's name of a tensor of a saved network."""
    return WEIGHT.sub(r"\1adapter.", name)
