"""Any configuration of a study is handed over, fitted again if its bundle was not kept."""

import json
import shutil

import polars as pl
import pytest
from typer.testing import CliRunner

from clinadapt import FinishedStudy, load
from clinadapt.cli.main import app
from clinadapt.core.errors import InputError


@pytest.fixture(scope="module")
def place(study_of_sites, tmp_path_factory):
    """A copy of a study and its notes."""
    folder = tmp_path_factory.mktemp("kept")
    shutil.copytree(study_of_sites / "out", folder / "out")
    shutil.copy(study_of_sites / "notes.parquet", folder / "notes.parquet")
    return folder


def call(*arguments):
    return CliRunner().invoke(app, ["bundle", *map(str, arguments)])


def test_every_row_is_handed_over_as_it_was(place):
    board = pl.read_csv(place / "out" / "leaderboard.csv").filter(pl.col("status") == "done")
    about = json.loads((place / "out" / "study.json").read_text())
    kept = {about[name]["configuration"] for name in ("best", "recommended") if about[name]}
    for row in board.iter_rows(named=True):
        target = place / f"copy-{row['rank']}"
        done = call(place / "out", "--row", row["rank"], "--to", target, "--offline")
        assert done.exit_code == 0, done.output
        assert ("fitted again" in done.output) == (row["configuration"] not in kept)
        run = json.loads((target / "bundle.json").read_text())["provenance"]["run"]
        folder = place / "out" / "cells" / run
        predictions = pl.read_parquet(folder / "predictions.parquet")
        assert (
            json.loads((folder / "result.json").read_text())["configuration"]
            == row["configuration"]
        )
        notes = pl.read_parquet(place / "notes.parquet").join(
            predictions.filter(pl.col("part") == "test"), on="id"
        )
        classifier = load(target, "raw")
        answer = classifier.predict_proba(notes["text"].to_list())
        for column, name in enumerate(classifier.classes_):
            expected = notes[f"prob_{name}"].to_numpy()
            assert answer[:, column] == pytest.approx(expected, abs=1e-6)
    assert len(list((place / "out" / "cells").glob("*/bundle"))) <= 1


def test_a_name_or_an_id_is_a_row_too(place, tmp_path):
    study = FinishedStudy(place / "out")
    first = study.leaderboard.row(0, named=True)
    for number, row in enumerate((1, first["configuration"], first["configuration_id"])):
        folder = study.bundle(row, tmp_path / str(number))
        assert load(folder).task_ == "binary"
    with pytest.raises(InputError, match="is no finished configuration: give a rank"):
        study.bundle(99, tmp_path / "none")


def test_without_the_notes_it_is_told_what_to_do(place, tmp_path):
    study = FinishedStudy(place / "out")
    about = json.loads((place / "out" / "study.json").read_text())
    kept = {about[name]["configuration"] for name in ("best", "recommended") if about[name]}
    (gone,) = [name for name in study.leaderboard["configuration"] if name not in kept][:1]
    with pytest.raises(InputError, match="give the notes of the study"):
        study.bundle(gone, tmp_path / "bundle")
    shutil.copytree(place / "out", tmp_path / "out")
    about["data"]["source"] = str(tmp_path / "moved.parquet")
    (tmp_path / "out" / "study.json").write_text(json.dumps(about))
    refused = call(tmp_path / "out", "--row", gone, "--to", tmp_path / "bundle")
    assert refused.exit_code == 2 or "any more" in str(refused.exception)
    other = pl.read_parquet(place / "notes.parquet").head(200)
    other.write_parquet(tmp_path / "other.parquet")
    refused = call(tmp_path / "out", tmp_path / "other.parquet", "--row", gone)
    assert "not those of the study" in f"{refused.output}{refused.exception}"


def test_a_folder_with_other_files_is_not_replaced(place, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(InputError, match="--to"):
        FinishedStudy(place / "out").bundle(1, tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "keep"
