"""Which class of a binary task is the positive one, the one that its scores are about."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clinadapt.core.errors import InputError
from clinadapt.core.messages import Message
from clinadapt.data.checks import LONGEST_SHOWN
from clinadapt.data.label_spelling import folded

# Names without accents, in English and French: of a finding's absence, of people and findings that
# nothing is wrong with, and of a finding.
ABSENT = (
    "no|non|none|not|never|jamais|aucune?|nil|nulle?|without|sans|false|faux|absente?s?|absence|"
    "neg|negati(?:f|ve)s?|denied|unlikely|improbable|infirmee?|refuted"
)
WELL = (
    "healthy|saine?s?|normale?s?|normaux|unaffected|unremarkable|indemnes?|benign|benin|benigne|"
    "controle?s?|temoins?|alive|vivante?s?|survived|survivors?"
)
PRESENT = "true|vrai|yes|oui|positi(?:f|ve)s?|pos|case|cas|presente?s?|malades?|sick|ill|diseased?"
_NOTHING = re.compile(f"{ABSENT}|{WELL}")
_FINDING = re.compile(PRESENT)
_NEGATED = re.compile(
    r"(?:no|non|not|pas|sans|without|aucune?|absence|never|jamais|free|absent|denies|nie)"
    r"(?: (?:de|d|du|des|of|from|any|a|an|the|la|le|les|l|un|une))* (?P<what>.+)"
    r"|(?P<it>.+?)(?: est| is| are| sont)? "
    r"(?:no|non|false|faux|absente?s?|absence|free|neg|negati(?:f|ve)s?|0)"
)
_PREFIX = "(?:non|un|in|im|a|an|not|no|dis)"
SHORTEST_PREFIXED = 4  # letters of a name that a prefix may negate: not "b" and "ab"
_INITIALS = {"n": {"y", "o", "p"}, "f": {"t", "v"}}


@dataclass(frozen=True)
class Positive:
    """The positive class of a binary task.

    Attributes
    ----------
    name, other
        Positive and negative class.
    warning : str, optional
        Set where the names do not say which of the two is positive.
    """

    name: Any
    other: Any
    warning: str | None = None


def choose(counts: Mapping[Any, int], positive: Any | None = None) -> Positive:
    """Return the positive class of two.

    It is `positive` if given. Otherwise the names decide: the other one of a negation ("no
    infection", "pas d'infection", "sans", "négatif", "0", "sain"), or else the one whose name is
    that of a finding ("yes", "positif", "case"). If they say nothing, it is the rarer class, and of
    equally rare ones the last in order, with a warning.

    Parameters
    ----------
    counts : mapping of class to int
        Number of notes of each of the two classes.
    positive : optional

    Raises
    ------
    InputError
        `positive` is not one of the classes.
    """
    names = sorted(counts)
    if positive is not None:
        if positive not in counts:
            listed = " and ".join(map(quoted, names))
            raise InputError(
                Message(
                    "the positive class {positive!r} is not one of the labels {listed}",
                    positive=positive,
                    listed=listed,
                )
            )
        return Positive(positive, *(name for name in names if name != positive))
    first, second = (" ".join(re.findall(r"[^\W_]+", folded(str(name)))) for name in names)
    signs = [_sign(str(name), words) for name, words in zip(names, (first, second), strict=True)]
    if signs == [0, 0]:
        signs = _of_pair(first, second, *map(str, names))
    if signs[0] != signs[1]:
        return Positive(*reversed(names) if signs[0] < signs[1] else names)
    rarer = counts[names[0]] < counts[names[1]]
    name, other = names if rarer else reversed(names)
    how_rare = (
        Message("the rarer")
        if counts[name] < counts[other]
        else Message("the last in order of equally rare")
    )
    return Positive(
        name,
        other,
        Message(
            "the names of the classes do not say which is positive, so {name}, {how_rare} ({n:,} "
            "of {of:,} notes), is taken: if it is the other one, choose it with --positive, or "
            "positive={other} in Python",
            name=quoted(name),
            how_rare=how_rare,
            n=counts[name],
            of=counts[name] + counts[other],
            other=quoted(other),
        ),
    )


def quoted(name: Any) -> str:
    """Return the name of a class as it is typed in Python, unless it is too long for a name."""
    return repr(name) if len(str(name)) <= LONGEST_SHOWN else shown_name(name)


def shown_name(name: Any) -> str:
    """Return the name of a class to print, unless it is so long that it may be a note."""
    return str(name) if len(str(name)) <= LONGEST_SHOWN else "(a long name)"


def _sign(name: str, words: str) -> int:
    """Return -1 for the name of an absence, 1 for that of a finding, 0 for neither."""
    try:
        return -1 if float(name) <= 0 else 0
    except ValueError:
        pass
    if _NOTHING.fullmatch(words):
        return -1
    if negated := _NEGATED.fullmatch(words):
        is_double = _NOTHING.fullmatch(negated["what"] or negated["it"])  # "not healthy"
        return 1 if is_double else -1
    return 1 if _FINDING.fullmatch(words) else 0


def _of_pair(first: str, second: str, *names: str) -> list[int]:
    """Return the signs of two names of which none says anything by itself."""
    for one, other, signs in ((first, second, [-1, 1]), (second, first, [1, -1])):
        is_prefixed = re.fullmatch(f"{_PREFIX} ?{re.escape(other)}", one)
        if (is_prefixed and len(other) >= SHORTEST_PREFIXED) or other in _INITIALS.get(one, ()):
            return signs
    ends = [name.strip()[-1:] for name in names]
    if names[0].strip()[:-1] == names[1].strip()[:-1] and {*ends} in ({"+", "-"}, {"+", "−"}):
        return [1 if end == "+" else -1 for end in ends]
    return [0, 0]
