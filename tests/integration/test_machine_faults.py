"""A study is stopped wherever it writes; the same command then ends as if nothing had happened."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from faults import KILLED, Ended, Machine, machine
from folders import bert
from studies import comparable

pytestmark = pytest.mark.skipif(os.name != "posix", reason="forks")
SPARSE = """
name = "sparse"
seeds = [0, 1]
resamples = 100
[[configurations]]
model = "tfidf-logistic"
[[configurations]]
model = "tfidf-mlp"
epochs = 3
"""
CURVE = "curve = {shares = [0.5], draws = 1}\n"
ENCODER = """
[[configurations]]
model = "pretrained"
encoder = "{encoder}"
tuned_layers = [0, 1]
max_tokens = 12
epochs = 2
"""
EXITS = {"full": (0, 2), "denied": (0, 2), "kill": (KILLED,)}
FAILED = ("full", "denied")
EVERY = 17  # of the writes of the larger study, one in so many
COSTS = ("seconds", "memory")


@dataclass(frozen=True)
class Undisturbed:
    """A study that met no fault, and the machine to run it again with some."""

    machine: Machine
    command: list[Any]
    out: Path
    copies: Path
    writes: int

    def run(self, out: Path, fault: str = "", at: int = 0) -> Ended:
        return self.machine.run(out, *self.command, "--out", out, fault=fault, at=at)


def notes(number: int = 80) -> pl.DataFrame:
    """Notes of two in each patient; every tenth has the wrong label, so that scores differ."""
    random = np.random.default_rng(0)
    filler = ["matin", "soir", "lit", "repas", "visite", "appel", "retour", "suite"]
    rows = []
    for at in range(number):
        ill = at // 2 % 2
        words = [*random.choice(filler, 4), "fievre" if ill else "apyretique"]
        label = ill if at % 10 else 1 - ill
        rows.append({"id": f"n{at}", "text": " ".join(words), "label": label, "who": at // 2})
    return pl.DataFrame(rows)


def undisturbed(own: Machine, folder: Path, design: str, every: int) -> Undisturbed:
    """Run a study without a fault, and keep what a kill at every so manieth write would leave."""
    notes().write_csv(folder / "notes.csv")
    (folder / "design.toml").write_text(design, encoding="utf-8")
    command = ["study", folder / "notes.csv", "--id", "id", "--group", "who", "--offline"]
    command += ["--study", folder / "design.toml", "--out", folder / "whole"]
    ended = own.run(folder / "whole", *command, fault="copy", at=every)
    assert ended.code == 0, ended.output
    return Undisturbed(own, command[:-2], folder / "whole", folder / "copies", ended.writes)


@pytest.fixture(scope="module")
def sparse(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sparse")
    with machine(folder) as own:
        yield undisturbed(own, folder, SPARSE, every=1)


@pytest.fixture(scope="module")
def every_kind(tmp_path_factory):
    """A study with a learning curve, and with frozen and tuned layers of an encoder."""
    folder = tmp_path_factory.mktemp("every")
    design = ENCODER.format(encoder=bert(folder / "bert"))
    with machine(folder) as own:
        yield undisturbed(own, folder, CURVE + SPARSE + design, every=EVERY)


def everything(out: Path) -> Any:
    """What a study reports, without times and memory."""
    board = pl.read_csv(out / "leaderboard.csv")
    board = board.select([name for name in board.columns if not any(c in name for c in COSTS)])
    about = json.loads((out / "study.json").read_text(encoding="utf-8"))
    predictions = {
        str(path.relative_to(out)): pl.read_parquet(path).to_dicts()
        for path in out.rglob("predictions.parquet")
    }
    curves = out / "curves.json"
    sizes = sorted(path.name for path in out.glob("sizes/*/cells/*"))
    kept = sorted(path.relative_to(out).as_posix() for path in out.glob("*/bundle.json"))
    return (
        board.to_dicts(),
        (about["best"], about["recommended"]),
        predictions,
        comparable(out),
        (curves.exists(), sizes, kept),
    )


def left_over(out: Path) -> list[Path]:
    """Files of unfinished writes, and checkpoints, which a finished run needs no more."""
    return [path for path in out.rglob("*") if path.name.endswith((".tmp", ".pt", ".best"))]


def stop_and_go_on(whole: Undisturbed, out: Path, fault: str, at: int) -> None:
    stopped = whole.run(out, fault, at)
    # What forbids to make the folder is a mistake of the command.
    refused = fault == "denied" and not out.exists()
    assert stopped.code in ((2,) if refused else EXITS[fault]), (fault, at, stopped.output)
    assert "bug" not in stopped.output
    assert ".tmp" not in stopped.output
    if stopped.code == 2 and not refused:
        assert "give the same command again" in " ".join(stopped.output.split())
        assert "failed" not in stopped.output
    go_on(whole, out, (fault, at, stopped.output))


def go_on(whole: Undisturbed, out: Path, after: object) -> None:
    resumed = whole.run(out)
    assert resumed.code == 0, (after, resumed.output)
    assert everything(out) == everything(whole.out), after
    assert left_over(out) == [], after


@pytest.mark.parametrize("fault", EXITS)
@pytest.mark.parametrize("share", [0.15, 0.5, 0.85])
def test_stopped_at_some_writes_it_goes_on_to_the_same_end(sparse, tmp_path, fault, share):
    stop_and_go_on(sparse, tmp_path / "out", fault, round(share * sparse.writes))


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAILED)
def test_stopped_at_every_write_it_goes_on_to_the_same_end(sparse, tmp_path, fault):
    for at in range(1, sparse.writes + 1):
        stop_and_go_on(sparse, tmp_path / str(at), fault, at)


@pytest.mark.slow
def test_killed_at_every_write_it_goes_on_to_the_same_end(sparse):
    copies = sorted(sparse.copies.iterdir())
    assert len(copies) == sparse.writes - 1  # the first makes the folder
    for copy in copies:
        go_on(sparse, copy, copy.name)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAILED)
def test_curves_and_cached_features_go_on_as_well(every_kind, tmp_path, fault):
    for at in range(EVERY, every_kind.writes, EVERY):
        stop_and_go_on(every_kind, tmp_path / str(at), fault, at)


@pytest.mark.slow
def test_curves_and_cached_features_go_on_after_a_kill(every_kind):
    copies = sorted(every_kind.copies.iterdir())
    assert len(copies) == every_kind.writes // EVERY
    for copy in copies:
        go_on(every_kind, copy, copy.name)
