"""Permissions of files and folders that only their owner may read."""

import stat
from pathlib import Path

OWNER_ONLY = 0o600  # of a file
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private(folder: Path) -> None:
    """Create a folder that only its owner can open, or close an existing one to all others.

    Parameters
    ----------
    folder : Path
        Folder whose parent exists.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & OTHERS:
        folder.chmod(mode & ~OTHERS)
