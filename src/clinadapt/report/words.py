"""Codes of study files as words: what the page looks up to say them in the reader's language."""

from __future__ import annotations

from clinadapt.core import formatting
from clinadapt.core.messages import Message, looked_up

CODES = (
    # tasks
    Message("binary"),
    Message("multiclass"),
    Message("multilabel"),
    # parts
    Message("train"),
    Message("validation"),
    Message("test"),
    # statuses
    Message("done"),
    Message("failed"),
    Message("skipped"),
    Message("recommended"),
    Message("candidate"),
    # units
    Message("patients"),
    Message("notes"),
    # reasons for which rows are left out
    Message("empty text"),
    Message("missing label"),
    Message("empty text, missing label"),
    # aims of operating points
    Message("sensitivity"),
    Message("specificity"),
    # energy
    Message("measured"),
    Message("part estimate"),
    Message("estimate"),
    # metrics
    Message("accuracy"),
    Message("precision"),
    Message("precision macro"),
    Message("precision weighted"),
    Message("recall"),
    Message("recall macro"),
    Message("recall weighted"),
    Message("F1 weighted"),
    Message("brier"),
)


def metric(name: str) -> str:
    """Return the name of a metric in the language in use."""
    return looked_up(formatting.metric(name))
