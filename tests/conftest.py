"""Shared fixtures: no network, few threads, small real encoders, one finished study."""

import os

# Two test processes share two cores, and tokenizers must not warn about forks.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Tests that import MLflow do so before the network is shut.
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
# A fixed backend: the default is chosen by speed, and each backend is tested by name.
os.environ["CLINADAPT_BACKEND"] = "torch"
# English, whatever the locale of who runs them.
os.environ["LANGUAGE"] = "en"

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import postgres
import pytest
import sqlalchemy as sa
import torch
from studies import SMALL
from typer.testing import CliRunner

from clinadapt import NoteClassifier
from clinadapt.cli.main import app
from clinadapt.core.network_guard import no_network
from clinadapt.data.columns import Columns
from clinadapt.data.notes import Notes, read_notes
from clinadapt.data.synthetic.generator import generate

SPARSE_STUDY = """
name = "small"
[[configurations]]
model = "tfidf-logistic"
[[configurations]]
model = "tfidf-mlp"
epochs = 2
"""


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True, scope="session")
def _shut_network() -> Iterator[None]:
    with no_network():
        yield


@pytest.fixture(scope="session")
def small_table() -> pl.DataFrame:
    """240 synthetic notes of 80 patients, 96 of them positive."""
    return generate(**SMALL)


@pytest.fixture(scope="session")
def small_notes(small_table: pl.DataFrame) -> Notes:
    return read_notes(small_table, Columns(id="id", group="patient"))


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Folder of a real pretrained encoder, which a package carries."""
    from clinadapt.features.encoders.catalog import resolve

    return resolve("minilm")


@pytest.fixture(scope="session")
def encoder_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each architecture, with random weights."""
    import folders
    import torch

    root = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    makers = folders.ENCODERS | folders.DECODERS | folders.FROZEN_ONLY
    return {name: make(root / name) for name, make in makers.items()}


@pytest.fixture(scope="session")
def small_notes_synthetic(small_notes: Notes) -> Notes:
    return replace(small_notes, source="built-in", synthetic=True)


@pytest.fixture(scope="session")
def study_design(encoder_folders: dict[str, Path]) -> dict[str, object]:
    from studies import design

    return design(encoder_folders["bert"])


@pytest.fixture(scope="session")
def finished_study(
    tmp_path_factory: pytest.TempPathFactory,
    small_notes_synthetic: Notes,
    study_design: dict[str, object],
) -> Path:
    """Folder of a finished study of sparse, from-scratch, frozen, tuned and skipped models."""
    from clinadapt import Study, write_report

    out = tmp_path_factory.mktemp("study") / "out"
    Study(small_notes_synthetic, study_design, out).run()
    write_report(out)
    return out


@dataclass(frozen=True)
class SavedClassifier:
    """A fitted classifier and its bundle."""

    classifier: NoteClassifier
    folder: Path


@pytest.fixture(scope="session")
def tfidf_bundle(tmp_path_factory: pytest.TempPathFactory) -> SavedClassifier:
    """TF-IDF + logistic regression that knows "fievre fièvre toux" (1) from "apyretique" (0)."""
    signs = ("apyretique", "fievre fièvre toux")
    words = [f"enfant {signs[n % 2]} jour {n % 5}" for n in range(60)]
    classifier = NoteClassifier().fit(words, [n % 2 for n in range(60)])
    folder = tmp_path_factory.mktemp("tfidf") / "bundle"
    return SavedClassifier(classifier, classifier.save(folder))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server."""
    if reason := postgres.why_not():
        pytest.skip(reason)
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database."""
    if request.param == "sqlite":
        (tmp_path / "notes.db").touch()
        return f"sqlite:///{tmp_path / 'notes.db'}"
    server = request.getfixturevalue("postgres_server")
    engine = sa.create_engine(server.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sa.text("DROP DATABASE IF EXISTS hospital WITH (FORCE)"))
        connection.execute(sa.text("CREATE DATABASE hospital"))
    engine.dispose()
    return server.replace("/postgres?", "/hospital?")


@pytest.fixture(scope="session")
def sites_table() -> pl.DataFrame:
    """Notes of three sites; some patients were seen at two."""
    notes = generate(n_patients=150, n_notes=420, n_positive=160)
    generator = np.random.default_rng(0)
    patients = notes["patient"].unique(maintain_order=True).to_list()
    home = dict(zip(patients, generator.choice(["north", "south", "west"], 150), strict=True))
    moved = set(patients[:20])
    site = [
        generator.choice(["north", "south", "west"]) if name in moved else home[name]
        for name in notes["patient"]
    ]
    return notes.with_columns(pl.Series("site", site), pl.Series("age", range(len(notes))))


@pytest.fixture(scope="session")
def study_of_sites(sites_table: pl.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a table, a study file, and a study that holds out sites."""
    folder = tmp_path_factory.mktemp("sites")
    sites_table.write_parquet(folder / "notes.parquet")
    (folder / "small.toml").write_text(SPARSE_STUDY, encoding="utf-8")
    command = ["study", str(folder / "notes.parquet"), "--id", "id", "--group", "patient"]
    command += ["--study", str(folder / "small.toml"), "--out", str(folder / "out")]
    command += ["--sites", "site", "--describe", "age", "--offline"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return folder


@pytest.fixture(scope="session")
def study_of_tasks(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Two tasks: the built-in one, and whether a note is long."""
    folder = tmp_path_factory.mktemp("tasks")
    notes = generate(n_patients=100, n_notes=260, n_positive=100)
    words = notes["text"].str.split(" ").list.len()
    long = pl.Series("long note", (words > words.median()).cast(pl.Int64))
    notes.rename({"label": "failure"}).with_columns(long).write_csv(folder / "notes.csv")
    (folder / "small.toml").write_text(SPARSE_STUDY, encoding="utf-8")
    command = ["study", str(folder / "notes.csv"), "--id", "id", "--group", "patient"]
    command += ["--study", str(folder / "small.toml"), "--out", str(folder / "out"), "--offline"]
    command += ["--task", "failure", "--task", "long note"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return folder / "out", done.output


@pytest.fixture(scope="session")
def served_bundles(
    encoder_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """A bundle for each kind of task; the last two share one frozen encoder."""
    from fitted_models import build, fitted

    root = tmp_path_factory.mktemp("served")
    asked = {
        "failure": ("tfidf-logistic", "binary"),
        "kind": ("pretrained", "multiclass"),
        "findings": ("stacked", "multilabel"),
    }
    return {
        name: fitted(build(model, encoder_folders), task).save(root / name)
        for name, (model, task) in asked.items()
    }


@pytest.fixture(scope="session")
def server_url(served_bundles: dict[str, Path]) -> Iterator[str]:
    """Address of a real server, without tokens."""
    from served import running

    from clinadapt.deployment.server.app import make_app
    from clinadapt.deployment.server.models import Models

    with running(make_app(Models(served_bundles))) as url:
        yield url


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A real browser, shared by every test that asks for it."""
    import shutil

    from browsers import QUIET
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium")
    assert path, "the browser tests need Chromium: install the package chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by what they need, so that `-m "not browser"` leaves them out."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
        parameters = getattr(getattr(item, "callspec", None), "params", {})
        if any(isinstance(value, str) and value == "postgresql" for value in parameters.values()):
            item.add_marker("postgres")
