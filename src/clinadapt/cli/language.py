"""The language of the terminal: that of ``--language``, or of the environment."""

import os

from clinadapt.core.language import known, of_environment, set_language

VARIABLE = "CLINADAPT_LANGUAGE"

_asked: list[str] = []  # the language that was asked for, if one was


def language_of_environment() -> None:
    """Use the language of ``CLINADAPT_LANGUAGE``, or else of the locale."""
    _asked.clear()
    set_language("en")
    ask_language(os.environ.get(VARIABLE) or None)
    if not _asked:
        set_language(of_environment())


def ask_language(code: str | None) -> str | None:
    """Use a language from now on, if one is given."""
    if code is not None:
        _asked[:] = [known(code)]
        set_language(code)
    return code


def asked_language() -> str | None:
    """Return the language that was asked for, in which a report opens; None if none was."""
    return _asked[0] if _asked else None
