"""What a path leads to, in words."""

import stat
from pathlib import Path

from clinadapt.core.errors import InputError

KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe, which can be read only once",
    stat.S_ISSOCK: "a socket",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
}


def why_no_file(path: Path) -> str:
    """Return why a path is no file, as a sentence."""
    if str(path) == "-":
        return "'-' would be the standard input, which cannot be read twice: write it to a file"
    if path.is_symlink() and not path.exists():
        return f"{path} is a link that leads nowhere"
    if not path.exists():
        return f"no such file: {path}"
    mode = path.stat().st_mode
    kind = next((words for is_kind, words in KINDS.items() if is_kind(mode)), "no regular file")
    return f"{path} is {kind}: expected a file"


def check_file(path: Path) -> None:
    """Raise `InputError` unless a path is that of a file with content."""
    if not path.is_file():
        raise InputError(why_no_file(path))
    if not path.stat().st_size:
        raise InputError(f"{path} is empty (0 bytes)")
