"""What checks look at, and what a check is: a code, a title, a function that finds or does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from clinadapt.core.messages import Message
from clinadapt.data.near_duplicates import Duplicates, across_parts
from clinadapt.data.notes import Notes
from clinadapt.data.split import Split
from clinadapt.study.read_results import StudyResults

MOST_NOTES = 20_000  # whose texts are read; of more, a sample of patients

Need = Literal["notes", "dates", "results"]


@dataclass(frozen=True, eq=False)
class Subject:
    """Notes and their parts, and the results of a study of them once it has ended.

    Attributes
    ----------
    notes : Notes
    split : Split
    results : StudyResults, optional
    show_words : bool
        Whether findings may quote words of notes, because the user asked for it.
    """

    notes: Notes
    split: Split
    results: StudyResults | None = None
    show_words: bool = False

    @cached_property
    def duplicates(self) -> Duplicates:
        """Notes of two parts with the same or nearly the same text."""
        return across_parts(self.notes, self.split)

    @cached_property
    def sample(self) -> Notes:
        """The notes, or so many that texts are read in bounded time: all notes of some patients."""
        if len(self.notes) <= MOST_NOTES:
            return self.notes
        patients, sizes = np.unique(self.notes.clusters, return_counts=True)
        order = np.random.default_rng(0).permutation(len(patients))
        kept = patients[order[np.cumsum(sizes[order]) <= MOST_NOTES]]
        return self.notes.take(np.flatnonzero(np.isin(self.notes.clusters, kept)))

    @property
    def patients(self) -> str:
        """What one unit of the notes is called: "patients", or "notes" where none are named."""
        return Message("notes") if self.notes.groups is None else Message("patients")

    def has(self, need: Need) -> bool:
        """Return whether there is what a check needs."""
        there = {"dates": self.notes.dates is not None, "results": self.results is not None}
        return there.get(need, True)


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes
    ----------
    code, title : str
        Those of the check; ``clinadapt docs CODE`` opens its page.
    sentence : str
        What was found, with numbers and without text of notes.
    """

    code: str
    title: str
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Return the finding as values."""
        return {"code": self.code, "title": self.title, "sentence": self.sentence}

    def __str__(self) -> str:
        return f"{self.code} {self.title}: {self.sentence}"


@dataclass(frozen=True)
class Check:
    """A check.

    Attributes
    ----------
    code : str
        Stable name; also that of its page of the documentation.
    title : str
        What it finds, in a few words.
    find : callable
        Returns a sentence, or None where nothing is wrong.
    needs : {"notes", "dates", "results"}
        What there must be besides notes and split: a column of dates, or a finished study.
    """

    code: str
    title: str
    find: Callable[[Subject], str | None]
    needs: Need = "notes"
