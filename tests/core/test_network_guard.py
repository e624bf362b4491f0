"""Offline mode refuses connections to other machines, and allows those to this one."""

import os
import socket
import threading
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import pytest

from clinadapt.core.errors import EncoderNotFoundError, NetworkForbiddenError
from clinadapt.core.network_guard import no_network
from clinadapt.features.encoders import catalog

NAMES = ("CLINADAPT_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
ELSEWHERE = "192.0.2.7"  # reserved for documentation: nobody is there


def connect(host):
    with socket.socket() as client:
        client.settimeout(0.01)
        client.connect((host, 80))


def connect_ex(host):
    with socket.socket() as client:
        client.settimeout(0.01)
        client.connect_ex((host, 80))


def connect_v6(host):
    with socket.socket(socket.AF_INET6) as client:
        client.settimeout(0.01)
        client.connect((host, 80, 0, 0))


REFUSED = [
    (connect, ELSEWHERE),
    (connect_ex, ELSEWHERE),
    (connect_v6, "2001:db8::7"),
    (lambda host: socket.create_connection((host, 80), timeout=0.01), ELSEWHERE),
    (lambda host: socket.create_connection((host, 443), timeout=0.01), "huggingface.co"),
    (lambda host: socket.getaddrinfo(host, 443), "huggingface.co"),
    (lambda host: socket.getaddrinfo(host, None), "localhost.example.org"),
    (lambda host: socket.gethostbyname(host), "huggingface.co"),
    (lambda host: socket.gethostbyname_ex(host), "huggingface.co"),
]


@pytest.mark.parametrize(("reach", "host"), REFUSED)
def test_other_machines_are_refused_by_name_with_what_to_do(reach, host):
    with no_network(), pytest.raises(NetworkForbiddenError) as caught:
        reach(host)
    message = str(caught.value)
    assert f"blocked an attempt to reach {host}" in message
    assert "clinadapt encoders" in message
    assert isinstance(caught.value, OSError)


def test_a_client_library_is_refused_too():
    client = build_opener(ProxyHandler({}))
    with no_network(), pytest.raises(URLError) as caught:
        client.open("http://huggingface.co", timeout=0.01)
    assert isinstance(caught.value.reason, NetworkForbiddenError)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("connect_by", ["create_connection", "connect", "connect_ex"])
def test_this_machine_is_reached(host, connect_by):
    with no_network(), socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def answer():
            visitor, _ = server.accept()
            with visitor:
                visitor.sendall(visitor.recv(16).upper())

        thread = threading.Thread(target=answer)
        thread.start()
        address = (host, server.getsockname()[1])
        if connect_by == "create_connection":
            client = socket.create_connection(address, timeout=5)
        else:
            client = socket.socket()
            client.settimeout(5)
            assert not getattr(client, connect_by)(address)
        with client:
            client.sendall(b"hello")
            assert client.recv(16) == b"HELLO"
        thread.join(5)


def test_unix_sockets_stay_open(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # such paths must be short
    with no_network(), socket.socket(socket.AF_UNIX) as server:
        server.bind("door")
        server.listen()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect("door")


def functions():
    connects = (socket.socket.connect, socket.socket.connect_ex)
    return (*connects, socket.getaddrinfo, socket.gethostbyname, socket.gethostbyname_ex)


def variables():
    return {name: os.environ.get(name) for name in NAMES}


@pytest.mark.parametrize("earlier", [None, "0", "1"])
@pytest.mark.parametrize("failing", [False, True])
def test_everything_is_restored_afterwards(earlier, failing, monkeypatch):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    if earlier is not None:
        monkeypatch.setenv("HF_HUB_OFFLINE", earlier)
    before, environment = functions(), variables()
    try:
        with no_network():
            assert all(os.environ[name] == "1" for name in NAMES)
            assert all(new is not old for new, old in zip(functions(), before, strict=True))
            if failing:
                raise KeyError
    except KeyError:
        assert failing
    assert variables() == environment
    assert functions() == before


def test_an_inner_block_does_not_open_the_outer_one():
    with no_network():
        with no_network(), pytest.raises(NetworkForbiddenError):
            connect(ELSEWHERE)
        assert variables() == dict.fromkeys(NAMES, "1")
        with pytest.raises(NetworkForbiddenError):
            connect(ELSEWHERE)


# ---------------------------------------------------------------- encoders that are not here


@pytest.fixture
def no_encoders(tmp_path, monkeypatch):
    """Folder of encoders, which is empty, as is the cache of the hub."""
    import huggingface_hub.constants

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLINADAPT_ENCODERS", str(tmp_path / "encoders"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "encoders"


@pytest.mark.parametrize("name", ["camembert-bio", "drbert", "alibert"])
def test_an_absent_encoder_says_which_folder_to_fill_and_how(name, no_encoders):
    with no_network(), pytest.raises(EncoderNotFoundError) as caught:
        catalog.resolve(name)
    message = str(caught.value)
    entry = catalog.CATALOG[name]
    assert entry.revision is not None
    assert f"{name} is not on this machine" in message
    assert f"hf download {entry.hub_id} --revision {entry.revision} " in message
    assert f"copy the folder to {no_encoders / name}" in message


def test_an_absent_hub_id_without_a_pin(no_encoders):
    with no_network(), pytest.raises(EncoderNotFoundError) as caught:
        catalog.resolve("owner/encoder")
    assert "hf download owner/encoder --include" in str(caught.value)
    assert str(no_encoders / "owner/encoder") in str(caught.value)


def test_a_name_that_nobody_knows(no_encoders):
    with (
        no_network(),
        pytest.raises(EncoderNotFoundError, match="neither a known encoder") as caught,
    ):
        catalog.resolve("camembret")
    assert "camembert-bio" in str(caught.value)


@pytest.mark.parametrize("place", ["drbert", "Dr-BERT/DrBERT-7GB"])
def test_a_filled_folder_is_found(place, no_encoders):
    (no_encoders / place).mkdir(parents=True)
    (no_encoders / place / "config.json").write_text("{}")
    with no_network():
        assert catalog.resolve("drbert") == no_encoders / place
        assert catalog.resolve(str(no_encoders / place)) == no_encoders / place


@pytest.mark.parametrize(
    ("value", "offline"), [("1", True), ("true", True), ("0", False), ("no", False), ("", False)]
)
def test_a_variable_switches_offline_mode_on(value, offline, monkeypatch):
    monkeypatch.delenv("CLINADAPT_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", value)
    assert catalog.is_offline() is offline
