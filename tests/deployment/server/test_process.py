"""A real server in a separate process: command line, shutdown under load, slow clients, TLS."""

import http.client
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing, contextmanager
from itertools import count

import pytest
from command import run as command
from fitted_models import TEXTS
from served import Echo, running

from clinadapt import load
from clinadapt.deployment.server import uvicorn_server
from clinadapt.deployment.server.api_tokens import ApiTokens
from clinadapt.deployment.server.app import make_app


@contextmanager
def served(*arguments):
    """Yield a process that serves on a free port, and the port."""
    call = [sys.executable, "-W", "error", "-c", "from clinadapt.cli.main import main; main()"]
    process = subprocess.Popen(
        [*call, "serve", *map(str, arguments), "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    try:
        line = process.stdout.readline()
        port = re.search(r"https?://127\.0\.0\.1:(\d+)", line)
        assert port, line + process.stderr.read()
        yield process, int(port[1])
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def post(connection, notes):
    headers = {"Content-Type": "application/json"}
    connection.request("POST", "/predict", json.dumps({"notes": notes}), headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_a_stop_under_load_loses_nothing_that_was_accepted(served_bundles):
    bundles = [f"{name}={folder}" for name, folder in served_bundles.items()]
    alone = load(served_bundles["kind"])
    expected = dict(zip(TEXTS, alone.predict_proba(TEXTS), strict=True))
    statuses: Counter[int] = Counter()
    wrong: list[str] = []
    enough = threading.Event()
    lock = threading.Lock()

    def client(number):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            for turn in count(number):
                text = TEXTS[turn % len(TEXTS)]
                try:
                    status, content = post(connection, [text])
                except (OSError, http.client.HTTPException):
                    return  # no longer accepted
                with lock:
                    statuses[status] += 1
                    if statuses[200] >= 60:
                        enough.set()
                if status == 200:
                    given = list(content["notes"][0]["answers"][1]["probabilities"].values())
                    if given != pytest.approx(expected[text], abs=5e-3):
                        wrong.append(text)

    with served(*bundles) as (process, port):
        clients = [threading.Thread(target=client, args=(number,)) for number in range(6)]
        for one in clients:
            one.start()
        assert enough.wait(60)
        process.send_signal(signal.SIGTERM)
        for one in clients:
            one.join(60)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0
    assert err == ""
    assert not wrong
    # A stopping server may refuse a few requests; every response must be received.
    assert set(statuses) <= {200, 503}
    assert int(re.search(r"Stopped: (\d+) requests were answered", out)[1]) == statuses.total()
    for text in TEXTS:
        assert text not in out + err


def test_tokens_by_command_and_hosts_that_need_them(served_bundles, tmp_path, capsys):
    file = tmp_path / "tokens.json"
    code, secret, err = command("token", "new", file, "--name", "ward", capsys=capsys)
    assert code == 0
    assert "Token for ward, valid until" in err
    assert ApiTokens.read(file).find(secret).name == "ward"
    bundle = f"failure={served_bundles['failure']}"
    code, _, err = command("serve", bundle, "--host", "0.0.0.0", capsys=capsys)
    assert code == 2
    assert "other machines can reach --host 0.0.0.0: give --tokens FILE" in err
    code, _, err = command(
        "serve", bundle, "--host", "hospital", "--certificate", tmp_path / "no.pem", capsys=capsys
    )
    assert code == 2
    assert "expected an IP address" in err
    assert "TLS requires both" in err
    assert "no.pem" in err
    with served(bundle, "--tokens", file) as (_, port):
        for token, status in ((secret, 200), ("wrong", 401)):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", "/tasks", headers={"Authorization": f"Bearer {token}"})
            assert connection.getresponse().status == status
            connection.close()


def test_a_taken_port_is_an_error_in_words(served_bundles, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        bundle = f"failure={served_bundles['failure']}"
        code, _, err = command("serve", bundle, "--port", port, capsys=capsys)
    assert code == 2
    assert f"cannot listen on port {port} of 127.0.0.1" in err


def test_without_the_extra(served_bundles, monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("clinadapt.deployment.server")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    code, _, err = command("serve", served_bundles["failure"], capsys=capsys)
    assert code == 2
    assert "pip install 'clinadapt[serve]'" in err


def test_incomplete_headers_time_out(monkeypatch):
    """A client that sends its headers slowly, the token last, must not keep a connection."""
    monkeypatch.setattr(uvicorn_server, "HEADER_SECONDS", 0.1)
    with running(make_app(Echo())) as url:
        where = ("127.0.0.1", int(url.rpartition(":")[2]))
        with socket.create_connection(where, timeout=30) as slow:
            slow.sendall(b"POST /predict HTTP/1.1\r\nAuthorization: Bea")
            assert slow.recv(100) == b""
        connection = http.client.HTTPConnection(*where, timeout=30)
        assert post(connection, ["a"])[0] == 200
        # The same limit applies to later requests on a kept connection.
        connection.sock.sendall(b"POST /pre")
        assert connection.sock.recv(100) == b""
        connection.close()


def test_over_tls_only(tmp_path):
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    made += f" -addext subjectAltName=IP:127.0.0.1 -out {certificate} -keyout {key}"
    subprocess.run(made.split(), check=True, capture_output=True)
    with running(make_app(Echo()), certificate=certificate, key=key) as url:
        assert url.startswith("https://127.0.0.1:")
        port = int(url.rpartition(":")[2])
        trusting = ssl.create_default_context(cafile=certificate)
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=trusting)
        assert (
            post(connection, ["abc"])[1]["notes"][0]["answers"][0]["probabilities"]["yes"] == 0.25
        )
        connection.close()
        plain = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        with pytest.raises((OSError, http.client.HTTPException)):
            post(plain, ["abc"])
        plain.close()
