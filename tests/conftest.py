"""Shared parts: a network that is shut, few threads, small real encoders, one finished study."""

import os

# Two test processes share two cores; and tokenizers must not warn about forks.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from clinadapt.notes import Columns, Notes, read_notes
from clinadapt.offline import no_network
from clinadapt.synthetic import generate

SMALL = {"n_notes": 240, "n_patients": 80, "n_positive": 96}


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
    from clinadapt.encoders.catalog import resolve

    return resolve("minilm")


@pytest.fixture(scope="session")
def encoder_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each architecture, with random weights."""
    import torch

    import folders

    root = tmp_path_factory.mktemp("encoders")
    torch.manual_seed(0)
    makers = folders.ENCODERS | folders.DECODERS
    return {name: make(root / name) for name, make in makers.items()}
