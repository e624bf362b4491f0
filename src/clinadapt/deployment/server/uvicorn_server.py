"""Runs uvicorn: addresses, TLS, limits for slow and many clients, graceful shutdown."""

import asyncio
import ipaddress
import signal
import socket
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from clinadapt.core.errors import InputError
from clinadapt.deployment.server.connections import Listener, most_connections
from clinadapt.deployment.server.limits import CONNECTIONS

HEADER_SECONDS = 10
IDLE_SECONDS = 5
# The inference threads need the GIL between two operations: other threads must release it soon.
SWITCH_SECONDS = 0.0005


@dataclass(frozen=True)
class Address:
    """Address to listen on, with an optional TLS certificate.

    Attributes
    ----------
    host : str
        IP address of this machine, or ``localhost``.
    port : int
        Port; 0 for any free one.
    certificate, key : Path, optional
        PEM files. If given, the server accepts HTTPS only.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        problems = []
        try:
            _ = self.ip
        except ValueError:
            problems.append(f"host: expected an IP address of this machine, got {self.host!r}")
        if not 0 <= self.port <= 65535:
            problems.append(f"port: expected 0 to 65535, got {self.port}")
        if (self.certificate is None) != (self.key is None):
            problems.append("TLS requires both a certificate and its key")
        problems += [
            f"no such file: {path}"
            for path in (self.certificate, self.key)
            if path and not path.is_file()
        ]
        if problems:
            raise InputError(problems)

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """IP address; host names other than ``localhost`` are not resolved."""
        return ipaddress.ip_address("127.0.0.1" if self.host == "localhost" else self.host)

    def open(self, connections: int = CONNECTIONS) -> Listener:
        """Return a listening socket.

        Parameters
        ----------
        connections : int
            Most connections that may be open; fewer if the process may open fewer files.

        Raises
        ------
        InputError
            If the port is in use or not permitted, or the process may open too few files.
        """
        most = most_connections(connections)
        family = socket.AF_INET6 if self.ip.version == 6 else socket.AF_INET
        try:
            opened = socket.create_server((str(self.ip), self.port), family=family)
        except OSError as error:
            raise InputError(
                f"cannot listen on port {self.port} of {self.host}: {error.strerror}"
            ) from None
        return Listener(opened, most)

    def url(self, opened: socket.socket) -> str:
        """Return the URL of the server."""
        host = f"[{self.ip}]" if self.ip.version == 6 else str(self.ip)
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://{host}:{opened.getsockname()[1]}"


class TimeLimitedProtocol(H11Protocol):
    """HTTP/1.1 with a time limit for the headers of a request; `Guard` limits the body."""

    _limit: asyncio.TimerHandle | None = None

    def __init__(self, listener: Listener, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._listener = listener

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time limit."""
        super().connection_made(transport)
        self._number = transport.get_extra_info("socket").fileno()
        self._listener.started(self._number, lambda: self._waits_for_client)
        self._limit = self.loop.call_later(HEADER_SECONDS, self._time_out)

    def data_received(self, data: bytes) -> None:
        """Start the time limit at the first byte of the headers, end it when they are complete."""
        super().data_received(data)
        if self._waits_for_headers:
            if self._limit is None:
                self._limit = self.loop.call_later(HEADER_SECONDS, self._time_out)
        else:
            self._cancel_limit()

    def on_response_complete(self) -> None:
        """Note that the connection did not wait in vain."""
        super().on_response_complete()
        self._listener.answered(self._number)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the time limit."""
        self._cancel_limit()
        super().connection_lost(exc)

    @property
    def _waits_for_headers(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    @property
    def _waits_for_client(self) -> bool:
        return self._waits_for_headers or self.cycle.more_body

    def _time_out(self) -> None:
        self._limit = None
        if self._waits_for_headers:
            self.transport.close()

    def _cancel_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def make_server(app: FastAPI, address: Address, listener: Listener) -> uvicorn.Server:
    """Return a server, to be run with a socket from `Address.open`."""
    tls: dict[str, Any] = {}
    if address.certificate and address.key:
        tls = {"ssl_certfile": str(address.certificate), "ssl_keyfile": str(address.key)}
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=cast("type[asyncio.Protocol]", partial(TimeLimitedProtocol, listener)),
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_level="error",  # a warning is logged for each request that is no HTTP
            access_log=False,  # request paths are content from clients
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE_SECONDS,
            **tls,
        )
    )


def run_server(server: uvicorn.Server, opened: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl+C, then complete all accepted requests."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    sys.setswitchinterval(SWITCH_SECONDS)
    # uvicorn raises the signal again after shutdown: exit then, but with all clean-up.
    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[opened])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
