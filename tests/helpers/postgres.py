"""A real PostgreSQL server, on a socket in a temporary folder."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BINARIES = ("initdb", "postgres", "pg_ctl")
UNPRIVILEGED = "postgres"  # the server refuses to run as root
# Debian installs each version in its own folder, outside the path.
PLACES = os.pathsep.join([os.environ["PATH"], *map(str, Path("/usr/lib/postgresql").glob("*/bin"))])


def why_not() -> str | None:
    """Return why no server can be started on this machine; None if one can."""
    if absent := [name for name in BINARIES if shutil.which(name, path=PLACES) is None]:
        return f"no PostgreSQL on this machine: no {', '.join(absent)}"
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(UNPRIVILEGED)
        except KeyError:
            return f"PostgreSQL does not run as root, and there is no user {UNPRIVILEGED}"
    return None


@contextmanager
def server() -> Iterator[str]:
    """Yield the URL of a server, which stops with the block."""
    folder = Path(tempfile.mkdtemp(prefix="clinadapt-pg-"))  # short: sockets' paths are limited
    command = []
    if os.geteuid() == 0:
        shutil.chown(folder, UNPRIVILEGED)
        command = ["runuser", "-u", UNPRIVILEGED, "--"]

    def call(name: str, *arguments: str) -> None:
        subprocess.run(
            [*command, str(shutil.which(name, path=PLACES)), *arguments],
            cwd=folder,
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    data = str(folder / "data")
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    try:
        call("initdb", "-D", data, "-U", "scorer", "-A", "trust", "-E", "UTF8", "--no-sync")
        call("pg_ctl", "-D", data, "-w", "-l", str(folder / "log"), "-o", options, "start")
        try:
            yield f"postgresql://scorer:secret-word@/postgres?host={folder}"
        finally:
            call("pg_ctl", "-D", data, "-w", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
