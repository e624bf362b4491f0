"""Cached features: for their owner only, listed with size and age, deleted on request."""

import os
import stat
import tempfile
import time
from pathlib import Path

import folders
import numpy as np
import pytest
from typer.testing import CliRunner

from clinadapt import NoteClassifier, PretrainedModel
from clinadapt.cli.main import app
from clinadapt.core.errors import InputError
from clinadapt.core.run_context import SESSION
from clinadapt.features.cache_admin import DAY, entries

TEXTS = [f"enfant {'fievre' if n % 2 else 'oedeme'} jour {n % 5}" for n in range(40)]
Y = [n % 2 for n in range(40)]


def classifier(folder, cache):
    model = PretrainedModel(str(folder), epochs=1, max_tokens=12)
    return NoteClassifier(model, cache=cache)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def clinadapt(*command):
    return CliRunner(env={"COLUMNS": "300"}).invoke(app, ["cache", *map(str, command)])


@pytest.fixture(autouse=True)
def _no_other_caches(tmp_path, monkeypatch):
    """Caches that other tests' processes have open are none of these tests' business."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return folders.bert(tmp_path_factory.mktemp("encoder") / "bert")


@pytest.fixture
def cache(encoder, tmp_path):
    folder = tmp_path / "study" / "cache"
    classifier(encoder, folder).fit(TEXTS, Y)
    return folder


def test_only_the_owner_can_read_what_is_cached(encoder, cache):
    (entry,) = cache.iterdir()
    assert [mode(cache), mode(entry)] == [0o700, 0o700]
    files = list(entry.iterdir())
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert {mode(path) for path in files} == {0o600}
    # A folder that was opened to others, by an older version or by hand, is closed again.
    entry.chmod(0o755)
    assert [found.open_to_others for found in entries([cache])] == [True]
    classifier(encoder, cache).fit(TEXTS, Y)
    assert mode(entry) == 0o700
    assert [found.open_to_others for found in entries([cache])] == [False]


def test_a_folder_of_the_users_own_keeps_its_mode(encoder, tmp_path):
    (tmp_path / "shared").mkdir(mode=0o755)
    (tmp_path / "shared").chmod(0o755)
    classifier(encoder, tmp_path / "shared").fit(TEXTS, Y)
    assert mode(tmp_path / "shared") == 0o755


def test_listed_with_size_and_age(cache):
    (found,) = entries([cache.parent])
    assert found.size == sum(path.stat().st_size for path in found.folder.iterdir())
    for path in [*found.folder.iterdir(), found.folder]:
        os.utime(path, (time.time() - 10 * DAY,) * 2)
    done = clinadapt(cache.parent)
    assert done.exit_code == 0, done.output
    assert "10.0 days" in done.output
    assert str(found.folder) in done.output
    assert "1 feature caches" in done.output
    assert found.folder.is_dir()


def test_purged_by_age_and_nothing_else(cache):
    (entry,) = cache.iterdir()
    (cache / "mine.txt").write_text("mine")
    (cache / "0123").mkdir()
    assert "deleted 0" in clinadapt(cache, "--purge", "--older-than", 1).output
    assert entry.is_dir()
    assert "deleted 1" in clinadapt(cache, "--purge").output
    assert not entry.exists()
    assert {path.name for path in cache.iterdir()} == {"mine.txt", "0123"}


def test_states_of_living_processes_stay_and_of_dead_ones_go():
    root = Path(tempfile.gettempdir())
    living, dead = root / f"{SESSION}{os.getpid()}-x", root / f"{SESSION}999999999-x"
    for place in (living, dead):
        (place / ("a" * 24)).mkdir(parents=True)
        (place / ("a" * 24) / "s.safetensors").write_bytes(b"1")
    done = clinadapt(root, "--purge")
    assert "in use" in done.output
    assert "deleted 1" in done.output
    assert living.is_dir()
    assert not dead.exists()


def test_mistakes(tmp_path):
    with pytest.raises(InputError, match="use them together"):
        raise clinadapt("--older-than", 3).exception
    with pytest.raises(InputError, match="no such folder"):
        raise clinadapt(tmp_path / "nothing").exception


def test_purged_states_are_computed_again(encoder, cache):
    before = classifier(encoder, cache).fit(TEXTS, Y).predict_proba(TEXTS)
    clinadapt(cache, "--purge")
    after = classifier(encoder, cache).fit(TEXTS, Y).predict_proba(TEXTS)
    assert np.array_equal(before, after)
