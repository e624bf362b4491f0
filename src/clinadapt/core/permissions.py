"""Permissions of files and folders that only their owner may read.

Whatever clinadapt writes may hold ids, words or scores of notes, so everything is closed to others
unless its writer asks otherwise.
"""

import os
import stat
from pathlib import Path

OWNER_ONLY = 0o600  # of a file
OWNER_ONLY_FOLDER = 0o700
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def private_folder(folder: Path) -> None:
    """Create a folder, and any missing parents, that only their owner can open.

    An existing folder is left as it is: it may be one that its owner shares on purpose.
    """
    for path in (*reversed(folder.parents), folder):
        if not path.is_dir():
            path.mkdir(mode=OWNER_ONLY_FOLDER, exist_ok=True)


def make_private(folder: Path) -> None:
    """Create a folder that only its owner can open, or close an existing one to all others.

    Parameters
    ----------
    folder : Path
        Folder whose parent exists.
    """
    folder.mkdir(mode=OWNER_ONLY_FOLDER, exist_ok=True)
    _close(folder)


def close_to_others(folder: Path) -> None:
    """Close a folder and everything in it to all but its owner; links are not followed."""
    _close(folder)
    for place, folders, files in os.walk(folder):
        for name in folders + files:
            path = Path(place) / name
            if not path.is_symlink():
                _close(path)


def _close(path: Path) -> None:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & OTHERS:
        path.chmod(mode & ~OTHERS)
