"""Caches of cached features on this machine: what is there, how large and how old; and their end.

Features reflect patient text, so nobody should have to guess where they are. Only what a
`clinadapt.features.feature_cache.FeatureStore` writes is counted and deleted; anything else is left
alone.
"""

import os
import re
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from clinadapt.core.atomic_files import PARTIAL
from clinadapt.core.run_context import SESSION
from clinadapt.features.cache_shards import DATA, SIDECAR

NAME = re.compile(r"[0-9a-f]{24}")
DAY = 86_400


@dataclass(frozen=True)
class Entry:
    """Features of one encoder at one split layer.

    Attributes
    ----------
    folder : Path
    size : int
        Bytes.
    files : int
    written : float
        When it was last written, in seconds since 1970.
    in_use : bool
        It is the cache of a process that is still there.
    open_to_others : bool
        Others than its owner may read it.
    """

    folder: Path
    size: int
    files: int
    written: float
    in_use: bool
    open_to_others: bool

    def days(self) -> float:
        """Days since it was last written."""
        return max(0.0, time.time() - self.written) / DAY


def places(folders: Iterable[Path]) -> list[Path]:
    """Caches among folders: of studies, caches themselves, and what processes left behind.

    Parameters
    ----------
    folders : iterable of Path
        Folders of studies or of features.
    """
    found = [place for folder in folders for place in (folder, folder / "cache")]
    found += sorted(Path(tempfile.gettempdir()).glob(f"{SESSION}*"))
    return [place for place in dict.fromkeys(found) if place.is_dir() and not place.is_symlink()]


def entries(folders: Iterable[Path]) -> Iterator[Entry]:
    """Yield what is cached in folders of studies or features, and in those of processes."""
    for place in places(folders):
        if not os.access(place, os.R_OK | os.X_OK):
            continue  # another user's
        for folder in sorted(place.iterdir()):
            if NAME.fullmatch(folder.name) and folder.is_dir() and not folder.is_symlink():
                yield _entry(folder)


def _entry(folder: Path) -> Entry:
    files = [path.lstat() for path in folder.iterdir()]
    about = folder.stat()
    return Entry(
        folder=folder,
        size=sum(file.st_size for file in files),
        files=len(files),
        written=max([about.st_mtime, *(file.st_mtime for file in files)]),
        in_use=_in_use(folder.parent.name),
        open_to_others=bool(about.st_mode & 0o077),
    )


def _in_use(name: str) -> bool:
    """Whether a folder is the cache of a process that is still there."""
    owner = name.removeprefix(SESSION).partition("-")[0]
    return name.startswith(SESSION) and owner.isdigit() and psutil.pid_exists(int(owner))


def purge(found: Iterable[Entry], older_than: float = 0.0) -> list[Entry]:
    """Delete entries that no process uses.

    Parameters
    ----------
    found : iterable of Entry
    older_than : float
        Days since an entry was last written; younger ones stay.

    Returns
    -------
    list of Entry
        What was deleted.
    """
    deleted = []
    for entry in found:
        if entry.in_use or entry.days() < older_than:
            continue
        for path in entry.folder.iterdir():
            if path.suffix in (DATA, SIDECAR, PARTIAL):
                path.unlink()
        if any(entry.folder.iterdir()):
            continue  # something that is none of ours
        entry.folder.rmdir()
        deleted.append(entry)
        place = entry.folder.parent
        if place.name.startswith(SESSION) and not any(place.iterdir()):
            place.rmdir()
    return deleted
