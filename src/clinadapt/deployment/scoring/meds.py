"""Predictions in the schema of the Medical Event Data Standard, as ``meds-evaluation`` reads it.

``subject_id`` Int64, ``prediction_time`` in microseconds (UTC), ``boolean_value`` (the truth, null
here), ``predicted_boolean_value``, ``predicted_boolean_probability`` Float64; see
https://pypi.org/project/meds-evaluation. For binary tasks.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import polars as pl

from clinadapt.core.errors import InputError
from clinadapt.data.labels import Task
from clinadapt.deployment.scoring.interfaces import Scores

NO_SUBJECT = "the subject is not a 64-bit integer"
NO_TIME = "the time is not ISO 8601"


def check_tasks(tasks: Sequence[Task]) -> None:
    """Refuse tasks that the schema has no columns for."""
    if len(tasks) > 1:
        raise InputError(f"--meds is for one bundle a file, got {len(tasks)}: name one")
    if tasks[0] != "binary":
        raise InputError(
            f"--meds is for binary tasks, this bundle's is {tasks[0]}: leave --meds out"
        )


def with_reasons(notes: pl.DataFrame) -> pl.DataFrame:
    """Notes of a `Batch`, with those set aside whose subject or time MEDS cannot hold."""
    subjects = notes["subject"].cast(pl.Int64, strict=False)
    times = pl.Series([_utc(cell) for cell in notes["time"]], dtype=pl.Datetime("us"))
    reason = (
        pl.when(pl.col("reason").is_not_null())
        .then("reason")
        .when(subjects.is_null())
        .then(pl.lit(NO_SUBJECT))
        .when(times.is_null())
        .then(pl.lit(NO_TIME))
    )
    return notes.with_columns(reason=reason)


def predictions(scores: Mapping[str, Scores]) -> pl.DataFrame:
    """One row a note, in the schema's columns, which have no place for a second task."""
    (only,) = scores.values()
    times = [_utc(cell) for cell in only.notes["time"]]
    return pl.DataFrame(
        {
            "subject_id": only.notes["subject"].cast(pl.Int64),
            "prediction_time": pl.Series(times, dtype=pl.Datetime("us")),
            "boolean_value": pl.Series([None] * len(times), dtype=pl.Boolean),
            "predicted_boolean_value": only.predicted[:, 1],
            "predicted_boolean_probability": only.probabilities[:, 1],
        }
    )


def _utc(cell: str | None) -> datetime | None:
    """A time without its zone, which is UTC; one that names no zone is taken as it is."""
    try:
        time = datetime.fromisoformat(cell or "")
    except ValueError:
        return None
    return time if time.tzinfo is None else time.astimezone(UTC).replace(tzinfo=None)
