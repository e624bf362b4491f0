"""Files and folders for their owner only."""

import stat
from pathlib import Path

OWNER_ONLY = 0o600  # of a file
OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private(folder: Path) -> None:
    """Make a folder that its owner alone can open; one that is there is closed to all others.

    Parameters
    ----------
    folder : Path
        Its parent is there.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & OTHERS:
        folder.chmod(mode & ~OTHERS)
