"""Patients as a source of what is scored: one document each, of their notes in another source."""

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clinadapt.data.patients import by_patient, documents_of
from clinadapt.data.text_store import Texts, TextWriter
from clinadapt.deployment.scoring.interfaces import REPEATED, NoteBatch, NoteSource, Position

PATIENTS_AT_ONCE = 256
NO_PATIENT = "no patient"


class _Gathered(NamedTuple):
    """All notes of a source, by patient."""

    aside: pl.DataFrame  # id, place and reason of notes that belong to no document
    about: pl.DataFrame  # id, place and number of notes of each patient
    texts: Texts
    rows: NDArray[np.int64]  # of the texts, by patient
    first: NDArray[np.int64]


class PatientNotes:
    """Source: the patients of another source of notes, in the order of their names.

    A patient's notes may be anywhere, so that all are read before the first patient is scored; the
    texts are kept on disk if they are many. Notes that cannot be scored, or whose id occurs again,
    are set aside, and the patient is scored on the others.

    Parameters
    ----------
    notes : NoteSource
    role : str
        Column of its batches that has the patient: ``group``, or ``subject``.
    """

    integer_ids = False
    ids_repeat = False

    def __init__(self, notes: NoteSource, role: str = "group") -> None:
        self.notes, self.role = notes, role
        self.identity: dict[str, Any] = {**notes.identity, "level": "group"}

    def count(self) -> int:
        """Return the number of patients, and of notes set aside."""
        return len(self._gathered.aside) + len(self._gathered.about)

    def read(self, after: Position | None) -> Iterator[NoteBatch]:
        """Yield notes set aside, then patients, after a position: the number of such rows."""
        gathered, start = self._gathered, after["row"] if after else 0
        if len(gathered.aside) > start:
            start = len(gathered.aside)
            yield NoteBatch(gathered.aside, {"row": start})
        skipped = len(gathered.aside)
        for begin in range(start - skipped, len(gathered.about), PATIENTS_AT_ONCE):
            some = gathered.about.slice(begin, PATIENTS_AT_ONCE)
            ends = gathered.first[begin : begin + len(some) + 1]
            texts = gathered.texts.take(gathered.rows[ends[0] : ends[-1]])
            owner = np.repeat(np.arange(len(some)), np.diff(ends))
            documents = pl.Series("text", list(documents_of(texts, owner)), dtype=pl.String)
            yield NoteBatch(
                some.with_columns(documents, pl.lit(None, pl.String).alias("reason")),
                {"row": skipped + begin + len(some)},
            )

    @cached_property
    def _gathered(self) -> _Gathered:
        kept: list[pl.DataFrame] = []
        writer = TextWriter()
        for batch in self.notes.read(None):
            frame = batch.notes.with_columns(
                pl.col("id").cast(pl.String), pl.col(self.role).str.strip_chars().alias("patient")
            )
            nobody = pl.col("patient").is_null() | (pl.col("patient") == "")
            frame = frame.with_columns(
                pl.coalesce("reason", pl.when(nobody).then(pl.lit(NO_PATIENT)))
            )
            kept.append(frame.select("id", "place", "patient", "reason"))
            writer.append(frame["text"].fill_null("").to_list())
        schema = dict.fromkeys(("id", "place", "patient", "reason"), pl.String)
        every = pl.concat([pl.DataFrame(schema=schema), *kept]).with_row_index("row")
        ready = every.filter(pl.col("reason").is_null())
        again = ~ready["id"].is_first_distinct()
        aside = [
            every.filter(pl.col("reason").is_not_null()),
            ready.filter(again).with_columns(pl.lit(REPEATED).alias("reason")),
        ]
        ready = ready.filter(~again).with_columns(
            (pl.col("patient").rank("dense").cast(pl.Int64) - 1).alias("number")
        )
        order, first = by_patient(ready["number"].to_numpy())
        heads = order[first[:-1]]
        about = ready[heads].select(
            pl.col("patient").alias("id"), "place", pl.Series("notes", np.diff(first))
        )
        set_aside = pl.concat(aside).sort("row")
        return _Gathered(
            aside=set_aside.select(
                "id",
                "place",
                pl.lit(None, pl.Int64).alias("notes"),
                pl.lit(None, pl.String).alias("text"),
                "reason",
            ),
            about=about,
            texts=writer.finish(),
            rows=ready["row"].to_numpy().astype(np.int64)[order],
            first=first,
        )
