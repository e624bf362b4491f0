"""A name that is not on this machine costs one short question, and misspelt ones a proposal."""

import threading
import time

import huggingface_hub
import pytest
from huggingface_hub.errors import RepositoryNotFoundError

from clinadapt.core.errors import EncoderNotFoundError, UnusableEncoderError
from clinadapt.features.encoders import catalog, download


@pytest.fixture
def online(monkeypatch, tmp_path):
    """A machine that may use the network, and on which no encoder is."""
    monkeypatch.setenv("CLINADAPT_ENCODERS", str(tmp_path))
    monkeypatch.delenv("CLINADAPT_OFFLINE")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(download, "_silence", None)
    download._ask.cache_clear()
    yield
    download._ask.cache_clear()


def test_a_name_server_that_does_not_answer_costs_one_short_wait(online, monkeypatch):
    forever = threading.Event()
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *a, **k: forever.wait(60))
    monkeypatch.setattr(download, "SECONDS", 0.2)
    started = time.perf_counter()
    for name in ("camembert-bio", "alibert", "owner/other", "camembert-bio"):
        with pytest.raises(EncoderNotFoundError, match="no answer within"):
            catalog.resolve(name)
    assert time.perf_counter() - started < 5
    forever.set()


def test_the_hub_says_that_it_has_no_such_repository(online, monkeypatch):
    asked = []

    def ask(self, name, **options):
        asked.append(name)
        response = type("Response", (), {"headers": {}, "request": None, "status_code": 404})()
        raise RepositoryNotFoundError("404", response=response)

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", ask)
    for _ in range(2):
        with pytest.raises(EncoderNotFoundError, match="did you mean almanach/camembert-bio-base"):
            catalog.resolve("almanach/camembert-bio-bsae")
    with pytest.raises(EncoderNotFoundError, match="RepositoryNotFoundError"):
        catalog.resolve("owner/other")  # this one is asked for too: the hub did answer
    assert asked == ["almanach/camembert-bio-bsae", "owner/other"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("camembert-boi", "camembert-bio"),
        ("Minilm", "minilm"),
        ("clinadapt-mini", "clinadapt-mini-fr"),
        ("DRBERT", "drbert"),
    ],
)
def test_misspelt_names(name, meant):
    with pytest.raises(UnusableEncoderError, match=f"did you mean .*{meant}"):
        catalog.resolve(name)


@pytest.mark.parametrize(
    "name",
    ["a/../b", "../a", "owner/na me", "owner/..", "a--b/c", "owner/", "o/n\n", "C:\\enc", "a/b/c"],
)
def test_names_that_are_no_repositories_are_not_asked_for(online, monkeypatch, name):
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *a, **k: 1 / 0)
    with pytest.raises(UnusableEncoderError):
        catalog.resolve(name)


@pytest.mark.parametrize("name", ["../outside", "x/../../outside"])
def test_no_name_leads_out_of_the_folder_of_encoders(encoder_folders, tmp_path, monkeypatch, name):
    import shutil

    home = tmp_path / "home"
    home.mkdir()
    shutil.copytree(encoder_folders["bert"], tmp_path / "outside")
    monkeypatch.setenv("CLINADAPT_ENCODERS", str(home))
    monkeypatch.chdir(home)
    if name == "../outside":  # as a path it is one
        assert catalog.find_local(name) is not None
        monkeypatch.chdir("/")
    assert catalog.find_local(name) is None
