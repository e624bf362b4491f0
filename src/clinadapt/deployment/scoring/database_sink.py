"""Scores into a table of a database; how far a run is stands beside it.

A batch's rows, the notes set aside and the state of the run are one transaction. Two tables are
made in the schema of the results: ``clinadapt_runs`` and ``clinadapt_set_aside``.
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

from clinadapt.core.errors import InputError
from clinadapt.deployment.scoring.database import told
from clinadapt.deployment.scoring.interfaces import Scores, Source, State
from clinadapt.deployment.scoring.loop import refuse
from clinadapt.deployment.scoring.omop_rows import NoteNlp, OwnTable, is_omop
from clinadapt.deployment.scoring.output_layouts import write_aside

IDS_AT_ONCE = 1000  # of a condition; some databases take no more
FETCHED_AT_ONCE = 4096


class DatabaseScores:
    """A table of results.

    Parameters
    ----------
    engine : sqlalchemy.Engine
    table : str
        ``note_nlp``, or the name of a table that is made if it is absent; both also in a schema,
        ``schema.name``.
    aside : Path
        CSV of the notes that were not scored; absent if all were.
    """

    def __init__(self, engine: sa.Engine, table: str, aside: Path) -> None:
        self.engine, self.name, self.aside = engine, table, aside
        metadata = sa.MetaData(schema=table.rpartition(".")[0] or None)
        self._runs = sa.Table(
            "clinadapt_runs",
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
            "clinadapt_set_aside",
            metadata,
            sa.Column("run", sa.String(64), primary_key=True),
            sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
            sa.Column("id", sa.Text),
            sa.Column("place", sa.Text),
            sa.Column("reason", sa.Text, nullable=False),
        )

    def begin(
        self, identity: dict[str, Any], versions: Mapping[str, str], source: Source, anew: bool
    ) -> State:
        """Make the tables, and find the run; see `Destination`."""
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
        with told(self.engine), self.engine.begin() as connection:
            self._layout.table.metadata.create_all(connection, [self._layout.table])
            runs.metadata.create_all(connection)
            # Locked: a server may still be committing the last batch of a process that was killed.
            query = sa.select(runs.c.state).where(self._is_own).with_for_update()
            own = connection.execute(query).scalar()
            others = self._unfinished(connection, set(versions.values()))
            if anew:
                gone = [run for run, *_ in others]
                connection.execute(sa.delete(self._aside).where(self._aside.c.run.in_(gone)))
                connection.execute(sa.delete(runs).where(runs.c.run.in_(gone)))
            elif others:
                _, known, state = others[0]
                refuse(known, identity, f"the table {self.name}", state, "its scores stay")
            if own is not None:  # it may find new notes: another run of these bundles must see it
                connection.execute(sa.update(runs).where(self._is_own).values(finished=False))
                return State(**json.loads(own))
            # Its line may have been deleted so that all is read again.
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
        """Other runs of some of these bundles into this table that have not ended.

        Runs of other bundles are in nobody's way: each has rows of its own.
        """
        runs = self._runs
        query = sa.select(runs.c.run, runs.c.identity, runs.c.state).where(
            runs.c.results == self.name, ~runs.c.finished, ~self._is_own
        )
        found = [
            (run, json.loads(identity), State(**json.loads(state)))
            for run, identity, state in connection.execute(query)
        ]
        return [one for one in found if versions & set(one[1]["bundle"].split())]

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
        """Of each task, those of some ids that the table has a row of its model for."""
        layout, models = self._layout, self._models
        wanted = ids.to_list()
        found: dict[str, list[Any]] = {model: [] for model in models.values()}
        with told(self.engine), self.engine.connect() as connection:
            for start in range(0, len(wanted), IDS_AT_ONCE):
                query = sa.select(layout.model, layout.note_id).where(
                    layout.model.in_(found),
                    layout.note_id.in_(wanted[start : start + IDS_AT_ONCE]),
                )
                for model, id in connection.execute(query):
                    found[model].append(id)
        return {task: pl.Series(found[model], dtype=ids.dtype) for task, model in models.items()}

    def write(
        self, scores: Mapping[str, Scores], aside: pl.DataFrame, before: State, after: State
    ) -> None:
        """Take a batch; see `Destination`."""
        runs, expected = self._runs, self._runs.c.part == before.part
        beside = [
            {"run": self._run, "number": number, "id": id, "place": place, "reason": reason}
            for number, (id, place, reason) in enumerate(aside.rows(), before.aside)
        ]
        with told(self.engine), self.engine.begin() as connection:
            moved = connection.execute(
                sa.update(runs).where(self._is_own, expected).values(**self._progress(after))
            )
            if moved.rowcount != 1:
                raise InputError(
                    f"another process goes on with this run into {self.name}: wait until it ends"
                )
            for task, one in scores.items():
                if rows := self._layout.rows(connection, task, one, self._models[task]):
                    connection.execute(sa.insert(self._layout.table), rows)
            if beside:
                connection.execute(sa.insert(self._aside), beside)

    def finish(self) -> None:
        """Write the side file, and mark the run as finished."""
        write_aside(self._set_aside(), self.aside)
        with told(self.engine), self.engine.begin() as connection:
            connection.execute(sa.update(self._runs).where(self._is_own).values(finished=True))

    def close(self) -> None:
        """Nothing is open between batches."""

    def _set_aside(self) -> Iterator[tuple[str | None, ...]]:
        columns = self._aside.c
        query = (
            sa.select(columns.id, columns.place, columns.reason)
            .where(columns.run == self._run)
            .order_by(columns.number)
            .execution_options(yield_per=FETCHED_AT_ONCE)
        )
        with told(self.engine), self.engine.connect() as connection:
            for row in connection.execute(query):
                yield tuple(row)
