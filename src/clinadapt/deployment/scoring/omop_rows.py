"""Rows of scores in a database: ``note_nlp`` of the OMOP CDM (5.3, 5.4), or a custom table.

See https://ohdsi.github.io/CommonDataModel/cdm54.html#note_nlp. A row describes a note, not a term
in it: ``lexical_variant`` is the prediction, ``nlp_system`` the model, ``term_modifiers`` the task
and the probabilities, ``note_nlp_concept_id`` 0 (no concept). ``snippet``, ``offset``,
``term_exists`` and the rest stay empty: no text is copied, and a predicted class does not mean that
a finding exists.
"""

import json
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from clinadapt.core.errors import InputError
from clinadapt.data import prediction_tables
from clinadapt.deployment.scoring.database import reflect, shown, split_name
from clinadapt.deployment.scoring.interfaces import NoteScores

OMOP_COLUMNS = (
    "note_nlp_id",
    "note_id",
    "lexical_variant",
    "note_nlp_concept_id",
    "nlp_system",
    "nlp_date",
    "nlp_datetime",
    "term_modifiers",
)
OWN_COLUMNS = (
    "note_id",
    "model",
    "task",
    "prediction",
    "probability",
    "probabilities",
    "scored_at",
)
AS_JSON = json.JSONEncoder(ensure_ascii=False)  # `json.dumps` would create one per row
LONGEST_VARIANT, LONGEST_MODIFIERS = 250, 2000


def is_omop(name: str) -> bool:
    """Return whether a table name is that of the OMOP table."""
    return split_name(name)[1].lower() == "note_nlp"


class NoteNlp:
    """Rows of the OMOP table ``note_nlp``.

    Raises
    ------
    InputError
        If the table does not exist or lacks a column.
    """

    def __init__(self, engine: sa.Engine, name: str) -> None:
        table = reflect(engine, name, OMOP_COLUMNS)
        if table is None:
            raise InputError(
                f"no table {name} in {shown(engine.url)}: OMOP tables are not created here; choose "
                "any other name to have a table created"
            )
        self.table, self.note_id, self.model = table, table.c.note_id, table.c.nlp_system

    def rows(
        self, connection: sa.Connection, task: str, scores: NoteScores, model: str
    ) -> list[dict[str, Any]]:
        """Return rows of scores; their keys continue after the largest one in the table."""
        last = connection.execute(sa.select(sa.func.max(self.table.c.note_nlp_id))).scalar() or 0
        now = datetime.now(UTC).replace(microsecond=0, tzinfo=None)
        rows = []
        for number, (id, label, probability, each) in enumerate(_each(scores), last + 1):
            values = [f"prob_{name}={value:.6g}" for name, value in each.items()]
            modifiers = ", ".join([f"task={task}", *values])
            if len(modifiers) > LONGEST_MODIFIERS:
                short = [] if probability is None else [f"probability={probability:.6g}"]
                modifiers = ", ".join([f"task={task}", *short])
            if len(label) > LONGEST_VARIANT:
                raise InputError(
                    f"a prediction of {len(label)} characters does not fit into lexical_variant "
                    f"({LONGEST_VARIANT}): use a custom table (--into with another name)"
                )
            row = (number, id, label, 0, model, now.date(), now, modifiers)
            rows.append(dict(zip(OMOP_COLUMNS, row, strict=True)))
        return rows


class OwnTable:
    """Rows of a custom table, one per note and model; the table is created if it does not exist.

    Raises
    ------
    InputError
        If the table exists but lacks a column.
    """

    def __init__(self, engine: sa.Engine, name: str, integer_ids: bool) -> None:
        table = reflect(engine, name, OWN_COLUMNS)
        if table is None:
            schema, bare = split_name(name)
            id_type = sa.BigInteger() if integer_ids else sa.String()
            table = sa.Table(
                bare,
                sa.MetaData(schema=schema),
                sa.Column("note_id", id_type, primary_key=True, autoincrement=False),
                sa.Column("model", sa.String(64), primary_key=True),
                sa.Column("task", sa.Text, nullable=False),
                sa.Column("prediction", sa.Text, nullable=False),
                sa.Column("probability", sa.Float(53)),
                sa.Column("probabilities", sa.Text, nullable=False),
                sa.Column("scored_at", sa.DateTime(timezone=True), nullable=False),
            )
        self.table, self.note_id, self.model = table, table.c.note_id, table.c.model

    def rows(
        self, connection: sa.Connection, task: str, scores: NoteScores, model: str
    ) -> list[dict[str, Any]]:
        """Return rows of scores."""
        now = datetime.now(UTC).replace(microsecond=0)
        return [
            dict(
                zip(
                    OWN_COLUMNS,
                    (id, model, task, label, probability, AS_JSON.encode(each), now),
                    strict=True,
                )
            )
            for id, label, probability, each in _each(scores)
        ]


def _each(scores: NoteScores) -> list[tuple[Any, str, float | None, dict[str, float]]]:
    """Return, for each note, its id, prediction, probability of it and all probabilities.

    The probability of the prediction is None in a multi-label task.
    """
    names = [str(name) for name in scores.classes]
    labels = prediction_tables.decode_text(scores.task, scores.classes, scores.predicted).to_list()
    several = scores.task == "multilabel"
    chosen = scores.predicted.argmax(axis=1).tolist()
    return [
        (
            id,
            prediction_tables.joined(prediction) if several else prediction,
            None if several else row[at],
            dict(zip(names, row, strict=True)),
        )
        for id, prediction, at, row in zip(
            scores.notes["id"], labels, chosen, scores.probabilities.tolist(), strict=True
        )
    ]
