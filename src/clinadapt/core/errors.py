"""Errors that a user can fix: messages state what was expected, what was given and what to do."""

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar


class ClinadaptError(Exception):
    """Base class of clinadapt's own errors; the command line shows them without a traceback.

    Attributes
    ----------
    exit_code : int
        Exit code of a command that ends with this error: 2 for what the user can mend before the
        same command, or another one, goes on.
    """

    exit_code: ClassVar[int] = 2


class InputError(ClinadaptError, ValueError):
    """The user's input is invalid; all problems are reported at once.

    Parameters
    ----------
    problems : str or sequence of str
        One sentence per problem. They must never contain note text.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class LimitError(InputError):
    """A model does not fit within the given limit of memory or hours."""


class EncoderNotFoundError(ClinadaptError):
    """An encoder is not on this machine and cannot, or must not, be downloaded."""


class UnusableEncoderError(InputError, EncoderNotFoundError):
    """A name is no encoder's, or what is found under it cannot be used as one."""


class NothingDoneError(ClinadaptError):
    """The command ran, but nothing was fitted or scored."""

    exit_code = 3


class MachineError(ClinadaptError):
    """The machine failed (disk full, no memory, a file in use); the same command goes on later.

    What was being computed is not recorded as a result.
    """


class NoMemoryError(MachineError):
    """The machine had no memory left for what was asked of it."""


class MissingExtraError(ClinadaptError, ImportError):
    """An optional dependency is missing; the message names the command that installs it."""


class NetworkForbiddenError(ClinadaptError, OSError):
    """A network connection was attempted in offline mode."""


def problems_of(error: ClinadaptError) -> list[str]:
    """Return what an error says, a message as a message; ``str`` would return its English text."""
    if isinstance(error, InputError):
        return error.problems
    return [text if isinstance(text := error.args[0], str) else str(error)] if error.args else [""]


def reason_of(error: ClinadaptError) -> str:
    """Return what an error says as one text, which stays a message if it is one."""
    problems = problems_of(error)
    return problems[0] if len(problems) == 1 else str(error)


def describe_unexpected(error: BaseException) -> str:
    """Return the type and location of an unexpected error.

    Its message is left out, because it may quote a note.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "clinadapt" in frame.filename] or list(frames)
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "unknown place"
    return f"{type(error).__name__} at {place}"
