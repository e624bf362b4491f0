"""Words and headings of a note, and the parts that a template would give it."""

import re
from collections.abc import Callable

from clinadapt.core.messages import Message

WORD = re.compile(r"\w+")
# A name of up to forty characters before a colon, at the start of a line or of a sentence.
HEADING = re.compile(r"(?:^|[\n.;])[\s#*-]*([^\W\d_][\w'’() /-]{0,40}?)\s*:")
EDGE_WORDS = 5
SHORT = 4 * EDGE_WORDS  # words of a note that is too short for a template and a content
FEW_HEADINGS = 2


def words(text: str) -> list[str]:
    """Return the words of a note in lower case, in their order."""
    return WORD.findall(text.lower())


def headings(text: str) -> list[str]:
    """Return the headings of a note in lower case, in their order."""
    return [" ".join(heading.split()) for heading in HEADING.findall(text.lower())]


def opening(text: str) -> str:
    """Return the first words of a note, numbers masked; "" of a short one."""
    masked = ["0" if word.isdigit() else word for word in words(text)]
    return " ".join(masked[:EDGE_WORDS]) if len(masked) >= SHORT else ""


def ending(text: str) -> str:
    """Return the last words of a note, numbers masked; "" of a short one."""
    masked = ["0" if word.isdigit() else word for word in words(text)]
    return " ".join(masked[-EDGE_WORDS:]) if len(masked) >= SHORT else ""


def outline(text: str) -> str:
    """Return the headings of a note; "" of one that has hardly any."""
    found = headings(text)
    return "\n".join(found) if len(found) >= FEW_HEADINGS else ""


SKELETONS: dict[str, Callable[[str], str]] = {
    Message("the first words"): opening,
    Message("the last words"): ending,
    Message("the headings"): outline,
}
