"""What a source of notes and a destination of scores promise."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clinadapt.data.labels import Task
from clinadapt.models.classifier import NoteClassifier

Position = dict[str, Any]

EMPTY = "no text"
NAMELESS = "no id"
UNDECODABLE = "the text or the id is not in the file's encoding"
REPEATED = "the id was scored already"
UNREADABLE = "a model finds nothing in the text that it can read"
NOT_INTEGER = "the id is not an integer, as the table of results wants it"


@dataclass(frozen=True)
class Batch:
    """Some notes of a source.

    Attributes
    ----------
    notes : polars.DataFrame
        ``id`` (text or Int64); ``place``, which finds the note in its source; ``text``; ``reason``,
        null for notes that can be scored. If the source was asked for them: ``subject`` and
        ``time``, as text.
    position : dict
        Where the source goes on after these notes; JSON.
    """

    notes: pl.DataFrame
    position: Position


class Source(Protocol):
    """Notes in an order that does not change.

    Attributes
    ----------
    identity : dict
        What must be the same for a run to go on; JSON, without passwords.
    integer_ids : bool
    ids_repeat : bool
        Whether an id may come again in a later batch.
    """

    identity: dict[str, Any]
    integer_ids: bool
    ids_repeat: bool

    def count(self) -> int:
        """Notes in all."""

    def read(self, after: Position | None) -> Iterator[Batch]:
        """Yield the notes after a position, or all."""


@dataclass(frozen=True)
class State:
    """How far a run is.

    Attributes
    ----------
    part : int
        Batches written.
    position : dict, optional
        Of the source, after these batches.
    read, scored, aside : int
        Notes; the first is the sum of the others.
    """

    part: int = 0
    position: Position | None = None
    read: int = 0
    scored: int = 0
    aside: int = 0


class Classifiers(Protocol):
    """Classifiers by the name of their task; all read a batch of notes in one call."""

    @property
    def classifiers(self) -> Mapping[str, NoteClassifier]:
        """Fitted."""

    def predict_proba(self, texts: Sequence[str]) -> Mapping[str, NDArray[np.float64]]:
        """Probabilities [note, class] of every task."""


@dataclass(frozen=True)
class Scores:
    """Scores of some notes for one task.

    Attributes
    ----------
    notes : polars.DataFrame
        As in `Batch`.
    task : {"binary", "multiclass", "multilabel"}
    classes : ndarray, [class]
    probabilities : ndarray of float64, [note, class]
    predicted : ndarray of bool, [note, class]
    """

    notes: pl.DataFrame
    task: Task
    classes: NDArray[Any]
    probabilities: NDArray[np.float64]
    predicted: NDArray[np.bool_]

    def and_those(self, others: "Scores") -> "Scores":
        """Scores of these notes and of others, by one task."""
        return replace(
            self,
            notes=pl.concat([self.notes, others.notes]),
            probabilities=np.concatenate([self.probabilities, others.probabilities]),
            predicted=np.concatenate([self.predicted, others.predicted]),
        )


class Destination(Protocol):
    """Where scores go.

    Attributes
    ----------
    aside : Path
        Side file of the notes that were not scored.
    id_type : polars.DataType
        String or Int64; known when the run has begun.
    """

    aside: Path
    id_type: pl.DataType

    def begin(
        self, identity: dict[str, Any], versions: Mapping[str, str], source: Source, anew: bool
    ) -> State:
        """Begin a run or go on with the one of the same identity.

        Parameters
        ----------
        identity : dict
            Of bundles, source and settings; JSON.
        versions : mapping of str to str
            Fingerprint of each task's bundle.
        source : Source
        anew : bool

        Raises
        ------
        InputError
            An unfinished run of another identity is there, unless `anew` gives it up.
        """

    def scored_among(self, ids: pl.Series) -> dict[str, pl.Series]:
        """Of each task, those of some ids that its bundle has scored here."""

    def write(
        self, scores: Mapping[str, Scores], aside: pl.DataFrame, before: State, after: State
    ) -> None:
        """Take scores of each task, notes set aside and the new state, all or nothing.

        Raises
        ------
        InputError
            The run is no longer where `before` says: another process goes on with it.
        """

    def finish(self) -> None:
        """Complete what people see: the output and the side file."""

    def close(self) -> None:
        """Let go of what is open, whether the run has finished or not."""
