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
_UNSEEN = re.compile("[\u034f\u115f\u1160\u3164\uffa0\ufe00-\ufe0f\U000e0100-\U000e01ef]")
_LIGATURES = {
    ord(sign): spelled for sign, spelled in zip("œŒæÆ", ("oe", "OE", "ae", "AE"), strict=True)
}
_LATIN = str.maketrans("АВЕКМНОРСТХаеорсухіΑΒΕΖΗΙΚΜΝΟΡΤΥΧο", "ABEKMHOPCTXaeopcyxiABEZHIKMNOPTYXo")
_MAY_BE_MISSING = re.compile(
    r"n\.?[ad]\.?|n/[ad]|[+-]?nan|null|nsp|\?+|[-–—]+|\.+|#(?:ref|value|div/0|name\?|num)!?|"
    r"undefined|missing|manquante?|non renseignee?",
    re.IGNORECASE,
)
_LIST = re.compile(r"\[.*\]|[\[{(]\s*['\"].*", re.DOTALL)
_JOINING = "|;,+/&"
_AROUND = " .,:;!?\"'`´‘’“”«»"


def tidy(name: str) -> str:
    """Return a class name without what nobody sees; blank names become "".

    White space at the ends is removed and stretches of it inside become one space, whatever its
    kind; characters without a shape, such as zero-width spaces and control characters, are removed;
    letters with accents are composed (Unicode NFC).
    """
    shown = "".join(
        sign
        for sign in _UNSEEN.sub("", name)
        if unicodedata.category(sign) not in ("Cf", "Cc") or sign.isspace()
    )
    return " ".join(unicodedata.normalize("NFC", shown).split())


def folded(name: str) -> str:
    """Return a name without case, accents and ligatures, in compatible characters (NFKD)."""
    signs = unicodedata.normalize("NFKD", tidy(name).translate(_LIGATURES))
    return "".join(sign for sign in signs if not unicodedata.combining(sign)).casefold()


def _look(name: str) -> str:
    """Return what is left of a name if case, accents, marks and the form of numbers are ignored."""
    bare = folded(name.translate(_LATIN)).strip(_AROUND)
    if _NUMBER.fullmatch(bare):
        return f"{float(bare.replace(',', '.')):g}"
    return _BETWEEN_WORDS.sub(" ", bare) or name


def look_alikes(counts: Mapping[Any, int], kind: str = "notes") -> list[str]:
    """Return a warning, with a proposal, for classes whose names are alike.

    Names are alike if they differ in case, accents, punctuation around or between words, in the
    form of a number ("1", "01", "1.0"), or in letters of other scripts that look like Latin ones.

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


def words_for_nothing(names: Collection[str]) -> list[str]:
    """Return a warning about classes whose names may mean that the label is missing."""
    unsure = [name for name in names if _MAY_BE_MISSING.fullmatch(folded(name))]
    if not unsure:
        return []
    return [
        f"{', '.join(map(repr, unsure[:SHOWN_SPELLINGS]))} count as classes: if they mean that "
        f"the label is missing, give the words for that with --missing"
    ]


def doubtful_names(names: Collection[str], notes: int) -> list[str]:
    """Return warnings about classes that may be lists, or the values of another column."""
    warnings = []
    if lists := sum(bool(_LIST.fullmatch(name)) for name in names):
        warnings.append(
            f"{lists:,} class(es) look like lists written as text: store lists in JSON or Parquet, "
            f"or join the classes of a note by a character and give it with --separator"
        )
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


def joined_names(names: Collection[str], separator: str | None) -> list[str]:
    """Return a warning about classes that seem to be several, joined by a mark.

    Parameters
    ----------
    names : collection of str
    separator : str, optional
        Mark by which they were already separated.
    """
    bare = (separator or "").strip()
    if separator and bare not in ("", separator):
        if inside := sum(bare in name for name in names):
            return [
                f"{inside:,} class(es) contain {bare!r}, but the separator is {separator!r}: as "
                f"spaces around labels do not matter, --separator {bare!r} reads both"
            ]
        return []
    for mark in "" if separator else _JOINING:
        joined = [name for name in names if mark in name]
        parts = [[tidy(part) for part in name.split(mark)] for name in joined]
        if count := sum(
            sum(map(bool, each)) > 1 and all(part in names for part in each if part)
            for each in parts
        ):
            return [
                f"{count:,} class(es) are others joined by {mark!r}: if notes can have several "
                f"labels, use --separator {mark!r}"
            ]
    return []
