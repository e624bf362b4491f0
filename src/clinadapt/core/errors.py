"""Errors that a user can mend: they say what was expected, what came, and what to do."""

import traceback
from collections.abc import Sequence
from pathlib import Path


class ClinadaptError(Exception):
    """Base of every error that clinadapt raises on purpose; the command line shows no traceback."""


class InputError(ClinadaptError, ValueError):
    """Something in the user's input is wrong; all problems are told at once.

    Parameters
    ----------
    problems : sequence of str
        One sentence a problem. Never any note text.
    """

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class LimitError(InputError):
    """A model does not fit into the memory or the hours that were given."""


class EncoderNotFoundError(ClinadaptError):
    """An encoder is not on this machine (and may not, or cannot, be fetched)."""


class MissingExtraError(ClinadaptError, ImportError):
    """An optional dependency is needed and absent; the message names the command that adds it."""


class NetworkForbiddenError(ClinadaptError, OSError):
    """Something tried to reach the network in offline mode."""


def describe_unexpected(error: BaseException) -> str:
    """Kind and place of an error that nobody expected; not its message, which may quote a note."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "clinadapt" in frame.filename] or list(frames)
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "unknown place"
    return f"{type(error).__name__} at {place}"
