"""Database access through SQLAlchemy (`clinadapt[database]`); passwords never reach a message."""

import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clinadapt.core.errors import InputError, MachineError, MissingExtraError
from clinadapt.data.checks import shown_columns

try:
    import sqlalchemy as sa
except ImportError:
    raise MissingExtraError(
        "reading notes from a database requires SQLAlchemy: pip install 'clinadapt[database]'"
    ) from None

DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
MACHINE_FAULTS_SQLITE = (
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
)
# Classes of SQLSTATE: connection, resources, intervention of an operator, system error.
MACHINE_FAULTS_SQL = ("08", "53", "57", "58")
PART = r'("(?:[^"]|"")+"|[^".]*[^".\s][^".]*)'
NAME = re.compile(rf"(?:{PART}\.)?{PART}")
EXAMPLES = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"


def shown(url: sa.URL) -> str:
    """Return a URL without its password, user and options, any of which may be secret."""
    return sa.URL.create(
        url.drivername.partition("+")[0], host=url.host, port=url.port, database=url.database
    ).render_as_string()


def hosts_of(url: str) -> list[str]:
    """Return the hosts in a database URL, from both its authority and its options.

    Raises
    ------
    InputError
        If the text is not a database URL.
    """
    parsed = _parsed(url)
    option = parsed.query.get("host", ())
    options = [option] if isinstance(option, str) else [*option]
    return [host.partition(":")[0] for host in (parsed.host, *options) if host]


def file_of(url: str) -> str | None:
    """Return the file of an SQLite database; None for any other database."""
    parsed = _parsed(url)
    return parsed.database if parsed.get_backend_name() == "sqlite" else None


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # their messages may quote the URL
        raise InputError(f"not a database URL: expected one like {EXAMPLES}") from None
    return parsed.set(drivername=DRIVERS.get(parsed.drivername, parsed.drivername))


def connect(url: str) -> sa.Engine:
    """Return an engine for a database, after a test connection.

    Raises
    ------
    InputError
        If the URL is malformed, the database does not exist or the connection is refused.
    MissingExtraError
        If the database driver is not installed.
    """
    parsed = _parsed(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite and not (parsed.database and Path(parsed.database).is_file()):
        raise InputError(f"no such SQLite file: {parsed.database or '(no file given)'}")
    try:
        # Parameters may hold note text, so messages omit them. Scoring a batch takes long, so no
        # connection stays open meanwhile.
        engine = sa.create_engine(parsed, hide_parameters=True, poolclass=sa.NullPool)
    except (sa.exc.NoSuchModuleError, ImportError):
        raise MissingExtraError(
            f"no driver for {shown(parsed)}: pip install 'clinadapt[database]' installs those for "
            "SQLite and PostgreSQL; for any other database, install its SQLAlchemy driver"
        ) from None
    if is_sqlite:
        sa.event.listen(engine, "connect", _keep_bad_bytes)
    with plain_errors(engine), engine.connect():
        return engine


def _keep_bad_bytes(connection: Any, _record: Any) -> None:
    """Decode invalid UTF-8, which SQLite accepts as text, to surrogates instead of failing."""
    connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")


@contextmanager
def plain_errors(engine: sa.Engine) -> Iterator[None]:
    """Convert database errors to clinadapt's own, without the statement or its values.

    Raises
    ------
    MachineError
        The database has no room or no memory left, is in use, or the connection was lost.
    InputError
        Any other error of the database.
    """
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        cause = getattr(error, "orig", None)
        raised = MachineError if _is_machine_fault(error, cause) else InputError
        # Only the first line is safe: details after it may quote a row. With a DataError, such as
        # a failed cast in a view, even the first line quotes the value.
        quotes = cause is None or isinstance(error, sa.exc.DataError)
        reason = "" if quotes else str(cause).strip().partition("\n")[0]
        if engine.url.username:
            reason = reason.replace(f'"{engine.url.username}"', "(the user)")
        kind = type(cause or error).__name__
        raise raised(
            f"{shown(engine.url)} raised {kind}{': ' if reason else ''}{reason}. Committed batches "
            "are kept; run the same command again to resume"
        ) from None


def _is_machine_fault(error: sa.exc.SQLAlchemyError, cause: BaseException | None) -> bool:
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # without the extension
    state = getattr(cause, "sqlstate", None) or ""
    return (
        getattr(error, "connection_invalidated", False)
        or code in MACHINE_FAULTS_SQLITE
        or state[:2] in MACHINE_FAULTS_SQL
    )


def split_name(name: str) -> tuple[str | None, str]:
    """Return the schema, if any, and the bare name in ``name``, ``schema.name`` or ``"a.b"."c d"``.

    Raises
    ------
    InputError
        The name is blank or has more than two parts.
    """
    parts = NAME.fullmatch(name)
    if parts is None:
        raise InputError(
            f"{name[:60]!r} names no table: expected NAME or SCHEMA.NAME; put double quotes around "
            'a part that contains a dot ("a.b")'
        )
    schema, bare = (
        part[1:-1].replace('""', '"') if part and part.startswith('"') else part
        for part in parts.groups()
    )
    return schema, str(bare)


def reflect(
    engine: sa.Engine, name: str, wanted: Sequence[str] = (), schema: str | None = None
) -> sa.Table | None:
    """Return a table; None if it does not exist.

    Parameters
    ----------
    engine : sqlalchemy.Engine
    name : str
        ``name`` or ``schema.name``; see `split_name`.
    wanted : sequence of str
        Columns that it must have.
    schema : str, optional
        Schema, if `name` is bare.

    Raises
    ------
    InputError
        If the table lacks a wanted column.
    """
    named, bare = split_name(name)
    with plain_errors(engine):
        try:
            table = sa.Table(
                bare,
                sa.MetaData(),
                schema=schema or named,
                autoload_with=engine,
                resolve_fks=False,
            )
        except sa.exc.NoSuchTableError:
            return None
    absent = [column for column in wanted if column not in table.c]
    if absent:
        raise InputError(
            f"no column {', '.join(map(repr, absent))} in table {name}; it has: "
            f"{shown_columns(table.c.keys())}"
        )
    return table


def tables_of(engine: sa.Engine, name: str) -> str:
    """Return the names of the tables in the schema of ``name``, for a message."""
    with plain_errors(engine):
        names = sa.inspect(engine).get_table_names(schema=split_name(name)[0])
    return ", ".join(sorted(names)) or "none"
