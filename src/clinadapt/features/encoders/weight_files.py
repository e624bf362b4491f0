"""The files of an encoder's weights: which there are, and whether they are whole."""

from pathlib import Path

from clinadapt.core import safe_files
from clinadapt.core.errors import InputError

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
PEFT_CONFIG = "adapter_config.json"
INDEX_BYTES = 2**26
SHOWN = 3
# Weights that other programs read, by the pattern of their files.
OF_OTHERS = {
    "tf_model*.h5": "TensorFlow",
    "*.ckpt*": "TensorFlow",
    "flax_model*.msgpack": "Flax",
    "*.gguf": "llama.cpp",
    "*.onnx": "ONNX",
}


def has_safetensors(folder: Path) -> bool:
    """Return whether a folder has safetensors weights, whole or in pieces."""
    return any((folder / name).is_file() for name in (WEIGHTS, INDEX))


def problems(folder: Path) -> list[str]:
    """Return what prevents the weights of a folder from being read; no tensor is read.

    Parameters
    ----------
    folder : Path
        Folder with a ``config.json``.
    """
    if not has_safetensors(folder):
        return [f"no safetensors weights in {folder}. {instead(folder)}"]
    if not (folder / WEIGHTS).is_file():
        try:
            pieces, missing = pieces_of(folder, INDEX)
        except InputError as error:
            return error.problems
        if missing:
            return [f"{folder}: {listed(missing)} of {INDEX} missing. Is the download complete?"]
    else:
        pieces = [folder / WEIGHTS]
    found = []
    for path in pieces:
        try:
            types = {dtype for dtype, _ in safe_files.headers(path).values()}
        except InputError as error:
            found += [
                f"{folder}: {problem}. Is the download complete?" for problem in error.problems
            ]
            continue
        if not types & set(safe_files.FLOATS):
            found.append(
                f"{folder}: {path.name} has weights of type {', '.join(sorted(types)) or 'none'}, "
                "expected floating-point numbers: use the encoder that was not quantized"
            )
    return found


def instead(folder: Path) -> str:
    """Say what a folder has in place of safetensors weights, and what to do."""
    if (folder / PICKLED).is_file() or (folder / PICKLED_INDEX).is_file():
        pickled = PICKLED if (folder / PICKLED).is_file() else f"{PICKLED_INDEX} and its pieces"
        return (
            f"Its {pickled} is pickled, which can run code: convert it once with "
            f"`clinadapt encoders --convert {folder}`"
        )
    if (folder / PEFT_CONFIG).is_file():
        return peft_remedy(folder)
    for pattern, program in OF_OTHERS.items():
        if files := sorted(path.name for path in folder.glob(pattern)):
            return (
                f"Its weights ({files[0]}) are those of {program}: save them with transformers as "
                f"{WEIGHTS}, or use a repository that has that file"
            )
    return f"Expected {WEIGHTS} next to config.json"


def peft_remedy(folder: Path) -> str:
    """Say that a folder holds an adapter of peft, and how to make an encoder of it."""
    try:
        content = safe_files.read_json(folder / PEFT_CONFIG, INDEX_BYTES)
        base = content.get("base_model_name_or_path")
    except (InputError, AttributeError, OSError):
        base = None
    of = f" of {base}" if isinstance(base, str) and base else ""
    return (
        f"It is an adapter saved by peft{of} ({PEFT_CONFIG}), not an encoder: merge it into its "
        "encoder (peft: merge_and_unload(), then save_pretrained()) and give that folder"
    )


def pieces_of(folder: Path, index: str) -> tuple[list[Path], list[str]]:
    """Return the files that an index lists, and the names of those that are missing."""
    content = safe_files.read_json(folder / index, INDEX_BYTES)
    places = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(places, dict) or not places:
        raise InputError(f"{folder}: {index} has no weight_map. Is the download complete?")
    names = sorted({str(name) for name in places.values()})
    if odd := [name for name in names if Path(name).name != name]:
        raise InputError(f"{folder}: {index} names a file outside the folder ({odd[0]!r})")
    missing = [name for name in names if not (folder / name).is_file()]
    return [folder / name for name in names if name not in missing], missing


def listed(names: list[str]) -> str:
    """Return the first of some names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
