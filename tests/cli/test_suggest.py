"""``clinadapt suggest``, from a finished study to a list that a labeller opens."""

import json

import polars as pl
import pytest
from command import run

from clinadapt.data.synthetic.generator import generate


@pytest.fixture
def unlabelled(study_of_sites, tmp_path):
    """60 notes that nobody labelled and 40 of the study, in one table."""
    new = generate(n_patients=30, n_notes=60, n_positive=20, seed=5).select("id", "patient", "text")
    new = new.with_columns(id="new" + pl.col("id"), patient="new" + pl.col("patient"))
    known = pl.read_parquet(study_of_sites / "notes.parquet")[:40].select("id", "patient", "text")
    pl.concat([new, known]).write_csv(tmp_path / "unlabelled.csv")
    return tmp_path / "unlabelled.csv"


def test_the_studys_own_columns_and_table_are_used(
    study_of_sites, unlabelled, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, output, error = run(
        "suggest", study_of_sites / "out", unlabelled, "--n", 12, capsys=capsys
    )
    assert (code, error) == (0, "")
    found = pl.read_csv("to-label.csv")
    assert found.columns == ["order", "id", "group", "uncertainty"]
    assert (len(found), found["group"].n_unique()) == (12, 12)
    assert found["id"].str.starts_with("new").all()
    assert "notes read: 100 left out, labelled already: 40" in output
    assert "notes suggested: 12" in output
    assert "clinadapt docs label-next" in output
    assert "warning" not in output


def test_what_is_not_known_or_not_enough_is_told(study_of_sites, unlabelled, tmp_path, capsys):
    bundle = study_of_sites / "out" / "recommended"
    bare = pl.read_csv(unlabelled).select("text")[:60]
    bare.write_csv(tmp_path / "bare.csv")
    out = tmp_path / "list.csv"
    code, output, _ = run("suggest", bundle, tmp_path / "bare.csv", "--out", out, capsys=capsys)
    assert code == 0
    assert "no column of the patient is known" in output
    assert "100 were asked for, but there are no more notes" in output
    code, output, _ = run(
        "suggest",
        bundle,
        unlabelled,
        "--per-patient",
        2,
        "--with-text",
        "--out",
        out,
        capsys=capsys,
    )
    assert (code, "at most 2 of a patient" in output) == (0, True)
    assert "contains patient text" in output
    assert pl.read_csv(out)["text"].null_count() == 0


def test_json_and_what_is_refused(study_of_sites, unlabelled, tmp_path, capsys):
    out, folder = tmp_path / "list.csv", study_of_sites / "out"
    asked = ("suggest", folder, unlabelled, "--n", 5, "--out", out, "--json")
    code, output, _ = run(*asked, capsys=capsys)
    answer = json.loads(output)
    assert (code, answer["suggested"], answer["read"], answer["list"]) == (0, 5, 100, str(out))
    assert answer["left_out"]["labelled"] == 40
    pl.read_csv(out).with_columns(label=pl.lit("yes")).write_csv(out)
    code, _, error = run(*asked, capsys=capsys)
    assert code == 2
    assert "choose another --out" in error
    code, _, error = run("suggest", tmp_path, unlabelled, capsys=capsys)
    assert (code, "neither a bundle nor the folder" in error) == (2, True)
    known = pl.read_parquet(study_of_sites / "notes.parquet")
    known.select("id", "patient", "text").write_csv(tmp_path / "known.csv")
    code, _, error = run(
        "suggest", folder, tmp_path / "known.csv", "--out", tmp_path / "n.csv", capsys=capsys
    )
    assert (code, "no note was suggested" in error) == (3, True)
