"""What a command prints, and its exit code, when it fails.

0: done. 2: a mistake in the command or in an input, or a failure of the machine (disk full, a file
in use): the message says what to do. 3: it ran, but nothing was fitted or scored. 130: stopped by
the user. 1: a bug in clinadapt.
"""

import errno
import os
import shlex
import sys
from collections.abc import Sequence

from clinadapt.core.errors import ClinadaptError, MachineError, describe_unexpected
from clinadapt.core.machine_faults import machine_error

# What the user named is absent or out of bounds; every other OSError is a failure of the machine.
NAMED = {
    errno.ENOENT: "no such file or folder",
    errno.EACCES: "permission denied",
    errno.EPERM: "not permitted",
    errno.EISDIR: "expected a file, but this is a folder",
    errno.ENOTDIR: "expected a folder, but this is a file",
    errno.EEXIST: "there is something else here already",
    errno.ENOTEMPTY: "there is something else here already",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ELOOP: "the link leads to itself",
    errno.EINVAL: "not a name that this machine accepts",
}


class StoppedError(ClinadaptError):
    """The user stopped the command (Ctrl+C)."""

    exit_code = 130


def fail(error: Exception) -> None:
    """Print what went wrong on standard error, and exit with its code.

    With ``CLINADAPT_DEBUG`` set, what is not one of clinadapt's own errors is raised again.
    """
    if os.environ.get("CLINADAPT_DEBUG") and not isinstance(error, ClinadaptError):
        raise error
    known = _known(error)
    if known is None:
        text = (
            f"{describe_unexpected(error)}. This is a bug in clinadapt. Set CLINADAPT_DEBUG=1 to "
            "see the message, which may quote notes"
        )
        print(f"error: {text}", file=sys.stderr)
        sys.exit(1)
    problems = getattr(known, "problems", [str(known)])
    if isinstance(known, StoppedError):
        print(f"\n{problems[0]}", file=sys.stderr)
    elif len(problems) == 1:
        print(f"error: {problems[0]}", file=sys.stderr)
    else:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        print(f"error: {len(problems)} problems:\n{lines}", file=sys.stderr)
    sys.exit(known.exit_code)


def _known(error: Exception) -> ClinadaptError | None:
    """Return the error in words, or None if it is a bug."""
    if isinstance(error, ClinadaptError):
        return error
    if (fault := machine_error(error)) is not None:
        return fault
    if not isinstance(error, OSError):
        return None
    words = NAMED.get(error.errno or 0)
    where = "" if error.filename is None else f": {error.filename}"
    if words is not None:
        return ClinadaptError(f"{words}{where}")
    return MachineError(f"{error.strerror or type(error).__name__}{where}")


def stopped(command: str, arguments: Sequence[str]) -> StoppedError:
    """Return what to say about a command that the user stopped.

    Parameters
    ----------
    command : str
        Name of the command.
    arguments : sequence of str
        What was given after ``clinadapt``.
    """
    if command not in RESUMED:
        return StoppedError(f"Stopped. Run `clinadapt {command}` again to start anew.")
    # A database's URL may hold a password, which must not be printed.
    shown = not any("://" in argument for argument in arguments)
    line = f":\n  {shlex.join(['clinadapt', *arguments])}" if shown else "."
    return StoppedError(f"Stopped. {RESUMED[command]} The same command goes on from there{line}")


RESUMED = {
    "study": "Finished runs are kept, and the epochs of the current one.",
    "demo": "Finished runs are kept, and the epochs of the current one.",
    "predict": "Scores written so far are kept.",
    "pretrain": "An encoder is kept as it was at the last checkpoint.",
    "track": "Runs logged so far are kept.",
}
