"""Turns HTML and RTF into plain text, with inscriptis and striprtf (`clinadapt[fhir]`)."""

import re
from importlib.util import find_spec

from clinadapt.core.errors import MissingExtraError

DECLARED = re.compile(rb"""(?:charset|encoding)\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
DECLARATION_BYTES = 1024  # HTML has its declaration there


def check_converters() -> None:
    """Raise `MissingExtraError` if the libraries are not installed."""
    if find_spec("inscriptis") is None or find_spec("striprtf") is None:
        raise MissingExtraError(
            "turning HTML and RTF into text needs inscriptis and striprtf: "
            "pip install 'clinadapt[fhir]'"
        )


def html_to_text(content: bytes, charset: str | None) -> str:
    """Return the text of an HTML or XHTML page or fragment.

    Parameters
    ----------
    content : bytes
    charset : str, optional
        Default: the one that the page declares, or UTF-8.

    Raises
    ------
    ValueError, LookupError
        The page is not in that charset, or the charset is unknown.
    """
    from inscriptis import get_text

    declared = DECLARED.search(content[:DECLARATION_BYTES])
    named = charset or (declared[1].decode("ascii") if declared else "utf-8")
    text = content.decode(named).removeprefix("\ufeff")
    return str(get_text(text)).strip()


def rtf_to_text(content: bytes, charset: str | None) -> str:
    """Return the text of an RTF document.

    Parameters
    ----------
    content : bytes
    charset : str, optional
        Of bytes beyond ASCII, which RTF should not have; default: Windows-1252. The charset of
        escaped characters stands in the document.

    Raises
    ------
    ValueError, LookupError
        The document is not in its charset, or a charset is unknown.
    """
    from striprtf import striprtf

    named = "cp1252" if charset is None or charset.lower() == "us-ascii" else charset
    return str(striprtf.rtf_to_text(content.decode(named))).strip()
