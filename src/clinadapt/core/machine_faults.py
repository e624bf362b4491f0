"""Tell faults of the machine (disk full, no memory, a lost file) from faults of a model or input.

Libraries hide such faults in errors of their own: polars, safetensors and tokenizers quote the
system's error number in a message, torch only says that a write ended at an unexpected position.
Messages of errors are read here but never shown, because they may quote notes.
"""

import errno
import os
import re
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager
from pathlib import Path

from clinadapt.core.errors import ClinadaptError, LimitError, MachineError, NoMemoryError

# Suffix of a file or folder that is being written. Nobody's own file ends like this, so one that
# is there was left by a killed process.
PARTIAL = ".clinadapt.tmp"
AGAIN = "then give the same command again: what was finished is kept"

# Faults of the machine whatever was done when they came, and what to do about them.
RESOURCES = {
    errno.ENOSPC: ("the disk is full", "make room"),
    errno.EDQUOT: ("your quota of the disk is used up", "make room"),
    errno.EFBIG: (
        "the file became too large for a limit of the file system or of the process (ulimit -f)",
        "lift the limit",
    ),
    errno.EIO: ("the disk, or the connection to it, failed", "check the disk"),
    errno.EROFS: ("the file system became read-only", "make it writable"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n)"),
    errno.ENFILE: ("too many files are open on this machine", "close some"),
    errno.ESTALE: ("the connection to the file server was lost", "restore it"),
    errno.ENOLCK: ("the file system gave no lock", "use a folder on a local disk"),
}
# Faults of the machine in the midst of work; before it, more likely a mistake in the command.
FILES = {
    errno.ENOENT: ("is not there any more", "put it back"),
    errno.EACCES: ("may not be read or written (permission denied)", "change its permissions"),
    errno.EPERM: ("may not be changed (operation not permitted)", "change its permissions"),
    errno.EISDIR: ("is a folder, where a file is expected", "move it away"),
    errno.ENOTDIR: ("is a file, where a folder is expected", "move it away"),
    errno.EEXIST: ("is in the way", "move it away"),
    errno.ENOTEMPTY: ("is in the way: its content could not be deleted", "move it away"),
}
NO_MEMORY = (
    "no memory was left",
    "close other programs, or set a limit that the models keep to (--memory)",
)
WORKER = ("a process that worked for this one was killed", "look for the cause, often no memory")
NO_WRITE = ("a file could not be written to its end", "look whether the disk is full")

_NUMBER = re.compile(r"(?:os error |[Ee]rrno |Os \{ code: )(\d+)")
_MEMORY = re.compile(
    r"can't allocate memory|not enough memory|out of memory|bad_alloc|bad allocation"
    r"|unable to mmap|can't start new thread|failed to map segment"
)
_WRITE = re.compile(
    r"inline_container\.cc.*unexpected pos|PytorchStreamWriter failed|\d+ requested and \d+ written"
    r"|Not enough free space|iostream error|database or disk is full|disk I/O error"
)
_WORKER = re.compile(r"DataLoader worker .*(killed|exited)")


def machine_error(
    error: BaseException, path: Path | None = None, at_work: bool = False
) -> MachineError | None:
    """Return a fault of the machine in words, or None if the error is none.

    Parameters
    ----------
    error : exception
        Its causes are looked through as well.
    path : Path, optional
        File that was being written, where the error itself names none.
    at_work : bool
        Whether files that are missing or may not be opened count as faults of the machine too:
        they do in the midst of a study, whose own files they are.
    """
    if isinstance(error, MachineError):
        return error
    if isinstance(error, LimitError):
        return None
    for cause in _chain(error):
        if _is_memory(cause):
            return NoMemoryError(_sentence(*NO_MEMORY))
        number = error_number(cause)
        if number in RESOURCES:
            words, remedy = RESOURCES[number]
            named = _named(cause) or path
            return MachineError(_sentence(f"{shown(named)}: {words}" if named else words, remedy))
        if isinstance(cause, BrokenExecutor) or _says(cause, _WORKER):
            return MachineError(_sentence(*WORKER))
        if _says(cause, _WRITE):
            words, remedy = NO_WRITE
            return MachineError(_sentence(f"{shown(path)}: {words}" if path else words, remedy))
    number = error_number(error)
    if not at_work or number in (None, errno.EPIPE) or isinstance(error, ClinadaptError):
        return None
    assert number is not None
    named = _named(error) or path
    words, remedy = FILES.get(number, (os.strerror(number), "remove the cause"))
    return MachineError(_sentence(f"{shown(named) if named else 'a file'} {words}", remedy))


@contextmanager
def machine_faults_told(path: Path | None = None, at_work: bool = False) -> Iterator[None]:
    """Turn faults of the machine inside a ``with`` block into `MachineError`; see `machine_error`.

    Raises
    ------
    MachineError
        Disk full, no memory, or another fault of the machine.
    """
    try:
        yield
    except Exception as error:
        fault = machine_error(error, path, at_work)
        if fault is None or fault is error:
            raise
        raise fault from error


def error_number(error: BaseException) -> int | None:
    """Return the system's error number, also if only the message of a library states it."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    if isinstance(error, ClinadaptError):
        return None
    found = _NUMBER.search(str(error))
    return int(found[1]) if found else None


def shown(path: Path) -> Path:
    """Return the name under which a user knows a file that is being written."""
    parts = [part.removesuffix(PARTIAL) for part in path.parts]
    return Path(*parts)


def _sentence(words: str, remedy: str) -> str:
    return f"{words}. {remedy[0].upper()}{remedy[1:]}, {AGAIN}"


def _named(error: BaseException) -> Path | None:
    # Renaming names two files; the second is the one that was to be there.
    for name in (getattr(error, "filename2", None), getattr(error, "filename", None)):
        if isinstance(name, str | os.PathLike):
            return Path(name)
    return None


def _is_memory(error: BaseException) -> bool:
    return (
        isinstance(error, MemoryError)
        or error_number(error) == errno.ENOMEM
        or (isinstance(error, RuntimeError | ImportError) and _says(error, _MEMORY))
    )


def _says(error: BaseException, pattern: re.Pattern[str]) -> bool:
    return not isinstance(error, ClinadaptError) and bool(pattern.search(str(error)))


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or following.__context__
