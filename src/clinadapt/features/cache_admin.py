"""List and delete cached features on this machine.

Features reflect patient text, so nobody should have to guess where they are. Only files that a
`clinadapt.features.feature_cache.FeatureStore` writes are counted and deleted.
"""

import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from clinadapt.core.machine_faults import PARTIAL
from clinadapt.core.run_context import SESSION
from clinadapt.features.cache_files import DATA, SIDECAR

NAME = re.compile(r"[0-9a-f]{24}")
DAY = 86_400
OLD_PARTIAL = ".tmp"  # of version 0.1


@dataclass(frozen=True)
class CachedEncoder:
    """Features of one encoder at one split layer.

    Attributes
    ----------
    folder : Path
    size : int
        Size in bytes.
    files : int
        Number of files.
    written : float
        Time of the last write, in seconds since 1970.
    in_use : bool
        True if it is the cache of a running process.
    open_to_others : bool
        True if users other than its owner may read it.
    """

    folder: Path
    size: int
    files: int
    written: float
    in_use: bool
    open_to_others: bool

    def days(self) -> float:
        """Return the days since it was last written."""
        return max(0.0, time.time() - self.written) / DAY


def places(folders: Iterable[Path]) -> list[Path]:
    """Return the cache folders of studies, given caches, and caches that processes left behind.

    Parameters
    ----------
    folders : iterable of Path
        Folders of studies or of features.
    """
    candidates = [place for folder in folders for place in (folder, folder / "cache")]
    candidates += sorted(Path(tempfile.gettempdir()).glob(f"{SESSION}*"))
    return [
        place for place in dict.fromkeys(candidates) if place.is_dir() and not place.is_symlink()
    ]


def entries(folders: Iterable[Path]) -> Iterator[CachedEncoder]:
    """Yield the cached features in folders of studies or features, and in those of processes."""
    for place in places(folders):
        if not os.access(place, os.R_OK | os.X_OK):
            continue  # belongs to another user
        for folder in sorted(place.iterdir()):
            if NAME.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
                yield _entry(folder)


def _entry(folder: Path) -> CachedEncoder:
    files = [path.lstat() for path in folder.iterdir()]
    about = folder.stat()
    return CachedEncoder(
        folder=folder,
        size=sum(file.st_size for file in files),
        files=len(files),
        written=max([about.st_mtime, *(file.st_mtime for file in files)]),
        in_use=_in_use(folder.parent.name),
        open_to_others=bool(about.st_mode & 0o077),
    )


def _in_use(name: str) -> bool:
    """Return whether a folder is the cache of a running process."""
    owner = name.removeprefix(SESSION).partition("-")[0]
    return name.startswith(SESSION) and owner.isdigit() and psutil.pid_exists(int(owner))


def purge(cached: Iterable[CachedEncoder], older_than: float = 0.0) -> list[CachedEncoder]:
    """Delete entries that no process uses.

    Parameters
    ----------
    cached : iterable of CachedEncoder
    older_than : float
        Minimum age in days since the last write; younger entries are kept.

    Returns
    -------
    list of CachedEncoder
        The deleted entries.
    """
    deleted = []
    for entry in cached:
        if entry.in_use or entry.days() < older_than:
            continue
        for path in entry.folder.iterdir():
            if path.name.endswith((DATA, SIDECAR, PARTIAL, OLD_PARTIAL)):
                path.unlink()
        if any(entry.folder.iterdir()):
            continue  # the folder also has files that are not cached features
        entry.folder.rmdir()
        deleted.append(entry)
        place = entry.folder.parent
        if place.name.startswith(SESSION) and not any(place.iterdir()):
            place.rmdir()
    return deleted
