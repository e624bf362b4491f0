"""Names of classes: what nobody sees makes no difference; what looks alike or odd is told."""

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any

from clinadapt.data.checks import LONGEST_SHOWN

SHOWN_PROPOSALS = 10
SHOWN_SPELLINGS = 5
MANY_CLASSES, FEW_PER_CLASS = 50, 10  # classes, and notes per class, that make one doubt
_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?")
_BETWEEN_WORDS = re.compile(r"(?<=\w)[\s_/'’‐-―-]+(?=\w)")
_AROUND = " .,:;!?\"'`´‘’“”«»"


def tidy(name: str) -> str:
    """Return a class name without what nobody sees; blank names become "".

    White space at the ends is removed and stretches of it inside become one space, whatever its
    kind; characters without a shape, such as zero-width spaces, are removed; letters with accents
    are composed (Unicode NFC).
    """
    shown = "".join(sign for sign in name if unicodedata.category(sign) != "Cf")
    return " ".join(unicodedata.normalize("NFC", shown).split())


def folded(name: str) -> str:
    """Return a name without case and accents, in the compatible form of its characters (NFKD)."""
    signs = unicodedata.normalize("NFKD", tidy(name))
    return "".join(sign for sign in signs if not unicodedata.combining(sign)).casefold()


def _look(name: str) -> str:
    """Return what is left of a name if case, accents, marks and the form of numbers are ignored."""
    bare = folded(name).strip(_AROUND)
    if _NUMBER.fullmatch(bare):
        return f"{float(bare.replace(',', '.')):g}"
    return _BETWEEN_WORDS.sub(" ", bare) or name


def look_alikes(counts: Mapping[Any, int], kind: str = "notes") -> list[str]:
    """Return a warning, with a proposal, for classes whose names are alike.

    Names are alike if they differ in case, accents, punctuation around or between words, or in the
    form of a number ("1", "01", "1.0").

    Parameters
    ----------
    counts : mapping of str to int
        Number of carriers of each class; names that are not text are left out.
    kind : str
        Kind of carrier, for the message.
    """
    by_look: dict[str, list[str]] = {}
    for name in counts:
        if isinstance(name, str):
            by_look.setdefault(_look(name), []).append(name)
    several = [names for names in by_look.values() if len(names) > 1]
    proposals = []
    for names in several[:SHOWN_PROPOSALS]:
        if max(map(len, names)) > LONGEST_SHOWN:  # these may be notes
            proposals.append(f"{len(names)} long names")
            continue
        names.sort(key=lambda name: (-counts[name], len(name), not name.isascii()))
        spelled = ", ".join(f"{name!r} ({counts[name]})" for name in names[:SHOWN_SPELLINGS])
        more = len(names) - SHOWN_SPELLINGS
        spelled += f" and {more} more" if more > 0 else ""
        proposals.append(f"{spelled}: if they mean the same, write {names[0]!r} for all")
    if not several:
        return []
    more = len(several) - SHOWN_PROPOSALS
    return [
        f"classes look alike but count as different ({kind} in brackets): "
        + "; ".join(proposals)
        + (f"; and {more} more such groups" if more > 0 else "")
    ]


def doubtful_names(names: Collection[str], notes: int) -> list[str]:
    """Return warnings about so many or so long classes that the column may be another one."""
    warnings = []
    if len(names) >= MANY_CLASSES and notes <= FEW_PER_CLASS * len(names):
        warnings.append(
            f"{len(names):,} classes for {notes:,} notes, {notes / len(names):.1f} notes per "
            "class: is it the right label column?"
        )
    if long := sum(len(name) > LONGEST_SHOWN for name in names):
        warnings.append(
            f"{long:,} classes have names of more than {LONGEST_SHOWN} characters: is it the right "
            "label column?"
        )
    return warnings
