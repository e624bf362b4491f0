"""Scoring loop: reads notes, sets aside those it cannot score, scores the rest, stores both."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from typing import Any, NoReturn

import numpy as np
import polars as pl

from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.deployment.scoring.interfaces import (
    NOT_INTEGER,
    REPEATED,
    UNREADABLE,
    Abstained,
    Classifiers,
    Destination,
    NoteBatch,
    NoteScores,
    NoteSource,
    State,
)
from clinadapt.evaluation.abstention import Promise

NOTES_AT_ONCE = 4096  # per transaction; at most as many are scored again after a kill
Masks = dict[str, pl.Series]


def score(
    classifiers: Classifiers,
    versions: Mapping[str, str],
    source: NoteSource,
    destination: Destination,
    settings: dict[str, Any] | None = None,
    checked: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
    anew: bool = False,
    progress: Progress = no_progress,
    promise: Promise | None = None,
) -> State:
    """Score every note of a source that a run with the same identity has not scored before.

    Of several notes with the same id, the first that can be scored is scored; the others are
    set aside.

    Parameters
    ----------
    classifiers : Classifiers
        One or more classifiers, which read each batch together.
    versions : mapping of str to str
        Fingerprint of the bundle of each task.
    source : NoteSource
    destination : Destination
    settings : dict, optional
        More settings that must not change for a run to resume; JSON values.
    checked : callable, optional
        Returns the notes of a `NoteBatch` after further checks, which may set their ``reason``.
    anew : bool
        Abandon an unfinished run with another identity.
    progress : callable
    promise : Promise, optional
        Leave notes to a person, so that the answers that are given keep it.

    Returns
    -------
    State
        State of the run, the part before a stop included.

    Raises
    ------
    InputError
        If the source cannot be read, or there is an unfinished run with another identity.
    """
    identity = {
        "bundle": " ".join(sorted(versions.values())),
        **source.identity,
        **(settings or {}),
    }
    with closing(destination):
        state = destination.begin(identity, versions, source, anew)
        before, total = state.read, max(source.count(), state.read)
        stage = f"notes after {before:,}" if before else "notes"
        progress(stage, 0, total - before)
        for batch in _gathered(source.read(state.position)):
            notes = checked(batch.notes) if checked else batch.notes
            ready, to_do, aside = _sorted_out(notes, destination)
            scores, unscored = _scored(classifiers, ready, to_do)
            scores = _abstaining(classifiers, scores, promise)
            aside = pl.concat([aside, unscored])
            after = State(
                part=state.part + 1,
                position=batch.position,
                read=state.read + len(batch.notes),
                scored=state.scored + len(batch.notes) - len(aside),
                aside=state.aside + len(aside),
                predicted={task: _counted(state, task, new) for task, new in scores.items()},
                left=state.left + _left(scores),
            )
            destination.write(scores, aside, state, after)
            state = after
            progress(stage, state.read - before, max(total, state.read) - before)
        if not state.part:
            state = _write_nothing(classifiers, destination, state, promise)
        destination.finish()
    return state


def _gathered(batches: Iterator[NoteBatch]) -> Iterator[NoteBatch]:
    """Merge small batches, such as those of many small files, to save transactions."""
    waiting: list[pl.DataFrame] = []
    for batch in batches:
        waiting.append(batch.notes)
        if sum(map(len, waiting)) >= NOTES_AT_ONCE:
            yield NoteBatch(pl.concat(waiting), batch.position)
            waiting = []
    if waiting:
        yield NoteBatch(pl.concat(waiting), batch.position)


def _sorted_out(
    notes: pl.DataFrame, destination: Destination
) -> tuple[pl.DataFrame, Masks, pl.DataFrame]:
    """Return the notes to score, a mask of them for each task, and the notes set aside.

    Notes to score have ids of the destination's type, which may repeat. A note that only some
    tasks have scored is still scored by the others. Notes set aside have id, place and reason.
    """
    id_type = destination.id_type
    ids = notes["id"].cast(id_type, strict=False)
    notes = notes.with_columns(
        pl.col("id").cast(pl.String),
        pl.coalesce("reason", pl.when(ids.is_null()).then(pl.lit(NOT_INTEGER))),
    )
    ready = notes.filter(pl.col("reason").is_null()).with_columns(pl.col("id").cast(id_type))
    known = {
        task: ready["id"].is_in(scored.implode())
        for task, scored in destination.scored_among(ready["id"]).items()
    }
    fresh = ~pl.DataFrame(known).select(pl.all_horizontal(pl.all())).to_series()
    aside = [
        _set_aside(notes.filter(pl.col("reason").is_not_null())),
        _set_aside(ready.filter(~fresh), REPEATED),
    ]
    to_do = {task: ~mask.filter(fresh) for task, mask in known.items()}
    return ready.filter(fresh), to_do, pl.concat(aside)


def _set_aside(notes: pl.DataFrame, reason: str | None = None) -> pl.DataFrame:
    """Return id, place and reason of notes set aside."""
    reasons = pl.col("reason") if reason is None else pl.lit(reason).alias("reason")
    return notes.select(pl.col("id").cast(pl.String), "place", reasons)


def _scored(
    classifiers: Classifiers, notes: pl.DataFrame, to_do: Masks
) -> tuple[dict[str, NoteScores], pl.DataFrame]:
    """Return the scores of the first readable note of each id, and the notes set aside."""
    first = notes["id"].is_first_distinct()
    scores, unread = _read(classifiers, notes.filter(first), _of(to_do, first))
    again = ~first & notes["id"].is_in(unread["id"].implode())
    aside = [
        _set_aside(unread, UNREADABLE),
        _set_aside(notes.filter(~first & ~again), REPEATED),
    ]
    if again.any():
        more, unscored = _scored(classifiers, notes.filter(again), _of(to_do, again))
        scores = {task: first_ones.and_those(more[task]) for task, first_ones in scores.items()}
        aside.append(unscored)
    return scores, pl.concat(aside)


def _counted(state: State, task: str, scores: NoteScores) -> dict[str, int]:
    """Return how often each class was predicted, these scores included."""
    before = state.predicted.get(task, {})
    counts = zip(map(str, scores.classes), scores.predicted.sum(axis=0).tolist(), strict=True)
    return {name: before.get(name, 0) + count for name, count in counts}


def _of(to_do: Masks, which: pl.Series) -> Masks:
    """Return the masks of a subset of notes."""
    return {task: mask.filter(which) for task, mask in to_do.items()}


def _read(
    classifiers: Classifiers, notes: pl.DataFrame, to_do: Masks
) -> tuple[dict[str, NoteScores], pl.DataFrame]:
    """Return the scores of each task, and the notes in which some model can read nothing."""
    by_task = classifiers.predict_proba(notes["text"].to_list())
    readable = np.all([np.isfinite(each).all(axis=1) for each in by_task.values()], axis=0)
    scores = {}
    for task, probabilities in by_task.items():
        classifier = classifiers.classifiers[task]
        rows = to_do[task].to_numpy() & readable
        probabilities = classifier.in_label_order(probabilities[rows])
        scores[task] = NoteScores(
            notes.drop("text").filter(rows),
            classifier.task_,
            classifier.label_classes_,
            probabilities,
            classifier.threshold_.predict(classifier.task_, probabilities),
        )
    return scores, notes.filter(~readable)


def _abstaining(
    classifiers: Classifiers, scores: dict[str, NoteScores], promise: Promise | None
) -> dict[str, NoteScores]:
    """Return scores with what is left to a person under a promise, if there is one."""
    if promise is None:
        return scores
    abstaining = {}
    for task, one in scores.items():
        abstention = classifiers.classifiers[task].abstaining
        answered, left = abstention.band(promise.risk).answer(one.task, one.probabilities)
        sets = abstention.sets_of(promise.coverage).of(one.probabilities)
        abstaining[task] = replace(one, abstained=Abstained(answered, left, sets))
    return abstaining


def _left(scores: Mapping[str, NoteScores]) -> int:
    """Return the number of notes that some task leaves to a person."""
    ids: set[Any] = set()
    for one in scores.values():
        if one.abstained is not None:
            ids.update(one.notes["id"].filter(one.abstained.left.sum(axis=1) > 0))
    return len(ids)


def _write_nothing(
    classifiers: Classifiers, destination: Destination, state: State, promise: Promise | None
) -> State:
    """Store a batch without notes, so that an empty output still has its columns."""
    columns = ["id", "place", "text", "reason", "subject", "time"]
    if any(one.model_.level == "group" for one in classifiers.classifiers.values()):
        columns.append("notes")
    notes = pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    none = dict.fromkeys(classifiers.classifiers, pl.Series(dtype=pl.Boolean))
    scores, aside = _scored(classifiers, notes, none)
    scores = _abstaining(classifiers, scores, promise)
    predicted = {task: _counted(state, task, none) for task, none in scores.items()}
    after = replace(state, part=1, predicted=predicted)
    destination.write(scores, aside, state, after)
    return after


def refuse(
    known: dict[str, Any], asked: dict[str, Any], where: str, state: State, given_up: str
) -> NoReturn:
    """Refuse to start because of an unfinished run with another identity.

    Parameters
    ----------
    known, asked : dict
        Identities of the unfinished run and of the new one.
    where : str
        Destination, for the message.
    state : State
        State of the unfinished run.
    given_up : str
        Consequence of abandoning it, for the message.

    Raises
    ------
    InputError
        Always; names the differences.
    """
    names = sorted(
        name for name in known.keys() | asked.keys() if known.get(name) != asked.get(name)
    )
    differences = ", ".join(
        f"{name} ({known.get(name, 'none')}, now {asked.get(name, 'none')})" for name in names
    )
    raise InputError(
        f"{where} has an unfinished run ({state.read:,} notes read) that differs in: "
        f"{differences}. Resume it with the command that started it, choose another destination, "
        f"or abandon it with --anew ({given_up})"
    )
