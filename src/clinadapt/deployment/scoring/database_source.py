"""Notes in a table of a database, such as ``note`` of the OMOP CDM, in the order of their key.

Pages follow the key (``key > last ORDER BY key LIMIT n``): no offset that grows, and no
transaction that stays open while notes are scored.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import sqlalchemy as sa

from clinadapt.core.errors import InputError
from clinadapt.deployment.scoring.database import reflect, shown, tables_of, told
from clinadapt.deployment.scoring.interfaces import EMPTY, Batch, Position

ROWS_AT_ONCE = 4096
TEXT = pl.String
NOT_UTF8 = "the text is not UTF-8"


class DatabaseNotes:
    """Notes in a table.

    Parameters
    ----------
    engine : sqlalchemy.Engine
    table : str
        ``name`` or ``schema.name``.
    text, id : str
        Columns. The id is the key: integer or text, best with an index; rows that share one come
        together.
    subject, time : str, optional
        Columns, for MEDS.

    Raises
    ------
    InputError
        No such table or column; a key of another type; rows without key.
    """

    ids_repeat = False  # of all rows with one key, which are in one batch, one is scored

    def __init__(
        self,
        engine: sa.Engine,
        table: str = "note",
        text: str = "note_text",
        id: str = "note_id",
        subject: str | None = None,
        time: str | None = None,
    ) -> None:
        further = {"subject": subject, "time": time} if subject and time else {}
        found = reflect(engine, table, [id, text, *further.values()])
        if found is None:
            raise InputError(
                f"no table {table} in {shown(engine.url)}; it has: {tables_of(engine, table)}"
            )
        self.engine, self.table, self.name = engine, found, table
        self.key = found.c[id]
        self.columns = [self.key, found.c[text], *(found.c[name] for name in further.values())]
        self.roles = list(further)
        self.integer_ids = isinstance(self.key.type, sa.Integer)
        if not self.integer_ids and not isinstance(self.key.type, sa.String):
            raise InputError(
                f"column {id!r} of {table} has the type {self.key.type}; expected integer or text"
            )
        if nulls := self._count(self.key.is_(None)):
            raise InputError(
                f"{nulls} row(s) of {table} have no {id}: name a column that each row has, or "
                "correct them"
            )
        self.identity: dict[str, Any] = {
            "database": shown(engine.url),
            "table": table,
            "text": text,
            "id": id,
            **further,
        }

    def count(self) -> int:
        """Rows of the table."""
        return self._count(sa.true())

    def _count(self, where: sa.ColumnElement[bool]) -> int:
        query = sa.select(sa.func.count()).select_from(self.table).where(where)
        with told(self.engine), self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def read(self, after: Position | None) -> Iterator[Batch]:
        """Yield the notes after a key."""
        last = after["key"] if after else None
        while rows := self._page(last):
            last = rows[-1][0]
            yield Batch(self._notes(rows), {"key": last})

    def _page(self, after: Any) -> Sequence[Sequence[Any]]:
        """Rows after a key; all rows of keys that the database takes for equal."""
        rest = sa.true() if after is None else self.key > after
        ends = sa.select(self.key).where(rest).order_by(self.key).offset(ROWS_AT_ONCE - 1).limit(1)
        rows = sa.select(*self.columns).where(rest).order_by(self.key)
        with told(self.engine), self.engine.connect() as connection:
            end = connection.execute(ends).scalar()
            if end is not None:
                self._check_utf8([end])
                rows = rows.where(self.key <= end)
            return connection.execute(rows).all()

    def _check_utf8(self, keys: Sequence[Any]) -> None:
        bad = 0 if self.integer_ids else sum(not _is_utf8(key) for key in keys)
        if bad:
            raise InputError(
                f"{bad} key(s) of {self.name} are not UTF-8: correct them, or name another column"
            )

    def _notes(self, rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
        keys = [row[0] for row in rows]
        self._check_utf8(keys)
        found = [_read(row[1]) for row in rows]
        further = {
            role: pl.Series([_shown(row[at]) for row in rows], dtype=TEXT)
            for at, role in enumerate(self.roles, 2)
        }
        return pl.DataFrame(
            {
                "id": pl.Series(keys, dtype=pl.Int64 if self.integer_ids else TEXT),
                "place": pl.Series([self.name] * len(rows), dtype=TEXT),
                "text": pl.Series([text for text, _ in found], dtype=TEXT),
                "reason": pl.Series([reason for _, reason in found], dtype=TEXT),
                **further,
            }
        )


def _is_utf8(text: str) -> bool:
    """Whether no byte had to be kept as half of a character."""
    try:
        text.encode()
    except UnicodeError:
        return False
    return True


def _shown(cell: Any) -> str | None:
    return None if cell is None else str(cell).encode("utf-8", "replace").decode()


def _read(cell: Any) -> tuple[str | None, str | None]:
    """A cell's text, or why it has none."""
    try:
        text = cell.decode() if isinstance(cell, bytes) else "" if cell is None else str(cell)
    except UnicodeError:
        return None, NOT_UTF8
    if not _is_utf8(text):
        return None, NOT_UTF8
    return (text, None) if text.strip() else (None, EMPTY)
