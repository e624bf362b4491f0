"""A lock on a folder, so that one process at a time writes to it.

The system frees the lock when its process ends, however it ends, so that no lock is ever stale. The
file of the lock names the process that has it, for messages only.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from clinadapt.core.errors import MachineError
from clinadapt.core.permissions import OWNER_ONLY

LOCK = ".lock"
POLL_SECONDS = 0.2


@contextmanager
def folder_lock(folder: Path, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock of a folder during a ``with`` block; a thread that has it may take it again.

    Parameters
    ----------
    folder : Path
        Existing folder.
    waiting : callable, optional
        Called once with who has the lock, if another process does; the lock is then waited for.
        Without it, nothing is waited for.

    Raises
    ------
    MachineError
        Another process has the lock, and `waiting` is not given.
    """
    file = folder.resolve() / LOCK
    lock = FileLock(file, mode=OWNER_ONLY, is_singleton=True)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        holder = f"{folder} is in use by {_holder(file)}"
        if waiting is None:
            raise MachineError(
                f"{holder}: wait until it has ended, then give the same command again"
            ) from None
        waiting(holder)
        lock.acquire(poll_interval=POLL_SECONDS)
    try:
        with suppress(OSError):  # a full disk must not keep anybody from the lock
            file.write_text(str(os.getpid()), encoding="ascii")
        yield
    finally:
        # Deleted while it is held: whoever waits for it notices, and makes a new one.
        if lock.lock_counter == 1:
            with suppress(OSError):
                file.unlink()
        lock.release()


def _holder(file: Path) -> str:
    with suppress(OSError, ValueError):
        return f"process {int(file.read_text(encoding='ascii'))}"
    return "another process"
