"""Excerpts of very long notes: no more is tokenised than the tokens to keep can come from.

A tokenizer needs some hundred bytes of memory per character, which for a note of many megabytes is
more than a machine has, while a model reads some hundred tokens. An excerpt is the beginning of the
note, its end, or both, long enough that the tokens to keep are those of the whole note:

- A tokenizer looks only a few characters beyond a token, at most a word, and WordPiece gives up on
  words of more than 100 characters. Tokens count only if they are `MARGIN` characters or more from
  where the note was cut.
- Stretches of nothing visible, and of letters without a space, may be longer than an excerpt and
  give no token, or one. Of each, as much is kept as would give enough tokens if it gave any.
"""

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from tokenizers import Tokenizer

from clinadapt.features.visible_text import INVISIBLE

MARGIN = 1_000
CHARACTERS = 64  # more than any token that is not a whole word covers
GROWTH = 4


@dataclass(frozen=True)
class Excerpt:
    """Passages of a note, joined.

    Attributes
    ----------
    text : str
    passages : tuple of (int, int)
        Start and end of each passage in the note, in order.
    """

    text: str
    passages: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, note: str, *passages: tuple[int, int]) -> "Excerpt":
        """Return the excerpt of some passages of a note; default: all of it."""
        passages = passages or ((0, len(note)),)
        if passages == ((0, len(note)),):
            return cls(note, passages)
        return cls("".join(note[start:end] for start, end in passages), passages)

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Return where a piece of the excerpt, which is not empty, begins and ends in the note."""
        return self._position(start), self._position(end - 1) + 1

    def _position(self, character: int) -> int:
        ends = list(accumulate(end - start for start, end in self.passages))
        number = min(bisect_right(ends, character), len(ends) - 1)
        return self.passages[number][1] - (ends[number] - character)


def excerpt(tokenizer: Tokenizer, note: str, room: int, head: bool, tail: bool) -> Excerpt:
    """Return an excerpt with the same first or last tokens as the note, and more than `room`.

    Parameters
    ----------
    tokenizer : tokenizers.Tokenizer
    note : str
    room : int
        Number of tokens that are kept of a note.
    head, tail : bool
        The end of the note that the kept tokens come from; both for half of them each.
    """
    size = CHARACTERS * room + MARGIN
    if len(note) <= 2 * size:
        return Excerpt.of(note)
    if _has_more(tokenizer, note, room, size, head, tail):
        return _ends(note, ((0, len(note)),), size, head, tail)
    passages = _without_long_stretches(note, size)
    short = Excerpt.of(note, *passages)
    while 2 * size < len(short.text):
        if _has_more(tokenizer, short.text, room, size, head, tail):
            return _ends(note, passages, size, head, tail)
        size *= GROWTH
    return short


def _has_more(
    tokenizer: Tokenizer, text: str, room: int, size: int, head: bool, tail: bool
) -> bool:
    """Return whether more than `room` tokens lie safely within the ends of a text."""
    inside = []
    if head:
        encoding = tokenizer.encode(text[:size], add_special_tokens=False)
        inside.append(sum(end <= size - MARGIN for _, end in encoding.offsets))
    if tail:
        encoding = tokenizer.encode(text[-size:], add_special_tokens=False)
        inside.append(sum(start >= MARGIN for start, _ in encoding.offsets))
    return min(inside) > room


def _without_long_stretches(note: str, size: int) -> tuple[tuple[int, int], ...]:
    """Return the passages of a note that are left if long stretches are cut to `size`."""
    passages, start = [], 0
    for stretch in re.finditer(rf"[{INVISIBLE}]{{{size},}}|\S{{{size},}}", note):
        passages.append((start, stretch.start() + size // 2))
        start = stretch.end() - size // 2
    return (*passages, (start, len(note)))


def _ends(
    note: str, passages: tuple[tuple[int, int], ...], size: int, head: bool, tail: bool
) -> Excerpt:
    """Return the first and the last `size` characters of passages."""
    chosen: list[tuple[int, int]] = []
    if head:
        chosen += _first(passages, size)
    if tail:
        mirrored = _first([(-end, -start) for start, end in reversed(passages)], size)
        chosen += [(-end, -start) for start, end in reversed(mirrored)]
    return Excerpt.of(note, *chosen)


def _first(passages: Sequence[tuple[int, int]], size: int) -> list[tuple[int, int]]:
    chosen = []
    for start, end in passages:
        taken = min(end - start, size)
        if taken:
            chosen.append((start, start + taken))
        size -= taken
    return chosen
