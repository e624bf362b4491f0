"""The loop: read notes, set aside what cannot be scored, score the rest, write both at once."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from clinadapt.bundle import fingerprint, load
from clinadapt.classifier import NoteClassifier
from clinadapt.context import Progress, no_progress
from clinadapt.errors import InputError
from clinadapt.scoring.contracts import (
    NOT_INTEGER,
    REPEATED,
    Batch,
    Destination,
    Scores,
    Source,
    State,
)

NOTES_AT_ONCE = 4096  # a transaction; as much is done again after a kill


def score(
    bundle: Path,
    source: Source,
    destination: Destination,
    settings: dict[str, Any] | None = None,
    checked: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
    anew: bool = False,
    progress: Progress = no_progress,
) -> State:
    """Score every note of a source that a run of the same identity has not scored before.

    Of several notes with one id the first that can be scored is; the others are set aside.

    Parameters
    ----------
    bundle : Path
        Folder such as ``OUT/best``.
    source : Source
    destination : Destination
    settings : dict, optional
        Further settings that must be the same for a run to go on; JSON.
    checked : callable, optional
        Returns the notes of a `Batch`, some of them with a ``reason`` more.
    anew : bool
        Give up an unfinished run of another identity.
    progress : callable

    Returns
    -------
    State
        Of the whole run, earlier stretches included.

    Raises
    ------
    InputError
        Not a bundle, an unreadable source, or an unfinished run that differs.
    """
    classifier = load(bundle)
    identity = {"bundle": fingerprint(bundle), **source.identity, **(settings or {})}
    with closing(destination):
        state = destination.begin(identity, source, anew)
        before, total = state.read, max(source.count(), state.read)
        progress("notes", 0, total - before)
        for batch in _gathered(source.read(state.position)):
            notes = checked(batch.notes) if checked else batch.notes
            ready, aside = _sorted_out(notes, destination)
            scores = _scored(classifier, ready)
            after = State(
                part=state.part + 1,
                position=batch.position,
                read=state.read + len(batch.notes),
                scored=state.scored + len(ready),
                aside=state.aside + len(aside),
            )
            destination.write(scores, aside, state, after)
            state = after
            progress("notes", state.read - before, max(total, state.read) - before)
        if not state.part:
            state = _write_nothing(classifier, destination, state)
        destination.finish()
    return state


def _gathered(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Small batches together, as of many small files, so that a transaction is worth it."""
    waiting: list[pl.DataFrame] = []
    for batch in batches:
        waiting.append(batch.notes)
        if sum(map(len, waiting)) >= NOTES_AT_ONCE:
            yield Batch(pl.concat(waiting), batch.position)
            waiting = []
    if waiting:
        yield Batch(pl.concat(waiting), batch.position)


def _sorted_out(notes: pl.DataFrame, destination: Destination) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Notes to score, with ids of the destination's type; id, place and reason of the others."""
    id_type = destination.id_type
    ids = notes["id"].cast(id_type, strict=False)
    notes = notes.with_columns(
        pl.col("id").cast(pl.String),
        pl.coalesce("reason", pl.when(ids.is_null()).then(pl.lit(NOT_INTEGER))),
    )
    ready = notes.filter(pl.col("reason").is_null()).with_columns(pl.col("id").cast(id_type))
    known = destination.scored_among(ready["id"])
    again = ~ready["id"].is_first_distinct() | ready["id"].is_in(known.implode())
    repeated = ready.filter(again).with_columns(
        pl.col("id").cast(pl.String), reason=pl.lit(REPEATED)
    )
    aside = pl.concat([notes.filter(pl.col("reason").is_not_null()), repeated])
    return ready.filter(~again), aside.select("id", "place", "reason")


def _scored(classifier: NoteClassifier, notes: pl.DataFrame) -> Scores:
    probabilities = classifier.predict_proba(notes["text"].to_list())
    predicted = classifier.predict_matrix(probabilities)
    return Scores(
        notes.drop("text"), classifier.task_, classifier.classes_, probabilities, predicted
    )


def _write_nothing(classifier: NoteClassifier, destination: Destination, state: State) -> State:
    """An output without notes still has its columns."""
    columns = ("id", "place", "text", "reason", "subject", "time")
    notes = pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    after = replace(state, part=1)
    aside = notes.select("id", "place", "reason")
    destination.write(_scored(classifier, notes), aside, state, after)
    return after


def check_same_run(known: dict[str, Any], asked: dict[str, Any], where: str) -> None:
    """Refuse to go on with a run that was begun otherwise.

    Raises
    ------
    InputError
        Naming what differs.
    """
    names = sorted(
        name for name in known.keys() | asked.keys() if known.get(name) != asked.get(name)
    )
    if names:
        raise InputError(
            f"{where} has an unfinished run that differs in: {', '.join(names)}. Finish it with "
            "the command that began it, choose another destination, or give it up with --anew"
        )
