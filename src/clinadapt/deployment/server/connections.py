"""A listening socket that bounds the number of open connections.

When as many are open as are allowed, a new one takes the place of that which has made the server
wait longest: for a TLS handshake, the head or the body of a request, or the next request. If all
have a request at work, the new one is closed. So idle connections keep nobody from an answer, and
the process never runs out of files, which asyncio would report for every connection.
"""

import selectors
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import psutil

from clinadapt.core.errors import InputError

RESERVED_FILES = 32  # that the server may open besides connections
LEAST = 8


def most_connections(wanted: int) -> int:
    """Return how many connections may be open, given the files that the process may open.

    Raises
    ------
    InputError
        The process may open too few files.
    """
    if sys.platform == "win32":  # which has no such limit
        return wanted
    import resource

    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return wanted
    room = allowed - psutil.Process().num_fds() - RESERVED_FILES
    if room < LEAST:
        raise InputError(
            f"this process may open {allowed} files, too few for a server: raise the limit "
            "(ulimit -n)"
        )
    return min(wanted, room)


class Listener(socket.socket):
    """A listening socket.

    Parameters
    ----------
    opened : socket.socket
        Listening socket, which this one replaces.
    most : int
        Number of connections that may be open.
    """

    def __init__(self, opened: socket.socket, most: int) -> None:
        super().__init__(opened.family, opened.type, opened.proto, fileno=opened.detach())
        self.most = most
        # By file number, the longest waiting first.
        self._open: dict[int, _Connection] = {}
        self._leaving: set[int] = set()
        self._arrivals = selectors.DefaultSelector()
        self._arrivals.register(self, selectors.EVENT_READ)

    def accept(self) -> tuple[socket.socket, Any]:
        """Return the next connection; non-blocking.

        Raises
        ------
        BlockingIOError
            There is none, or one that is open already is about to be closed in its favour.
        """
        while True:
            if len(self._open) >= self.most and self._must_wait():
                raise BlockingIOError
            number, address = self._accept()  # type: ignore[attr-defined]
            connection = _Connection(self, number)
            if len(self._open) < self.most:
                self._open[number] = connection
                return connection, address
            connection.close()

    def close(self) -> None:
        """Stop listening; open connections stay."""
        self._arrivals.close()
        super().close()

    def started(self, number: int, waits: Callable[[], bool]) -> None:
        """Note a function that returns whether a connection makes the server wait."""
        if number in self._open:
            self._open[number].waits = waits

    def answered(self, number: int) -> None:
        """Note that a connection got an answer, so that it has not waited long."""
        if number in self._open:
            self._open[number] = self._open.pop(number)

    def closed(self, number: int) -> None:
        """Note that a connection is closed."""
        self._open.pop(number, None)
        self._leaving.discard(number)

    def _must_wait(self) -> bool:
        """Return whether nobody has arrived, or room is being made for who has."""
        return not self._arrivals.select(0) or bool(self._leaving) or self._make_room()

    def _make_room(self) -> bool:
        """End the connection that has made the server wait longest; return whether there is one."""
        for number, connection in self._open.items():
            if connection.waits():
                self._leaving.add(number)
                connection.end()
                return True
        return False


class _Connection(socket.socket):
    """A connection that tells its listener when it is closed."""

    def __init__(self, listener: Listener, number: int) -> None:
        super().__init__(listener.family, listener.type, listener.proto, fileno=number)
        self._listener = listener
        self.waits: Callable[[], bool] = lambda: True  # until there is a protocol: TLS

    def end(self) -> None:
        """End the connection; the event loop notices and closes it."""
        with suppress(OSError):  # the client may have ended it
            self.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        number = self.fileno()
        super().close()
        self._listener.closed(number)
