"""Predictions in the schema of the Medical Event Data Standard (MEDS), for binary tasks.

``meds-evaluation`` (https://pypi.org/project/meds-evaluation) reads it: ``subject_id`` (Int64),
``prediction_time`` (microseconds, UTC), ``boolean_value`` (the true value, null here),
``predicted_boolean_value`` and ``predicted_boolean_probability`` (Float64).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import polars as pl

from clinadapt.core.errors import InputError
from clinadapt.data.labels import Task
from clinadapt.deployment.scoring.interfaces import NoteScores

COLUMNS = (
    "subject_id",
    "prediction_time",
    "boolean_value",
    "predicted_boolean_value",
    "predicted_boolean_probability",
)
NO_SUBJECT = "the subject is not a 64-bit integer"
NO_TIME = "the time is not in ISO 8601 format"


def check_tasks(tasks: Sequence[Task]) -> None:
    """Raise an error unless there is exactly one task and it is binary."""
    if len(tasks) > 1:
        raise InputError(f"--meds supports one bundle per file, got {len(tasks)}: give one bundle")
    if tasks[0] != "binary":
        raise InputError(
            f"--meds supports binary tasks only, this bundle's task is {tasks[0]}: remove --meds"
        )


def with_reasons(notes: pl.DataFrame) -> pl.DataFrame:
    """Return the notes of a `Batch`, with a reason if MEDS cannot store their subject or time."""
    subjects = notes["subject"].cast(pl.Int64, strict=False)
    times = pl.Series([_utc(text) for text in notes["time"]], dtype=pl.Datetime("us"))
    reason = (
        pl.when(pl.col("reason").is_not_null())
        .then("reason")
        .when(subjects.is_null())
        .then(pl.lit(NO_SUBJECT))
        .when(times.is_null())
        .then(pl.lit(NO_TIME))
    )
    return notes.with_columns(reason=reason)


def predictions(scores: Mapping[str, NoteScores]) -> pl.DataFrame:
    """Return one row per note in the columns of the schema, which has no room for a second task."""
    (only,) = scores.values()
    times = [_utc(text) for text in only.notes["time"]]
    return pl.DataFrame(
        {
            "subject_id": only.notes["subject"].cast(pl.Int64),
            "prediction_time": pl.Series(times, dtype=pl.Datetime("us")),
            "boolean_value": pl.Series([None] * len(times), dtype=pl.Boolean),
            "predicted_boolean_value": only.predicted[:, 1],
            "predicted_boolean_probability": only.probabilities[:, 1],
        }
    )


def _utc(text: str | None) -> datetime | None:
    """Return a time in UTC, without its zone; a time without a zone is taken to be UTC."""
    try:
        time = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
