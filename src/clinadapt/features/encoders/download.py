"""Download of an encoder from the Hugging Face hub, after one short question whether it is there.

The hub's client retries for half a minute, and a machine whose name server does not answer waits
longer still. The question is therefore asked in a thread that is left behind after some seconds.
"""

import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

SECONDS = 4.0
_silence: str | None = None  # why the hub did not answer, if it did not


class DownloadError(Exception):
    """The download failed; the message is the reason."""


def download(hub_id: str, revision: str | None, patterns: Sequence[str]) -> Path:
    """Return the folder of a downloaded repository.

    Raises
    ------
    DownloadError
        The hub does not answer, does not have it, or the connection broke.
    """
    if reason := _refusal(hub_id, revision):
        raise DownloadError(reason)
    fetched = _fetch(hub_id, revision, tuple(patterns))
    if isinstance(fetched, str):
        raise DownloadError(fetched)
    return fetched


def _refusal(hub_id: str, revision: str | None) -> str | None:
    """Return why the hub cannot give a repository; None if it can.

    A hub that did not answer is not asked for another repository either.
    """
    global _silence
    if _silence is None:
        answered, reason = _ask(hub_id, revision)
        if answered:
            return reason
        _silence = reason
    return _silence


@cache
def _ask(hub_id: str, revision: str | None) -> tuple[bool, str | None]:
    """Return whether the hub answered, and why it cannot give a repository."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    answers: list[tuple[bool, str | None]] = []

    def ask() -> None:
        try:
            HfApi().model_info(hub_id, revision=revision, timeout=SECONDS)
        except Exception as error:  # the client raises many kinds, all meaning: not available
            answers.append((isinstance(error, HfHubHTTPError), type(error).__name__))
        else:
            answers.append((True, None))

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS)
    return answers[0] if answers else (False, f"no answer within {SECONDS:.0f} s")


@cache
def _fetch(hub_id: str, revision: str | None, patterns: tuple[str, ...]) -> Path | str:
    """Return the folder of a downloaded repository, or the kind of failure; tried once."""
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(hub_id, revision=revision, allow_patterns=list(patterns))
    except Exception as error:
        return type(error).__name__
    return Path(folder)
