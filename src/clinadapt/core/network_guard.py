"""Offline mode: turn any attempt to reach the network into an error that states what to do."""

import os
import socket
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from clinadapt.core.errors import NetworkForbiddenError

MESSAGE = (
    "offline mode: blocked an attempt to reach {address}. Encoders must be on this machine: "
    "`clinadapt encoders` lists those that are, the folder that the others belong in, and how to "
    "download them on a machine with internet access"
)


@contextmanager
def no_network(but: Iterable[str] = ()) -> Iterator[None]:
    """Forbid connections to other machines, and name look-ups, within a `with` block.

    ``HF_HUB_OFFLINE`` is set too, so that the hub libraries look in local folders without trying
    to connect first. Local sockets (Unix, loopback) stay allowed.

    Parameters
    ----------
    but : iterable of str
        Hosts that stay allowed, such as that of a database named by the user.
    """
    allowed = set(but)
    names = ("CLINADAPT_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    before = {name: os.environ.get(name) for name in names}
    connect, connect_ex = socket.socket.connect, socket.socket.connect_ex
    look_ups = {
        name: getattr(socket, name) for name in ("getaddrinfo", "gethostbyname", "gethostbyname_ex")
    }

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _refuse(self.family, address, allowed)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse(self.family, address, allowed)
        return connect_ex(self, address)

    def guarded(look_up: Any) -> Any:
        def guarded_look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
            _refuse(socket.AF_INET, (host,), allowed)
            addresses = look_up(host, *args, **kwargs)
            if host in allowed and isinstance(addresses, list):  # clients connect by address
                allowed.update(item[4][0] for item in addresses)
            return addresses

        return guarded_look_up

    os.environ.update(dict.fromkeys(names, "1"))
    socket.socket.connect = guarded_connect  # type: ignore[assignment,method-assign]
    socket.socket.connect_ex = guarded_connect_ex  # type: ignore[assignment,method-assign]
    for name, look_up in look_ups.items():
        setattr(socket, name, guarded(look_up))
    try:
        yield
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]
        socket.socket.connect_ex = connect_ex  # type: ignore[method-assign]
        for name, look_up in look_ups.items():
            setattr(socket, name, look_up)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _refuse(family: int, address: Any, allowed: Collection[str]) -> None:
    if family not in (socket.AF_INET, socket.AF_INET6):
        return
    host = str(address[0])
    if host in allowed:
        return
    if host not in ("localhost", "::1", "None") and not host.startswith("127."):
        raise NetworkForbiddenError(MESSAGE.format(address=host))
