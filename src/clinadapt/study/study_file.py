"""Read a study file: TOML in UTF-8, by path or by the name of a built-in study."""

import difflib
import tomllib
from pathlib import Path
from typing import Any

from clinadapt.core.errors import InputError

BUILT_IN = Path(__file__).parent / "designs"
MOST_BYTES = 2**20  # the longest study file that anybody writes by hand has some kilobytes


def read_study_file(source: str | Path) -> tuple[dict[str, Any], str]:
    """Return the content of a study file, and what to call it in messages.

    Parameters
    ----------
    source : str or Path
        Name of a built-in study, or a TOML file.

    Raises
    ------
    InputError
        There is no such study, or the file is not TOML; the message names the line.
    """
    path = BUILT_IN / f"{source}.toml" if _is_name(source) else Path(source)
    if path.is_dir():
        raise InputError(f"{path} is a folder: expected a study file (TOML)")
    if not path.is_file():
        raise InputError(_no_study(source, path))
    if path.stat().st_size > MOST_BYTES:
        raise InputError(f"{path} is too large for a study file: expected at most {MOST_BYTES:,} B")
    try:
        return tomllib.loads(_text(path)), str(path)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None
    except RecursionError:
        raise InputError(f"{path} is not valid TOML: lists are nested too deeply") from None


def built_in_file(name: str) -> Path:
    """Return the study file of a built-in study.

    Raises
    ------
    InputError
        There is no built-in study of this name.
    """
    path = BUILT_IN / f"{name}.toml"
    if not path.is_file():
        raise InputError(_no_study(name, path))
    return path


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        # Some editors put a byte order mark first. A carriage return alone ended lines long ago.
        return content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path} is not in UTF-8, as TOML has to be (line {line} is not): save it as UTF-8"
        ) from None


def _is_name(source: str | Path) -> bool:
    return isinstance(source, str) and "/" not in source and not source.endswith(".toml")


def _no_study(source: str | Path, path: Path) -> str:
    names = sorted(file.stem for file in BUILT_IN.glob("*.toml"))
    if _is_name(source) and Path(source).exists():
        return f"no study {str(source)!r}: if the file of that name is meant, give ./{source}"
    if path.exists():
        return f"{path} is not a regular file: expected a study file (TOML)"
    near = difflib.get_close_matches(str(source), names, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"no study {str(source)!r}: expected one of {', '.join(names)}, or a TOML file.{hint}"
