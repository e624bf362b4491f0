"""Context of a word (negated, historical, or about a family member), by cues and not by a model.

After NegEx (Chapman et al. 2001) and ConText (Harkema et al. 2009), with French cues following
Deléger & Grouin (2012) and Garcelon et al. (2017): a cue applies to the six words after it, some
cues to the six words before it, within the sentence and not past a word such as "but". French and
English cues are used together; case and accents are ignored. Rules this simple make mistakes: they
are for counts, not for decisions.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

from clinadapt.explain.words import Span, spans

Kind = Literal["negated", "historical", "family"]
Direction = Literal["ahead", "back"]
REACH = 6  # words
SENTENCE_END = re.compile(r"[.!?…](?=\s|$)|[;\n\r]")

PEOPLE = (
    "mère; père; frère; sœur; tante; oncle; cousin; cousine; grand-mère; grand-père; jumeau; "
    "jumelle; fratrie; demi-frère; demi-sœur; mother; father; brother; sister; aunt; uncle; "
    "grandmother; grandfather; sibling; siblings; twin"
)

# Words that attribute a finding to a person: "chez sa mère".
LINKS = (
    *("chez", "chez le", "chez la", "chez les", "chez l", "chez un", "chez une", "chez son"),
    *("chez sa", "chez ses", "du", "de la", "de l", "des", "de son", "de sa"),
    *("in", "in the", "in a", "in his", "in her", "in their", "of the", "of his", "of her"),
)

# Phrases that contain a cue but are not cues; the longest phrase at a position wins.
NO_CUES = (
    "sans doute; pas seulement; non seulement; pas exclu; pas éliminé; pas éliminée; pas écarté; "
    "pas écartée; pas exclue; pas de changement; pas d amélioration; sans changement; "
    "sans amélioration; histoire de la maladie; not only; not ruled out; no increase; no change; "
    "not certain; no further; without difficulty; history of present illness; famille présente"
)
CUES: dict[tuple[Kind, Direction], str] = {
    ("negated", "ahead"): (
        "pas; ni; non; sans; aucun; aucune; absence; jamais; nie; n a plus; n est plus; "
        "ne présente plus; exclut; exclure; élimine; éliminer; infirme; écarte; indemne; "
        "négatif pour; no; not; without; denies; denied; deny; never; negative for; no evidence; "
        "free of; rule out; ruled out; rules out; absence of; neither; nor"
    ),
    ("negated", "back"): (
        "absent; absente; absents; absentes; négatif; négative; négatifs; négatives; éliminé; "
        "éliminée; éliminés; éliminées; exclu; exclue; exclus; exclues; écarté; écartée; écartés; "
        "écartées; infirmé; infirmée; non retenu; non retenue; non retrouvé; non retrouvée; "
        "non confirmé; non confirmée; abandonné; abandonnée; "
        "ruled out; excluded; is negative; was negative; are negative; not seen; "
        "not found; unlikely"
    ),
    ("historical", "ahead"): (
        "antécédent; antécédents; atcd; atcds; ancien; ancienne; histoire de; notion ancienne; "
        "autrefois; dans le passé; "
        "history; h o; past; previous; previously; prior; formerly; status post; s p"
    ),
    ("historical", "back"): (
        "ancien; ancienne; résolu; résolue; résolutif; résolutive; guéri; guérie; il y a; "
        "dans l enfance; dans le passé; autrefois; "
        "resolved; years ago; months ago; in the past; in childhood"
    ),
    ("family", "ahead"): (
        "antécédents familiaux; antécédent familial; atcd familiaux; atcd fam; atcdf; familial; "
        f"familiale; familiaux; famille; family; family history; familial history; {PEOPLE}"
    ),
    ("family", "back"): (
        "familial; familiale; dans la famille; chez les parents; in the family; in parents; "
        + "; ".join(f"{link} {person}" for person in PEOPLE.split("; ") for link in LINKS)
    ),
}
ENDS = (
    "mais; cependant; toutefois; sauf; hormis; en revanche; au profit de; but; however; except; "
    "although; though; aside from; apart from"
)


def fold(text: str) -> str:
    """Return a text in lower case without accents."""
    plain = unicodedata.normalize("NFD", text.lower().replace("œ", "oe").replace("æ", "ae"))
    return "".join(c for c in plain if not unicodedata.combining(c))


def _phrases(listed: str) -> list[tuple[str, ...]]:
    """Split a list of phrases into folded words, as texts are split: grand-mère is two words."""
    folded = map(fold, listed.split(";"))
    return [tuple(phrase[a:b] for a, b in spans(phrase)) for phrase in folded]


Meaning = tuple[Kind, Direction] | Literal["end"] | None


def _lexicon() -> dict[tuple[str, ...], list[Meaning]]:
    """Return the meanings of each phrase; None for phrases that only look like cues."""
    meanings: dict[tuple[str, ...], list[Meaning]] = {}
    listed: list[tuple[str, Meaning]] = [(NO_CUES, None), (ENDS, "end")]
    listed += [(phrases, meaning) for meaning, phrases in CUES.items()]
    for phrases, meaning in listed:
        for phrase in _phrases(phrases):
            meanings.setdefault(phrase, []).append(meaning)
    return meanings


LEXICON = _lexicon()
LONGEST = max(map(len, LEXICON))


def kinds(text: str, words: Iterable[Span]) -> list[Kind]:
    """Return the contexts that apply to any of the given words of a text.

    Parameters
    ----------
    text : str
    words : iterable of (start, end)
        Words of the text, such as those that contributed most.

    Returns
    -------
    list of {"negated", "historical", "family"}
        Each at most once, in this order.
    """
    wanted = set(words)
    present: set[Kind] = set()
    for sentence in sentences(text):
        at = {number for number, span in enumerate(sentence) if span in wanted}
        if at:
            present |= _in_sentence([fold(text[a:b]) for a, b in sentence], at)
    order: tuple[Kind, ...] = ("negated", "historical", "family")
    return [kind for kind in order if kind in present]


def sentences(text: str) -> list[list[Span]]:
    """Return the words of each sentence."""
    ends = [match.start() for match in SENTENCE_END.finditer(text)]
    split: list[list[Span]] = [[]]
    for span in spans(text):
        while ends and ends[0] < span[0]:
            split.append([])
            del ends[0]
        split[-1].append(span)
    return split


def _in_sentence(words: Sequence[str], at: set[int]) -> set[Kind]:
    """Return the contexts of the words at some positions of a sentence."""
    cues, ends = [], []
    place = 0
    while place < len(words):
        for length in range(min(LONGEST, len(words) - place), 0, -1):
            meanings = LEXICON.get(tuple(words[place : place + length]))
            if meanings is None:
                continue
            for meaning in meanings:
                if meaning == "end":
                    ends.append(place)
                elif meaning is not None:
                    cues.append((meaning, place, place + length - 1))
            place += length - 1
            break
        place += 1
    applying: set[Kind] = set()
    for (kind, direction), first, last in cues:
        near = (
            range(last + 1, last + 1 + REACH)
            if direction == "ahead"
            else range(first - REACH, first)
        )
        for word in at & set(near):
            low, high = min(word, first), max(word, last)
            if not any(low < end < high for end in ends):
                applying.add(kind)
    return applying
