"""Which class of a binary task is the positive one, the one that its scores are about."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from clinadapt.core.errors import InputError
from clinadapt.data.checks import LONGEST_SHOWN
from clinadapt.data.label_spelling import folded

# Names of the finding's absence, in English and French, without accents.
ABSENT = frozenset(
    "no non none not false faux absent absente absents absentes absence neg negative negatif "
    "negatifs negatives never jamais aucun aucune nil nul nulle without sans denied unlikely "
    "improbable infirme infirmee refuted".split()
)
# Names of people and findings that nothing is wrong with.
WELL = frozenset(
    "healthy sain saine sains saines normal normale normaux normales unaffected unremarkable "
    "indemne indemnes benign benin benigne control controls controle controles temoin temoins "
    "alive vivant vivante survived survivor".split()
)
PRESENT = frozenset(
    "true vrai yes oui y o positive positif positifs positives pos case cas present presente "
    "presents presentes malade malades sick ill disease diseased".split()
)
_NEGATED = re.compile(
    r"(?:(?:no|non|not|pas|sans|without|aucune?|absence|never|jamais|free|absent|denies|nie)"
    r"(?: (?:de|d|du|des|of|from|any|a|an|the|la|le|les|l|un|une))*) (?P<what>.+)"
    r"|(?P<it>.+?) (?:est |is |are |sont )?"
    r"(?:no|non|false|faux|absente?s?|absence|free|neg|negati(?:ve|f|fs|ves)|0)"
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
            raise InputError(f"the positive class {positive!r} is not one of the labels {names}")
        return Positive(positive, *(name for name in names if name != positive))
    first, second = (" ".join(re.findall(r"[^\W_]+", folded(str(name)))) for name in names)
    signs = [_sign(str(name), words) for name, words in zip(names, (first, second), strict=True)]
    if signs == [0, 0]:
        signs = _of_pair(first, second, *map(str, names))
    if signs[0] != signs[1]:
        return Positive(*reversed(names) if signs[0] < signs[1] else names)
    rarer = counts[names[0]] < counts[names[1]]
    name, other = names if rarer else reversed(names)
    how_rare = "the rarer" if counts[name] < counts[other] else "the last in order of equally rare"
    return Positive(
        name,
        other,
        f"the names of the classes do not say which is positive, so {quoted(name)}, {how_rare} "
        f"({counts[name]:,} of {counts[name] + counts[other]:,} notes), is taken: if it is the "
        f"other one, choose it with --positive, or positive={quoted(other)} in Python",
    )


def quoted(name: Any) -> str:
    """Return the name of a class as it is typed in Python, unless it is too long for a name."""
    return repr(name) if len(str(name)) <= LONGEST_SHOWN else "(a long name)"


def _sign(name: str, words: str) -> int:
    """Return -1 for the name of an absence, 1 for that of a finding, 0 for neither."""
    try:
        return -1 if float(name) <= 0 else 0
    except ValueError:
        pass
    if words in ABSENT | WELL:
        return -1
    negated = _NEGATED.fullmatch(words)
    if negated:
        # What is no absence of an absence: "not healthy".
        return 1 if (negated["what"] or negated["it"]) in ABSENT | WELL else -1
    return 1 if words in PRESENT else 0


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
