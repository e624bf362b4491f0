"""Writes scores and the progress of the run to a database.

The scores of a batch, its notes set aside and the state of the run are committed in one
transaction. Two more tables are created in the schema of the results: ``clinadapt_runs`` and
``clinadapt_set_aside``.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import sqlalchemy as sa

from clinadapt.core.errors import InputError, MachineError
from clinadapt.deployment.scoring.database import plain_errors, reflect, split_name
from clinadapt.deployment.scoring.interfaces import NoteScores, NoteSource, State
from clinadapt.deployment.scoring.loop import refuse
from clinadapt.deployment.scoring.omop_rows import NoteNlp, OwnTable, is_omop
from clinadapt.deployment.scoring.output_layouts import write_aside

OWN_TABLES = ("clinadapt_runs", "clinadapt_set_aside")
IDS_AT_ONCE = 1000  # some databases accept no more in one condition
FETCHED_AT_ONCE = 4096


class DatabaseScores:
    """Destination: a database table.

    Parameters
    ----------
    engine : sqlalchemy.Engine
    table : str
        ``note_nlp``, or the name of another table, which is created if it does not exist. Either
        may include a schema: ``schema.name``.
    aside : Path
        CSV file for the notes that were not scored; not written if all were.
    """

    def __init__(self, engine: sa.Engine, table: str, aside: Path) -> None:
        self.engine, self.name, self.aside = engine, table, aside
        schema, bare = split_name(table)
        if bare.lower() in OWN_TABLES:
            raise InputError(
                f"{table} is the name of a table in which clinadapt keeps its own records: choose "
                "another table for the scores (--into)"
            )
        metadata = sa.MetaData(schema=schema)
        self._runs = sa.Table(
            OWN_TABLES[0],
            metadata,
            sa.Column("run", sa.String(64), primary_key=True),
            sa.Column("results", sa.String(255), nullable=False),
            sa.Column("identity", sa.Text, nullable=False),
            sa.Column("part", sa.BigInteger, nullable=False),
            sa.Column("state", sa.Text, nullable=False),
            sa.Column("finished", sa.Boolean, nullable=False),
            sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        )
        self._aside = sa.Table(
            OWN_TABLES[1],
            metadata,
            sa.Column("run", sa.String(64), primary_key=True),
            sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("id", sa.Text),
            sa.Column("place", sa.Text),
            sa.Column("reason", sa.Text, nullable=False),
        )

    def begin(
        self, identity: dict[str, Any], versions: Mapping[str, str], source: NoteSource, anew: bool
    ) -> State:
        """Create the tables and return the state of the run; see `Destination`."""
        for record in (self._runs, self._aside):  # refused if somebody else's has the name
            reflect(self.engine, record.name, record.c.keys(), record.schema)
        self._layout: NoteNlp | OwnTable
        if is_omop(self.name):
            self._layout = NoteNlp(self.engine, self.name)
        else:
            self._layout = OwnTable(self.engine, self.name, source.integer_ids)
        is_integer = isinstance(self._layout.note_id.type, sa.Integer)
        self.id_type: pl.DataType = pl.Int64() if is_integer else pl.String()
        self._models = {task: f"clinadapt {version}" for task, version in versions.items()}
        content = json.dumps([self.name, identity], sort_keys=True)
        self._run = sha256(content.encode()).hexdigest()
        runs = self._runs
        with plain_errors(self.engine), self.engine.begin() as connection:
            self._layout.table.metadata.create_all(connection, [self._layout.table])
            runs.metadata.create_all(connection)
            # Locked because the server may still be committing the last batch of a killed process.
            query = sa.select(runs.c.state).where(self._is_own).with_for_update()
            own = connection.execute(query).scalar()
            others = self._unfinished(connection, set(versions.values()))
            if anew:
                gone = [run for run, *_ in others]
                connection.execute(sa.delete(self._aside).where(self._aside.c.run.in_(gone)))
                connection.execute(sa.delete(runs).where(runs.c.run.in_(gone)))
            elif others:
                _, known, state = others[0]
                refuse(known, identity, f"table {self.name}", state, "its scores are kept")
            if own is not None:  # new notes may follow, and other runs must see it as unfinished
                connection.execute(sa.update(runs).where(self._is_own).values(finished=False))
                return State(**json.loads(own))
            # Users delete the row of a run to read everything again; delete the rest of it, too.
            connection.execute(sa.delete(self._aside).where(self._aside.c.run == self._run))
            connection.execute(
                sa.insert(runs).values(
                    run=self._run,
                    results=self.name,
                    identity=json.dumps(identity),
                    **self._progress(State()),
                )
            )
        return State()

    def _unfinished(
        self, connection: sa.Connection, versions: set[str]
    ) -> list[tuple[str, dict[str, Any], State]]:
        """Return unfinished other runs that use some of these bundles and write to this table.

        Runs of other bundles do not conflict: their rows carry another model.
        """
        runs = self._runs
        query = sa.select(runs.c.run, runs.c.identity, runs.c.state).where(
            runs.c.results == self.name, ~runs.c.finished, ~self._is_own
        )
        unfinished = [
            (run, json.loads(identity), State(**json.loads(state)))
            for run, identity, state in connection.execute(query)
        ]
        return [run for run in unfinished if versions & set(run[1]["bundle"].split())]

    @property
    def _is_own(self) -> sa.ColumnElement[bool]:
        return self._runs.c.run == self._run

    def _progress(self, state: State) -> dict[str, Any]:
        return {
            "part": state.part,
            "state": json.dumps(asdict(state)),
            "finished": False,
            "changed_at": datetime.now(UTC),
        }

    def scored_among(self, ids: pl.Series) -> dict[str, pl.Series]:
        """Return, for each task, the ids for which the table already holds a row of its model."""
        layout, models = self._layout, self._models
        wanted = ids.to_list()
        scored: dict[str, list[Any]] = {model: [] for model in models.values()}
        with plain_errors(self.engine), self.engine.connect() as connection:
            for start in range(0, len(wanted), IDS_AT_ONCE):
                query = sa.select(layout.model, layout.note_id).where(
                    layout.model.in_(scored),
                    layout.note_id.in_(wanted[start : start + IDS_AT_ONCE]),
                )
                for model, id in connection.execute(query):
                    scored[model].append(id)
        return {task: pl.Series(scored[model], dtype=ids.dtype) for task, model in models.items()}

    def write(
        self, scores: Mapping[str, NoteScores], aside: pl.DataFrame, before: State, after: State
    ) -> None:
        """Store a batch; see `Destination`."""
        runs, expected = self._runs, self._runs.c.part == before.part
        aside_rows = [
            {"run": self._run, "number": number, "id": id, "place": place, "reason": reason}
            for number, (id, place, reason) in enumerate(aside.rows(), before.aside)
        ]
        with plain_errors(self.engine), self.engine.begin() as connection:
            update = connection.execute(
                sa.update(runs).where(self._is_own, expected).values(**self._progress(after))
            )
            if update.rowcount != 1:
                raise MachineError(
                    f"another process has resumed this run into {self.name}: wait until it ends"
                )
            for task, task_scores in scores.items():
                model = self._models[task]
                if rows := self._layout.rows(connection, task, task_scores, model):
                    connection.execute(sa.insert(self._layout.table), rows)
            if aside_rows:
                connection.execute(sa.insert(self._aside), aside_rows)

    def finish(self) -> None:
        """Write the file of notes set aside and mark the run as finished."""
        write_aside(self._set_aside(), self.aside)
        with plain_errors(self.engine), self.engine.begin() as connection:
            connection.execute(sa.update(self._runs).where(self._is_own).values(finished=True))

    def close(self) -> None:
        """Do nothing: no connection stays open between batches."""

    def _set_aside(self) -> Iterator[tuple[str | None, ...]]:
        columns = self._aside.c
        query = (
            sa.select(columns.id, columns.place, columns.reason)
            .where(columns.run == self._run)
            .order_by(columns.number)
            .execution_options(yield_per=FETCHED_AT_ONCE)
        )
        with plain_errors(self.engine), self.engine.connect() as connection:
            for row in connection.execute(query):
                yield tuple(row)
