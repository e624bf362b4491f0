"""Folders of encoders, those of sentence-transformers among them, and what else a folder may be."""

from pathlib import Path

from clinadapt.core import safe_files
from clinadapt.core.errors import InputError
from clinadapt.features.encoders.weight_files import PEFT_CONFIG, peft_remedy

CONFIG_FILE = "config.json"
MODULES_FILE, MODULES_BYTES = "modules.json", 2**20


def encoder_in(folder: Path) -> Path | None:
    """Return the folder itself, or the one below it, that has an encoder's configuration.

    Older models of sentence-transformers keep their encoder in a folder such as ``0_Transformer``,
    which ``modules.json`` names.
    """
    try:
        inner = _transformer_module(folder)
        if inner is not None and (inner / CONFIG_FILE).is_file():
            return inner
        return folder if (folder / CONFIG_FILE).is_file() else None
    except OSError:  # such as a name that is too long for a file
        return None


def _transformer_module(folder: Path) -> Path | None:
    file = folder / MODULES_FILE
    if not file.is_file():
        return None
    try:
        modules = safe_files.read_json(file, MODULES_BYTES)
    except InputError:
        return None
    for module in modules if isinstance(modules, list) else ():
        if isinstance(module, dict) and str(module.get("type", "")).endswith(".Transformer"):
            path = str(module.get("path", ""))
            return folder / path if path and Path(path).name == path else None
    return None


def folder_problem(name: str) -> str | None:
    """Return why a path has no encoder; None if the name is not that of a path."""
    if not name:
        return "the name of an encoder is empty: expected a known name, a hub id or a folder"
    folder = Path(name).expanduser()
    try:
        if folder.is_dir():
            return _lacking(name, folder)
        if folder.exists():
            return f"{name} is a file: expected the folder of an encoder, or its name"
    except (OSError, ValueError):
        pass
    path_like = name.startswith((".", "/", "~")) or "\\" in name or name.count("/") > 1
    return (
        f"no folder {name!r}: expected that of an encoder, or a known name" if path_like else None
    )


def _lacking(name: str, folder: Path) -> str:
    if (folder / PEFT_CONFIG).is_file():
        return f"{name} is no encoder. {peft_remedy(folder)}"
    inner = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG_FILE}"))
    hint = f"; there is one in {folder / inner[0]}" if inner else ""
    return f"{name} is a folder without {CONFIG_FILE}, so it is no encoder{hint}"
