"""Databases, through SQLAlchemy: an optional extra, `clinadapt[database]`. No password is shown."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clinadapt.core.errors import InputError, MissingExtraError

try:
    import sqlalchemy as sa
except ImportError:
    raise MissingExtraError(
        "notes in a database need SQLAlchemy: pip install 'clinadapt[database]'"
    ) from None

DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
EXAMPLES = "sqlite:///FILE or postgresql://USER:PASSWORD@HOST/DATABASE"


def shown(url: sa.URL) -> str:
    """A URL without password, user and options, any of which may be a secret."""
    return sa.URL.create(
        url.drivername.partition("+")[0], host=url.host, port=url.port, database=url.database
    ).render_as_string()


def hosts_of(url: str) -> list[str]:
    """Hosts that a URL names, in its place or among its options.

    Raises
    ------
    InputError
        Not a URL.
    """
    parsed = _parsed(url)
    named = parsed.query.get("host", ())
    several = [named] if isinstance(named, str) else [*named]
    return [host.partition(":")[0] for host in (parsed.host, *several) if host]


def _parsed(url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):  # whose messages may quote the URL
        raise InputError(f"not a database URL: expected one like {EXAMPLES}") from None
    return parsed.set(drivername=DRIVERS.get(parsed.drivername, parsed.drivername))


def connect(url: str) -> sa.Engine:
    """Open a database and try it.

    Raises
    ------
    InputError
        Not a URL, or no such database, or it does not let us in.
    MissingExtraError
        Its driver is not installed.
    """
    parsed = _parsed(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    if is_sqlite and not (parsed.database and Path(parsed.database).is_file()):
        raise InputError(f"no such SQLite file: {parsed.database or '(none named)'}")
    try:
        # No parameters in messages; no connection that idles while a batch is scored.
        engine = sa.create_engine(parsed, hide_parameters=True, poolclass=sa.NullPool)
    except (sa.exc.NoSuchModuleError, ImportError):
        raise MissingExtraError(
            f"no driver for {shown(parsed)}: pip install 'clinadapt[database]' brings SQLite's and "
            "PostgreSQL's; install the one of another database yourself"
        ) from None
    if is_sqlite:
        sa.event.listen(engine, "connect", _keep_bad_bytes)
    with told(engine), engine.connect():
        return engine


def _keep_bad_bytes(connection: Any, _record: Any) -> None:
    """SQLite stores any bytes as text; one bad note must not stop the reading of a page."""
    connection.text_factory = lambda content: content.decode("utf-8", "surrogateescape")


@contextmanager
def told(engine: sa.Engine) -> Iterator[None]:
    """Turn a database's errors into ours, which quote neither statement nor values."""
    try:
        yield
    except sa.exc.SQLAlchemyError as error:
        cause = getattr(error, "orig", None)
        # The first line names the problem; details after it may hold a row. Where a value does not
        # do, as where a view casts a text, the first line quotes it.
        quotes = cause is None or isinstance(error, sa.exc.DataError)
        reason = "" if quotes else str(cause).strip().partition("\n")[0]
        if engine.url.username:
            reason = reason.replace(f'"{engine.url.username}"', "(the user)")
        kind = type(cause or error).__name__
        raise InputError(
            f"{shown(engine.url)} answered {kind}{': ' if reason else ''}{reason}. What was "
            "committed stays; the same command goes on from there"
        ) from None


def reflect(engine: sa.Engine, name: str, wanted: Sequence[str] = ()) -> sa.Table | None:
    """A table of a database, by ``name`` or ``schema.name``; None if it is absent.

    Raises
    ------
    InputError
        It lacks some of the columns that are wanted.
    """
    schema, _, bare = name.rpartition(".")
    with told(engine):
        try:
            table = sa.Table(
                bare,
                sa.MetaData(),
                schema=schema or None,
                autoload_with=engine,
                resolve_fks=False,
            )
        except sa.exc.NoSuchTableError:
            return None
    absent = [column for column in wanted if column not in table.c]
    if absent:
        raise InputError(
            f"no column {', '.join(map(repr, absent))} in the table {name}; it has: "
            f"{', '.join(table.c.keys())}"
        )
    return table


def tables_of(engine: sa.Engine, name: str) -> str:
    """Names of the tables beside one, for a message."""
    with told(engine):
        names = sa.inspect(engine).get_table_names(schema=name.rpartition(".")[0] or None)
    return ", ".join(sorted(names)) or "none"
