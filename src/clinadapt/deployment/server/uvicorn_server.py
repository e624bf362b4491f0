"""uvicorn with a socket, TLS, slow clients and a stop that are told what to do."""

import asyncio
import ipaddress
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from clinadapt.core.errors import InputError

HEAD_SECONDS = 10
IDLE_SECONDS = 5
# The models' threads need Python between two operations: no request should hold it for long.
SWITCH_SECONDS = 0.0005


@dataclass(frozen=True)
class Address:
    """Where to listen, and with which certificate.

    Attributes
    ----------
    host : str
        An address of this machine.
    port : int
        0 for any that is free.
    certificate, key : Path, optional
        PEM files. With them the server speaks HTTPS only.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        found = []
        try:
            _ = self.ip
        except ValueError:
            found.append(f"host: expected an IP address of this machine, got {self.host!r}")
        if not 0 <= self.port <= 65535:
            found.append(f"port: expected 0 to 65535, got {self.port}")
        if (self.certificate is None) != (self.key is None):
            found.append("TLS needs both a certificate and its key")
        found += [
            f"no file {path}"
            for path in (self.certificate, self.key)
            if path and not path.is_file()
        ]
        if found:
            raise InputError(found)

    @property
    def ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
        """The address as one; names are not looked up."""
        return ipaddress.ip_address("127.0.0.1" if self.host == "localhost" else self.host)

    def open(self) -> socket.socket:
        """Listen.

        Raises
        ------
        InputError
            The port is taken or not ours.
        """
        family = socket.AF_INET6 if self.ip.version == 6 else socket.AF_INET
        try:
            return socket.create_server((str(self.ip), self.port), family=family)
        except OSError as error:
            raise InputError(
                f"port {self.port} of {self.host} cannot be opened: {error.strerror}"
            ) from None

    def url(self, opened: socket.socket) -> str:
        """What to type into a browser."""
        host = f"[{self.ip}]" if self.ip.version == 6 else str(self.ip)
        scheme = "https" if self.certificate else "http"
        return f"{scheme}://{host}:{opened.getsockname()[1]}"


class PatientOnlySoLong(H11Protocol):
    """HTTP/1.1, with a time limit for the head of a request; its body has the guard's."""

    _limit: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._limit = self.loop.call_later(HEAD_SECONDS, self._give_up)

    def data_received(self, data: bytes) -> None:
        """Wait on while a head is incomplete, from its first byte on."""
        super().data_received(data)
        if self._waits_for_head:
            if self._limit is None:
                self._limit = self.loop.call_later(HEAD_SECONDS, self._give_up)
        else:
            self._forget()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._forget()
        super().connection_lost(exc)

    @property
    def _waits_for_head(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _give_up(self) -> None:
        self._limit = None
        if self._waits_for_head:
            self.transport.close()

    def _forget(self) -> None:
        if self._limit is not None:
            self._limit.cancel()
            self._limit = None


def make_server(app: FastAPI, address: Address) -> uvicorn.Server:
    """A server, to be run with the socket that `Address.open` gives."""
    tls: dict[str, Any] = {}
    if address.certificate and address.key:
        tls = {"ssl_certfile": str(address.certificate), "ssl_keyfile": str(address.key)}
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=PatientOnlySoLong,
            ws="none",
            loop="asyncio",
            lifespan="on",
            log_level="warning",
            access_log=False,  # the paths of requests are the clients' words
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=IDLE_SECONDS,
            **tls,
        )
    )


def run_server(server: uvicorn.Server, opened: socket.socket) -> None:
    """Serve until SIGTERM or Ctrl+C; what was accepted until then is answered first."""

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    sys.setswitchinterval(SWITCH_SECONDS)
    # uvicorn raises the signal again when all is done: then it means leaving, with all clean-up.
    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[opened])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
