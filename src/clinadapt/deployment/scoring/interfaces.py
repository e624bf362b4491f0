"""Interfaces of sources of notes and destinations of scores."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clinadapt.data.labels import Task

if TYPE_CHECKING:
    from clinadapt.models.classifier import NoteClassifier

Position = dict[str, Any]

EMPTY = "no text"
NAMELESS = "no id"
UNDECODABLE = "the text or id cannot be decoded with the file's encoding"
REPEATED = "the id has already been scored"
UNREADABLE = "the text contains nothing that a model can read"
NOT_INTEGER = "the id is not an integer, as the results table requires"


@dataclass(frozen=True)
class NoteBatch:
    """Notes from a source, in order.

    Attributes
    ----------
    notes : polars.DataFrame
        ``id`` (String or Int64); ``place``, the location of the note in its source; ``text``;
        ``reason`` why the note cannot be scored, null if it can. On request also ``subject`` and
        ``time``, as String.
    position : dict
        Position in the source after these notes; JSON values.
    """

    notes: pl.DataFrame
    position: Position


class NoteSource(Protocol):
    """Notes in a fixed order.

    Attributes
    ----------
    identity : dict
        Values that must not change for a run to resume; JSON values, without passwords.
    integer_ids : bool
        True if ids are integers.
    ids_repeat : bool
        True if an id may occur again in a later batch.
    """

    identity: dict[str, Any]
    integer_ids: bool
    ids_repeat: bool

    def count(self) -> int:
        """Return the number of all notes."""

    def read(self, after: Position | None) -> Iterator[NoteBatch]:
        """Yield the notes after a position; all notes if it is None."""


@dataclass(frozen=True)
class State:
    """Progress of a run.

    Attributes
    ----------
    part : int
        Number of batches written.
    position : dict, optional
        Position in the source after these batches.
    read, scored, aside : int
        Numbers of notes; `read` is the sum of the other two.
    predicted : mapping of str to (mapping of str to int)
        Number of notes that each class was predicted for, by task name and class.
    left : int
        Number of scored notes that are left to a person.
    """

    part: int = 0
    position: Position | None = None
    read: int = 0
    scored: int = 0
    aside: int = 0
    predicted: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    left: int = 0


class Classifiers(Protocol):
    """Classifiers that read a batch of notes together."""

    @property
    def classifiers(self) -> "Mapping[str, NoteClassifier]":
        """Fitted classifiers by task name."""

    def predict_proba(self, texts: Sequence[str]) -> Mapping[str, NDArray[np.float64]]:
        """Return probabilities, shape [note, class], by task name."""


@dataclass(frozen=True)
class Abstained:
    """What is answered and what is left to a person, each a ndarray of bool [note, class].

    Attributes
    ----------
    answered, left : ndarray
        See `clinadapt.evaluation.reject_band.RejectBand.answer`.
    sets : ndarray
        Classes in the prediction set.
    """

    answered: NDArray[np.bool_]
    left: NDArray[np.bool_]
    sets: NDArray[np.bool_]


@dataclass(frozen=True)
class NoteScores:
    """Scores of notes for one task.

    Attributes
    ----------
    notes : polars.DataFrame
        As in `NoteBatch`.
    task : {"binary", "multiclass", "multilabel"}
    classes : ndarray, shape [class]
        In a binary task the positive one is second.
    probabilities : ndarray of float64, shape [note, class]
    predicted : ndarray of bool, shape [note, class]
    abstained : Abstained, optional
        None unless notes are left to a person.
    """

    notes: pl.DataFrame
    task: Task
    classes: NDArray[Any]
    probabilities: NDArray[np.float64]
    predicted: NDArray[np.bool_]
    abstained: Abstained | None = None

    def and_those(self, others: "NoteScores") -> "NoteScores":
        """Return the scores of these notes followed by those of others, for the same task."""
        return replace(
            self,
            notes=pl.concat([self.notes, others.notes]),
            probabilities=np.concatenate([self.probabilities, others.probabilities]),
            predicted=np.concatenate([self.predicted, others.predicted]),
        )


class Destination(Protocol):
    """A store for scores and for the progress of the run.

    Attributes
    ----------
    aside : Path
        CSV file for the notes that were not scored.
    id_type : polars.DataType
        String or Int64; set by `begin`.
    """

    aside: Path
    id_type: pl.DataType

    def begin(
        self, identity: dict[str, Any], versions: Mapping[str, str], source: NoteSource, anew: bool
    ) -> State:
        """Start a run, or resume the one with the same identity; return its state.

        Parameters
        ----------
        identity : dict
            Identity of bundles, source and settings; JSON values.
        versions : mapping of str to str
            Fingerprint of the bundle of each task.
        source : NoteSource
        anew : bool
            Abandon an unfinished run with another identity.

        Raises
        ------
        InputError
            If there is an unfinished run with another identity and `anew` is False.
        """

    def scored_among(self, ids: pl.Series) -> dict[str, pl.Series]:
        """Return, for each task, those of the ids that its bundle has already scored here."""

    def write(
        self, scores: Mapping[str, NoteScores], aside: pl.DataFrame, before: State, after: State
    ) -> None:
        """Store the scores of each task, the notes set aside and the new state, in one transaction.

        Parameters
        ----------
        scores : mapping of str to Scores
        aside : polars.DataFrame
            ``id``, ``place`` and ``reason`` of notes set aside.
        before, after : State
            State of the run before and after this batch.

        Raises
        ------
        MachineError
            If the stored state is not `before`: another process has resumed the run.
        """

    def finish(self) -> None:
        """Write the output and the file of notes set aside."""

    def close(self) -> None:
        """Release open resources, whether or not the run has finished."""
