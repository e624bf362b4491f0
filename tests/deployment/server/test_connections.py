"""Idle connections make room for others, and fill neither the memory nor the log."""

import http.client
import json
import socket
import ssl
import subprocess
from contextlib import ExitStack, closing, suppress
from urllib.parse import urlsplit

import pytest
from served import Blocked, Echo, running

from clinadapt.core.errors import InputError
from clinadapt.deployment.server import connections
from clinadapt.deployment.server.app import make_app
from clinadapt.deployment.server.connections import most_connections
from clinadapt.deployment.server.limits import Limits

MOST = 6
BODY = json.dumps({"notes": ["toux"]})
HEAD = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(BODY)}\r\n"


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(
        "clinadapt.deployment.server.uvicorn_server.most_connections", lambda wanted: MOST
    )


def ask(url, timeout=10):
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=timeout)) as connection:
        connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
        return connection.getresponse().status


def idle(url, count, sent=""):
    place = urlsplit(url)
    opened = []
    for _ in range(count):
        one = socket.create_connection((place.hostname, place.port), timeout=10)
        one.sendall(sent.encode())
        opened.append(one)
    return opened


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    "sent", ["", "POST /predict HTTP/1.1\r\nHost: 127", HEAD + "\r\n", "not http\r\n\r\n"]
)
def test_others_are_answered(sent, capfd):
    with ExitStack() as stack:
        url = stack.enter_context(running(make_app(Echo(), Limits())))
        for one in idle(url, 5 * MOST, sent):
            stack.enter_context(one)
        assert ask(url) == 200
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("few")
def test_the_longest_idle_makes_room():
    with ExitStack() as stack:
        url = stack.enter_context(running(make_app(Echo(), Limits())))
        first, *others = (stack.enter_context(one) for one in idle(url, MOST))
        first.settimeout(0.1)
        with pytest.raises(TimeoutError):  # nobody needs its place yet
            first.recv(1)
        first.settimeout(10)
        assert ask(url) == 200
        assert first.recv(1) == b""  # ended by the server
        others[-1].sendall((HEAD + "Content-Type: application/json\r\n\r\n" + BODY).encode())
        assert others[-1].recv(15) == b"HTTP/1.1 200 OK"


@pytest.mark.usefixtures("few")
def test_connections_at_work_are_kept():
    models = Blocked()
    app = make_app(models, Limits(batch_notes=1))
    with ExitStack() as stack:
        url = stack.enter_context(running(app))
        request = HEAD + "Content-Type: application/json\r\n\r\n" + BODY
        busy = [stack.enter_context(one) for one in idle(url, MOST, request)]
        for _ in range(2):
            assert models.entered.acquire(timeout=10)
        while app.state.metrics.queue._value.get() < MOST - 2:  # until all are read
            pass
        refused = stack.enter_context(idle(url, 1)[0])
        with suppress(ConnectionResetError):
            assert refused.recv(1) == b""
        models.released.set()
        assert [one.recv(15) for one in busy] == [b"HTTP/1.1 200 OK"] * MOST


@pytest.mark.usefixtures("few")
def test_handshakes_that_are_not_finished(tmp_path):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test"
    made += f" -addext subjectAltName=IP:127.0.0.1 -out {certificate} -keyout {key}"
    subprocess.run(made.split(), check=True, capture_output=True)
    with ExitStack() as stack:
        url = stack.enter_context(
            running(make_app(Echo(), Limits()), certificate=certificate, key=key)
        )
        for one in idle(url, 5 * MOST):
            stack.enter_context(one)
        place = urlsplit(url)
        context = ssl.create_default_context(cafile=certificate)
        connection = http.client.HTTPSConnection(place.netloc, timeout=10, context=context)
        stack.callback(connection.close)
        connection.request("GET", "/health")
        assert connection.getresponse().status == 200


def test_limit_of_files(monkeypatch):
    import resource

    monkeypatch.setattr(connections.psutil.Process, "num_fds", lambda self: 40)
    for allowed, most in ((1024, 512), (120, 48), (resource.RLIM_INFINITY, 512)):
        monkeypatch.setattr(resource, "getrlimit", lambda kind, allowed=allowed: (allowed, allowed))
        assert most_connections(512) == most
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (75, 75))
    with pytest.raises(InputError, match="too few for a server"):
        most_connections(512)
