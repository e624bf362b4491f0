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

from clinadapt.core.errors import ClinadaptError, MachineError, describe_unexpected, problems_of
from clinadapt.core.machine_faults import machine_error
from clinadapt.core.messages import Message, shown, translate

# What the user named is absent or out of bounds; every other OSError is a failure of the machine.
NAMED = {
    errno.ENOENT: Message("no such file or folder"),
    errno.EACCES: Message("permission denied"),
    errno.EPERM: Message("not permitted"),
    errno.EISDIR: Message("expected a file, but this is a folder"),
    errno.ENOTDIR: Message("expected a folder, but this is a file"),
    errno.EEXIST: Message("there is something else here already"),
    errno.ENOTEMPTY: Message("there is something else here already"),
    errno.ENAMETOOLONG: Message("the name is too long"),
    errno.ELOOP: Message("the link leads to itself"),
    errno.EINVAL: Message("not a name that this machine accepts"),
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
        text = translate(
            "error: {what}. This is a bug in clinadapt. Set CLINADAPT_DEBUG=1 to see the message, "
            "which may quote notes",
            what=describe_unexpected(error),
        )
        print(text, file=sys.stderr)
        sys.exit(1)
    problems = [shown(problem) for problem in problems_of(known)]
    if isinstance(known, StoppedError):
        print(f"\n{problems[0]}", file=sys.stderr)
    elif len(problems) == 1:
        print(translate("error: {problem}", problem=problems[0]), file=sys.stderr)
    else:
        lines = "\n".join(f"  - {problem}" for problem in problems)
        text = translate("error: {n} problems:\n{lines}", n=len(problems), lines=lines)
        print(text, file=sys.stderr)
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
        return ClinadaptError(f"{shown(words)}{where}")
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
        return StoppedError(
            Message("Stopped. Run `clinadapt {command}` again to start anew.", command=command)
        )
    # A database's URL may hold a password, which must not be printed.
    shown = not any("://" in argument for argument in arguments)
    line = f":\n  {shlex.join(['clinadapt', *arguments])}" if shown else "."
    return StoppedError(
        Message(
            "Stopped. {kept} The same command goes on from there{line}",
            kept=RESUMED[command],
            line=line,
        )
    )


RESUMED = {
    "study": Message("Finished runs are kept, and the epochs of the current one."),
    "demo": Message("Finished runs are kept, and the epochs of the current one."),
    "predict": Message("Scores written so far are kept."),
    "pretrain": Message("An encoder is kept as it was at the last checkpoint."),
    "track": Message("Runs logged so far are kept."),
}
