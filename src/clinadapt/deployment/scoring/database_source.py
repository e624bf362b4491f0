"""Reads notes from a database table, such as ``note`` of the OMOP CDM, in the order of their key.

Pages are selected by key (``key > last ORDER BY key LIMIT n``), so no offset grows and no
transaction stays open while notes are scored.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl
import sqlalchemy as sa

from clinadapt.core.errors import InputError
from clinadapt.deployment.scoring.database import plain_errors, reflect, shown, tables_of
from clinadapt.deployment.scoring.interfaces import EMPTY, NoteBatch, Position

ROWS_AT_ONCE = 4096
TEXT = pl.String
NOT_UTF8 = "the text is not UTF-8"
NOT_TEXT = "the text is not of its column's type, or no text"
OTHER_KEY = "the id is not of its column's type"


class DatabaseNotes:
    """Source: a database table.

    Parameters
    ----------
    engine : sqlalchemy.Engine
    table : str
        ``name`` or ``schema.name``.
    text, id : str
        Columns. The id is the key: integer or text, preferably indexed. Rows with the same key
        are in the same batch.
    subject, time : str, optional
        Columns for the MEDS output.
    group : str, optional
        Column of the patient, for classifiers of patients.

    Raises
    ------
    InputError
        If the table or a column does not exist, the key is neither integer nor text, or rows have
        no key.
    """

    ids_repeat = False  # rows with the same key are always in the same batch

    def __init__(
        self,
        engine: sa.Engine,
        table: str = "note",
        text: str = "note_text",
        id: str = "note_id",
        subject: str | None = None,
        time: str | None = None,
        group: str | None = None,
    ) -> None:
        further = {"subject": subject, "time": time} if subject and time else {}
        if group is not None:
            further["group"] = group
        reflected = reflect(engine, table, [id, text, *further.values()])
        if reflected is None:
            raise InputError(
                f"no table {table} in {shown(engine.url)}; its tables: {tables_of(engine, table)}"
            )
        self.engine, self.table, self.name = engine, reflected, table
        self.key, body = reflected.c[id], reflected.c[text]
        self.holds_bytes = not isinstance(body.type, sa.String)
        # Values as they are stored: SQLite stores any in any column, and a conversion would fail.
        others = [reflected.c[name] for name in (text, *further.values())]
        self.columns = [self.key, *(sa.type_coerce(one, sa.types.NullType()) for one in others)]
        self.roles = list(further)
        self.integer_ids = isinstance(self.key.type, sa.Integer)
        if not self.integer_ids and not isinstance(self.key.type, sa.String):
            raise InputError(
                f"column {id!r} of {table} has type {self.key.type}; expected integer or text"
            )
        if nulls := self._count(self.key.is_(None)):
            raise InputError(
                f"{nulls} row(s) of {table} have no {id}: choose a column without nulls, or "
                "correct the rows"
            )
        self.identity: dict[str, Any] = {
            "database": shown(engine.url),
            "table": table,
            "text": text,
            "id": id,
            **further,
        }

    def count(self) -> int:
        """Return the number of rows in the table."""
        return self._count(sa.true())

    def _count(self, where: sa.ColumnElement[bool]) -> int:
        query = sa.select(sa.func.count()).select_from(self.table).where(where)
        with plain_errors(self.engine), self.engine.connect() as connection:
            return int(connection.execute(query).scalar_one())

    def read(self, after: Position | None) -> Iterator[NoteBatch]:
        """Yield the notes after a key."""
        last = _from_json(after["key"]) if after else None
        while rows := self._page(last):
            last = rows[-1][0]
            yield NoteBatch(self._notes(rows), {"key": _to_json(last)})

    def _page(self, after: Any) -> Sequence[Sequence[Any]]:
        """Return the rows after a key, all rows included whose key compares equal to the last."""
        rest = sa.true() if after is None else self.key > after
        ends = sa.select(self.key).where(rest).order_by(self.key).offset(ROWS_AT_ONCE - 1).limit(1)
        rows = sa.select(*self.columns).where(rest).order_by(self.key)
        with plain_errors(self.engine), self.engine.connect() as connection:
            end = connection.execute(ends).scalar()
            if end is not None:
                self._check_utf8([end])
                rows = rows.where(self.key <= end)
            return connection.execute(rows).all()

    def _check_utf8(self, keys: Sequence[Any]) -> None:
        bad = sum(isinstance(key, str) and not _is_utf8(key) for key in keys)
        if bad:
            raise InputError(
                f"{bad} key(s) of {self.name} are not UTF-8: correct them, or choose another column"
            )

    def _notes(self, rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
        keys = [row[0] for row in rows]
        self._check_utf8(keys)
        kind = int if self.integer_ids else str
        texts = [
            _read(row[1], self.holds_bytes) if isinstance(row[0], kind) else (None, OTHER_KEY)
            for row in rows
        ]
        further = {
            role: pl.Series([_shown(row[at]) for row in rows], dtype=TEXT)
            for at, role in enumerate(self.roles, 2)
        }
        return pl.DataFrame(
            {
                "id": pl.Series([_shown(key) for key in keys], dtype=TEXT),
                "place": pl.Series([self.name] * len(rows), dtype=TEXT),
                "text": pl.Series([text for text, _ in texts], dtype=TEXT),
                "reason": pl.Series([reason for _, reason in texts], dtype=TEXT),
                **further,
            }
        )


def _is_utf8(text: str) -> bool:
    """Return whether the text can be encoded, that is, holds no bytes kept as surrogates."""
    try:
        text.encode()
    except UnicodeError:
        return False
    return True


def _shown(value: Any) -> str | None:
    """Return a value as valid UTF-8 text; None if it has no text."""
    if value is None or isinstance(value, bytes):
        return None
    return str(value).encode("utf-8", "replace").decode()


def _to_json(key: Any) -> Any:
    return {"bytes": key.hex()} if isinstance(key, bytes) else key


def _from_json(key: Any) -> Any:
    return bytes.fromhex(key["bytes"]) if isinstance(key, dict) else key


def _read(value: Any, holds_bytes: bool) -> tuple[str | None, str | None]:
    """Return the text of a value and None, or None and the reason why it cannot be scored."""
    try:
        text = value.decode() if isinstance(value, bytes) and holds_bytes else value
    except UnicodeError:
        return None, NOT_UTF8
    if text is None:
        return None, EMPTY
    if not isinstance(text, str):
        return None, NOT_TEXT
    if not _is_utf8(text):
        return None, NOT_UTF8
    return (text, None) if text.strip() else (None, EMPTY)
