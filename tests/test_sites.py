"""Sites held out in turn: the splits, the pooling, and a whole study."""

import json

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.meta_analysis import combine_effects
from typer.testing import CliRunner

from clinadapt import Study
from clinadapt.cli import app
from clinadapt.columns import Columns
from clinadapt.errors import InputError
from clinadapt.notes import read_notes
from clinadapt.sites import hold_out, pool, site_names
from clinadapt.synthetic import generate


@pytest.fixture(scope="module")
def table():
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


@pytest.fixture(scope="module")
def notes(table):
    return read_notes(table, Columns(id="id", group="patient", describe=("site", "age")))


def test_characteristics_follow_their_notes(table, notes):
    assert notes.characteristics["site"] == table["site"].to_list()
    some = notes.take(np.array([5, 2]))
    assert some.characteristics["age"] == ["5", "2"]
    assert some.characteristics["site"] == [table["site"][5], table["site"][2]]
    plain = read_notes(table, Columns(id="id", group="patient"))
    assert plain.fingerprint == notes.fingerprint  # they decide no result


def test_an_unknown_value_is_no_error_but_an_absent_column_is(table):
    gaps = table.with_columns(
        pl.when(pl.col("site") == "west").then(None).otherwise("site").alias("site")
    )
    read = read_notes(gaps, Columns(describe=("site",)))
    assert set(read.characteristics["site"]) <= {"", "north", "south", "site"}
    with pytest.raises(InputError, match="no column 'ward'"):
        read_notes(table, Columns(describe=("ward",)))


@pytest.mark.parametrize("site", ["north", "south", "west"])
def test_a_site_is_the_test_part_and_its_patients_are_nowhere_else(notes, site):
    split = hold_out(notes, "site", site, 0.15, 0)
    where = np.array(list(notes.characteristics["site"]))
    assert (where[split.test] == site).all()
    assert (where == site).sum() == len(split.test)
    learned = np.concatenate([split.train, split.validation])
    assert not np.isin(notes.clusters[learned], notes.clusters[split.test]).any()
    untouched = ~np.isin(notes.clusters, notes.clusters[split.test])
    assert len(learned) == untouched.sum()
    assert 0.1 < len(split.validation) / len(learned) < 0.2
    assert not np.isin(notes.clusters[split.train], notes.clusters[split.validation]).any()


def test_sites_that_cannot_be_held_out_say_why(table, notes):
    assert site_names(notes, "site") == ["north", "south", "west"]
    with pytest.raises(InputError, match="'ward' does not describe these notes"):
        site_names(notes, "ward")
    with pytest.raises(InputError, match="has 420 values"):
        site_names(notes, "age")
    one = table.with_columns(pl.lit("here").alias("site"))
    with pytest.raises(InputError, match="has one value"):
        site_names(read_notes(one, Columns(describe=("site",))), "site")
    gap = table.with_columns(pl.when(pl.int_range(pl.len()) > 2).then(pl.col("site")).alias("site"))
    with pytest.raises(InputError, match="3 note\\(s\\) have no 'site'"):
        site_names(read_notes(gap, Columns(describe=("site",))), "site")


def test_pooling_is_that_of_statsmodels():
    values, errors = np.array([0.81, 0.74, 0.90, 0.62]), np.array([0.02, 0.05, 0.03, 0.04])
    found = pool(values, errors)
    theirs = combine_effects(values, errors**2, method_re="chi2", use_t=False)
    assert found.value == pytest.approx(theirs.mean_effect_re)
    assert found.between**2 == pytest.approx(theirs.tau2)
    assert (found.low, found.high) == pytest.approx(theirs.conf_int()[1])
    # Higgins et al. 2009, with Student's quantile of two degrees of freedom by hand.
    half = 4.302653 * np.sqrt(theirs.tau2 + theirs.sd_eff_w_re**2)
    assert (found.new_low, found.new_high) == pytest.approx(
        (found.value - half, found.value + half), abs=1e-6
    )


def test_pooling_of_few_or_certain_sites():
    one = pool(np.array([0.8]), np.array([0.1]))
    assert (one.value, one.between) == (pytest.approx(0.8), 0.0)
    assert np.isnan(one.new_low)
    # A site that is all right has no error, and must not outweigh all others.
    certain = pool(np.array([1.0, 0.7]), np.array([0.0, 0.1]))
    assert certain.value == pytest.approx(0.85)
    nothing = pool(np.array([1.0, 1.0]), np.zeros(2))
    assert nothing.value == 1.0
    assert np.isnan(nothing.low)


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sites")
    table.write_parquet(folder / "notes.parquet")
    design = 'name = "small"\n[[rows]]\nfamily = "tfidf-logistic"\n'
    design += '[[rows]]\nfamily = "tfidf-mlp"\nepochs = 2\n'
    (folder / "small.toml").write_text(design, encoding="utf-8")
    command = ["study", str(folder / "notes.parquet"), "--id", "id", "--group", "patient"]
    command += ["--study", str(folder / "small.toml"), "--out", str(folder / "out")]
    command += ["--sites", "site", "--describe", "age", "--offline"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    return folder


def test_a_study_scores_every_row_on_every_site(run, table):
    found = json.loads((run / "out" / "sites.json").read_text(encoding="utf-8"))
    assert [site["site"] for site in found["sites"]] == ["north", "south", "west"]
    assert [site["notes"] for site in found["sites"]] == [
        (table["site"] == name).sum() for name in ("north", "south", "west")
    ]
    assert found["refused"] == []
    assert len(found["rows"]) == 2
    for row in found["rows"]:
        for number, site in enumerate(row["sites"], start=1):
            cells = (run / "out" / "sites" / str(number)).glob("cells/*/result.json")
            values = [
                result["metrics"]["f1"]["value"]
                for path in cells
                if (result := json.loads(path.read_text()))["row_id"] == row["row_id"]
            ]
            assert values == [pytest.approx(site["value"])]
        scores = [site["value"] for site in row["sites"]]
        assert min(scores) <= row["pooled"]["value"] <= max(scores)
    assert found["sentences"][0].startswith("On a site that it has not seen, TF-IDF + ")
    assert not list(run.glob("out/sites/*/cells/*/bundle"))


def test_the_report_tells_of_sites_and_subgroups(run):
    page = (run / "out" / "report.html").read_text(encoding="utf-8")
    assert "On a site not seen before" in page
    found = json.loads((run / "out" / "subgroups.json").read_text(encoding="utf-8"))
    assert list(dict.fromkeys(group["column"] for group in found["subgroups"])) == [
        "note length",
        "age",
        "site",
    ]
    for group in found["subgroups"]:
        assert group["level"] in page
    told = json.loads((run / "out" / "report.json").read_text(encoding="utf-8"))
    assert told["sites"]["column"] == "site"
    assert told["subgroups"] == found


def test_it_goes_on_without_running_a_cell_again(run):
    before = {path: path.stat().st_mtime_ns for path in run.glob("out/**/result.json")}
    study = Study(
        read_notes(run / "notes.parquet", Columns(id="id", group="patient", describe=("site",))),
        run / "small.toml",
        run / "out",
        sites="site",
    )
    study.run()
    assert {path: path.stat().st_mtime_ns for path in run.glob("out/**/result.json")} == before
    study.sites = None
    study.run()
    assert not (run / "out" / "sites.json").exists()


def test_the_built_in_notes_have_nothing_to_be_described_by():
    done = CliRunner().invoke(app, ["study", "--sites", "ward"])
    assert isinstance(done.exception, InputError)
    assert "no column to describe them by (ward)" in str(done.exception)
