"""Translate the names in files of version 0.1 into the current names.

Study files, results and bundles of version 0.1 use structure, family, row, cell, cut and economies
for what is now called adapter, model, configuration, run, truncation and memory savings. The first
old name read in a process is logged.
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
# Their keys are names of the user's classes, columns and notes, which are never translated.
NOT_OURS = ("classes", "labels", "subgroups", "left_out", "duplicates")
WEIGHT = re.compile(r"(^|\.)structure\.")


_reported: list[str] = []


def tell_once(what: str) -> None:
    """Log, once per process, that a file uses the names of version 0.1."""
    if _reported:
        return
    _reported.append(what)
    LOG.warning(
        "%s uses names of version 0.1 (structure, family, row, cell, cut): they are read as "
        "adapter, model, configuration, run and truncation",
        what,
    )


def renamed(content: Mapping[str, Any], names: Mapping[str, str], where: str) -> dict[str, Any]:
    """Return a mapping with old keys replaced by current ones.

    Parameters
    ----------
    content : mapping
    names : mapping of str to str
        Current name of each old one.
    where : str
        Description of the mapping, for messages.

    Raises
    ------
    InputError
        A key is present under both its old and its current name.
    """
    both = [f"{old} and {new}" for old, new in names.items() if old in content and new in content]
    if both:
        raise InputError([f"{where}: {pair} are the same setting; remove one" for pair in both])
    if any(old in content for old in names):
        tell_once(where)
    return {names.get(key, key): value for key, value in content.items()}


def settings(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a model's settings, including nested encoder settings, under current names."""
    translated = renamed(content, SETTINGS, where)
    nested = translated.get("encoder_options")
    if isinstance(nested, list):  # an axis of a study file
        translated["encoder_options"] = [
            renamed(options, SETTINGS, where) if isinstance(options, Mapping) else options
            for options in nested
        ]
    elif isinstance(nested, Mapping):
        translated["encoder_options"] = renamed(nested, SETTINGS, where)
    return translated


def design(content: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return the content of a study file under current names."""
    translated = renamed(content, DESIGN, where)
    entries = translated.get("configurations")
    if isinstance(entries, list):
        translated["configurations"] = [
            settings(renamed(entry, {"family": "model"}, where), where)
            if isinstance(entry, Mapping)
            else entry
            for entry in entries
        ]
    return translated


def as_hashed(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings under the names of version 0.1.

    Ids of runs and configurations are hashes of settings under these names, so that studies begun
    with version 0.1 are resumed and not started again.
    """
    old = {new: name for name, new in SETTINGS.items()}
    hashed = {old.get(key, key): value for key, value in _marked(content).items()}
    nested = hashed.get("encoder_options")
    if isinstance(nested, Mapping):
        nested = _marked(nested)
        hashed["encoder_options"] = {old.get(key, key): value for key, value in nested.items()}
    return hashed


def _marked(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Mark settings that meant something else in earlier results, so that their ids differ."""
    options = content.get("adapter_options") or {}
    if content.get("adapter") == "tiny_attention" and "heads" not in options:
        return {**content, "adapter_options": {**options, "heads": None}}
    return content


def earlier_defaults(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings of a bundle of format 2 or 3 with the defaults that have changed since."""
    spelled = dict(content)
    options = spelled.get("adapter_options") or {}
    if spelled.get("adapter") == "tiny_attention":
        inner = {} if spelled.get("match_parameters") is not None else {"inner": 32}
        spelled["adapter_options"] = {**inner, "heads": 1, **options}
    if spelled.get("adapter") == "ia3":
        spelled["adapter_options"] = {"fused": False, **options}
    if isinstance(spelled.get("encoder_options"), Mapping):
        spelled["encoder_options"] = earlier_defaults(spelled["encoder_options"])
    return spelled


def result(content: Any) -> Any:
    """Return the content of a result file of version 0.1 under current names, at every depth."""
    if isinstance(content, list):
        return [result(item) for item in content]
    if not isinstance(content, dict):
        return content
    translated = {
        RESULT.get(key, key): value if key in NOT_OURS else result(value)
        for key, value in content.items()
    }
    if isinstance(translated.get("questions"), list):  # answered by comparing two
        translated["questions"] = [SETTINGS.get(name, name) for name in content["questions"]]
    if isinstance(translated.get("settings"), dict):
        translated["settings"] = {
            SETTINGS.get(key, key): result(value) for key, value in content["settings"].items()
        }
    if isinstance(translated.get("design"), dict):
        translated["design"] = design(content["design"], "design")
    # In version 0.1 "model" held the axes of the comparison, and "family" what is now "model".
    if isinstance(content.get("model"), dict) and "row_id" in content:
        translated["axes"] = translated.pop("model")
    return translated


def weight(name: str) -> str:
    """Return the current name of a tensor of a saved network."""
    return WEIGHT.sub(r"\1adapter.", name)
