"""Preparation of unlabelled texts: removal of repeated segments and of notes of a test part.

Clinical text is repetitive: letters are copied forward, leaflets share paragraphs. A model that
reads a sentence a hundred times memorises it, so each segment is used only once (Lee et al. 2022,
"Deduplicating training data makes language models better").
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Unpack

import numpy as np
import polars as pl

from clinadapt.core.errors import InputError
from clinadapt.data.columns import Columns, as_text, column_problems, text_hashes
from clinadapt.data.split import SYNONYMS
from clinadapt.data.tables.opening import open_table
from clinadapt.data.tables.table import ReadOptions
from clinadapt.data.text_store import Texts, TextWriter

SEGMENT = re.compile(r"(?<=[.!?;:])\s+|\n+")
LEAST_WORDS = 5  # shorter segments, such as headings, may repeat
HELD_OUT = 100  # one in so many texts is held out
CONTAINED = 0.5  # a note counts as contained in the texts from this share of its segments


@dataclass(frozen=True, eq=False)
class Corpus:
    """Texts for pre-training.

    Attributes
    ----------
    train, held_out : Texts
        Texts without repeated or excluded segments; no segment is in both.
    words, repeated, excluded : int
        Number of remaining words, of repeated segments and of excluded segments.
    contained : list of str
        Ids of excluded notes of which the texts contained at least half the segments.
    """

    train: Texts
    held_out: Texts
    words: int
    repeated: int
    excluded: int
    contained: list[str]

    def to_json(self) -> dict[str, Any]:
        """Return the counts, without any text."""
        return {
            "texts": len(self.train),
            "held_out_texts": len(self.held_out),
            "words": self.words,
            "repeated_segments": self.repeated,
            "excluded_segments": self.excluded,
            "excluded_notes_found": len(self.contained),
        }


@dataclass(frozen=True)
class Excluded:
    """Segments of notes that must not be used for training.

    Attributes
    ----------
    notes_of : dict of int to set of int
        Indices of the notes with a segment, by the segment's hash.
    sizes : list of int
        Number of segments of each note.
    ids : sequence of str
        Id of each note.
    """

    notes_of: dict[int, set[int]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)
    ids: Sequence[str] = ()

    @classmethod
    def of(cls, ids: Sequence[str], texts: Sequence[str]) -> "Excluded":
        """Return the segments of some notes."""
        notes_of: dict[int, set[int]] = {}
        sizes = []
        for number, text in enumerate(texts):
            long = {hashed for _, hashed, is_long in _segments(text) if is_long}
            sizes.append(len(long))
            for hashed in long:
                notes_of.setdefault(hashed, set()).add(number)
        return cls(notes_of, sizes, ids)

    def __add__(self, other: "Excluded") -> "Excluded":
        """Return the segments of the notes of both."""
        notes_of = {hashed: set(notes) for hashed, notes in self.notes_of.items()}
        for hashed, notes in other.notes_of.items():
            notes_of.setdefault(hashed, set()).update(len(self.sizes) + note for note in notes)
        return Excluded(notes_of, self.sizes + other.sizes, [*self.ids, *other.ids])

    def contained(self, hashes: set[int]) -> list[str]:
        """Return the ids of the notes of which at least half the segments are among `hashes`."""
        counted = Counter(note for hashed in hashes for note in self.notes_of[hashed])
        numbers = sorted(n for n, count in counted.items() if count >= CONTAINED * self.sizes[n])
        return [self.ids[number] for number in numbers]


def read_excluded(
    source: Any, text: str = "text", split: str | None = None, **options: Unpack[ReadOptions]
) -> Excluded:
    """Read the notes that must not be used for training, with file and row number as ids.

    Parameters
    ----------
    source
        Anything that `clinadapt.data.tables.opening.open_table` opens.
    text, split : str
        Names of columns; with `split`, training notes are not excluded.
    **options
        ``encoding``, ``delimiter`` and ``missing``: how to read the table. See
        `clinadapt.data.tables.table.ReadOptions`.

    Raises
    ------
    InputError
        A column is missing.
    """
    table = open_table(source, **options)
    if problems := column_problems(table, Columns(text, (), split=split)):
        raise InputError(problems)
    named = f"{source}, " if isinstance(source, str | Path) else ""
    wanted = [text] if split is None else [text, split]
    rows, texts, seen = [], [], 0
    for batch in table.batches(wanted):
        parts = [""] * len(batch) if split is None else as_text(batch[split]).to_list()
        for number, (note, part) in enumerate(zip(as_text(batch[text]), parts, strict=True)):
            if note is not None and SYNONYMS.get((part or "").strip().lower()) != "train":
                rows.append(f"{named}row {seen + number + 1}")
                texts.append(note)
        seen += len(batch)
    return Excluded.of(rows, texts)


def read_corpus(
    source: Any,
    text: str = "text",
    excluded: Excluded | None = None,
    **options: Unpack[ReadOptions],
) -> Corpus:
    """Read texts without repeated and excluded segments.

    Parameters
    ----------
    source
        Anything that `clinadapt.data.tables.opening.open_table` opens.
    text : str
        Name of the column.
    excluded : Excluded, optional
    **options
        ``encoding``, ``delimiter`` and ``missing``: how to read the table. See
        `clinadapt.data.tables.table.ReadOptions`.

    Raises
    ------
    InputError
        The column is missing or has no text.
    """
    table = open_table(source, **options)
    if problems := column_problems(table, Columns(text, ())):
        raise InputError(problems)
    excluded = excluded or Excluded()
    writers = TextWriter(), TextWriter()
    seen: set[int] = set()
    excluded_hashes: set[int] = set()
    words = repeated = dropped = 0
    for batch in table.batches([text]):
        for note in as_text(batch[text]).drop_nulls().to_list():
            kept, first = [], None
            for segment, hashed, is_long in _segments(note):
                first = hashed if first is None else first
                if is_long and hashed in excluded.notes_of:
                    excluded_hashes.add(hashed)
                    dropped += 1
                elif is_long and hashed in seen:
                    repeated += 1
                else:
                    kept.append(segment)
                    if is_long:
                        seen.add(hashed)
            if kept and first is not None:
                words += sum(len(segment.split()) for segment in kept)
                writers[first % HELD_OUT == 0].append([" ".join(kept)])
    train, held_out = (writer.finish() for writer in writers)
    if not len(train):
        raise InputError(f"column {text!r} has no text to learn from")
    contained = excluded.contained(excluded_hashes)
    return Corpus(train, held_out, words, repeated, dropped, contained)


def _segments(text: str) -> list[tuple[str, int, bool]]:
    """Return the segments of a text, their hashes, and whether each counts as a repetition."""
    parts = [part for piece in SEGMENT.split(text) if (part := piece.strip())]
    if not parts:
        return []
    hashes = text_hashes(pl.Series(parts, dtype=pl.String)).astype(np.uint64).tolist()
    long = [len(part.split()) >= LEAST_WORDS for part in parts]
    return list(zip(parts, hashes, long, strict=True))
