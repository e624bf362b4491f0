"""Sites held out in turn: the splits, the pooling, and a complete study."""

import json
import shutil

import numpy as np
import polars as pl
import pytest
from statsmodels.stats.meta_analysis import combine_effects

from clinadapt import Study
from clinadapt.core.errors import InputError
from clinadapt.data.columns import Columns
from clinadapt.data.notes import read_notes
from clinadapt.data.site_split import hold_out, site_names
from clinadapt.evaluation.metrics import resample_weights
from clinadapt.evaluation.random_effects import pool
from clinadapt.study import refits
from clinadapt.study.held_out_sites import Sites


@pytest.fixture(scope="module")
def notes(sites_table):
    return read_notes(sites_table, Columns(id="id", group="patient", describe=("site", "age")))


def test_characteristics_follow_their_notes(sites_table, notes):
    assert notes.characteristics["site"] == sites_table["site"].to_list()
    some = notes.take(np.array([5, 2]))
    assert some.characteristics["age"] == ["5", "2"]
    assert some.characteristics["site"] == [sites_table["site"][5], sites_table["site"][2]]
    plain = read_notes(sites_table, Columns(id="id", group="patient"))
    assert plain.fingerprint == notes.fingerprint  # they decide no result


def test_an_unknown_value_is_no_error_but_an_absent_column_is(sites_table):
    gaps = sites_table.with_columns(
        pl.when(pl.col("site") == "west").then(None).otherwise(pl.col("site")).alias("site")
    )
    read = read_notes(gaps, Columns(describe=("site",)))
    assert set(read.characteristics["site"]) == {"", "north", "south"}
    with pytest.raises(InputError, match="no column 'ward'"):
        read_notes(sites_table, Columns(describe=("ward",)))


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


def test_sites_that_cannot_be_held_out_say_why(sites_table, notes):
    assert site_names(notes, "site") == ["north", "south", "west"]
    with pytest.raises(InputError, match="no column 'ward' describes these notes"):
        site_names(notes, "ward")
    with pytest.raises(InputError, match="has 420 values"):
        site_names(notes, "age")
    one = sites_table.with_columns(pl.lit("here").alias("site"))
    with pytest.raises(InputError, match="has only one value"):
        site_names(read_notes(one, Columns(describe=("site",))), "site")
    gap = sites_table.with_columns(
        pl.when(pl.int_range(pl.len()) > 2).then(pl.col("site")).alias("site")
    )
    with pytest.raises(InputError, match="3 note\\(s\\) have no value in column 'site'"):
        site_names(read_notes(gap, Columns(describe=("site",))), "site")


def test_pooling_is_that_of_statsmodels():
    values, errors = np.array([0.81, 0.74, 0.90, 0.62]), np.array([0.02, 0.05, 0.03, 0.04])
    found = pool(values, errors)
    theirs = combine_effects(values, errors**2, method_re="chi2", use_t=True)
    assert found.value == pytest.approx(theirs.mean_effect_re)
    assert found.between**2 == pytest.approx(theirs.tau2)
    assert (found.low, found.high) == pytest.approx(theirs.conf_int()[3])  # Hartung and Knapp
    # Higgins et al. 2009, with Student's quantile of two degrees of freedom by hand.
    half = 4.302653 * np.sqrt(theirs.tau2 + theirs.sd_eff_w_re**2)
    assert (found.new_low, found.new_high) == pytest.approx(
        (found.value - half, found.value + half), abs=1e-6
    )


def test_sites_that_agree_by_chance_are_not_surer_than_their_errors():
    values, errors = np.array([0.80, 0.80, 0.801]), np.array([0.03, 0.03, 0.03])
    found = pool(values, errors)
    half = 1.959964 * 0.03 / np.sqrt(3)
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half))


def test_pooled_intervals_cover_the_truth():
    """Scores of three and of five sites that differ; the normal interval covers .83 to .90."""
    generator = np.random.default_rng(0)
    for sites in (3, 5):
        covered = 0
        for _ in range(600):
            errors = generator.uniform(0.02, 0.06, sites)
            values = 0.8 + generator.normal(0, 0.05, sites) + generator.normal(0, errors)
            pooled = pool(values, errors)
            covered += pooled.low <= 0.8 <= pooled.high
        assert 0.92 <= covered / 600 <= 0.99


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


def test_a_study_scores_every_configuration_on_every_site(study_of_sites, sites_table):
    found = json.loads((study_of_sites / "out" / "sites.json").read_text(encoding="utf-8"))
    assert [site["site"] for site in found["sites"]] == ["north", "south", "west"]
    assert [site["notes"] for site in found["sites"]] == [
        (sites_table["site"] == name).sum() for name in ("north", "south", "west")
    ]
    assert found["refused"] == []
    assert len(found["configurations"]) == 2
    for line in found["configurations"]:
        for number, site in enumerate(line["sites"], start=1):
            results = (study_of_sites / "out" / "sites" / str(number)).glob("cells/*/result.json")
            values = [
                result["metrics"]["f1"]["value"]
                for path in results
                if (result := json.loads(path.read_text()))["configuration_id"]
                == line["configuration_id"]
            ]
            assert values == [pytest.approx(site["value"])]
        scores = [site["value"] for site in line["sites"]]
        assert min(scores) <= line["pooled"]["value"] <= max(scores)
    assert found["sentences"][0].startswith("On a site not seen in training, TF-IDF + ")
    for line in found["configurations"]:
        for site in line["sites"]:
            assert site["low"] <= site["value"] <= site["high"]
    assert not list(study_of_sites.glob("out/sites/*/cells/*/bundle"))


def test_the_report_shows_sites_and_subgroups(study_of_sites):
    page = (study_of_sites / "out" / "report.html").read_text(encoding="utf-8")
    assert "On a site not seen in training" in page
    found = json.loads((study_of_sites / "out" / "subgroups.json").read_text(encoding="utf-8"))
    assert list(dict.fromkeys(group["column"] for group in found["subgroups"])) == [
        "note length",
        "age",
        "site",
    ]
    for group in found["subgroups"]:
        assert group["level"] in page
    report = json.loads((study_of_sites / "out" / "report.json").read_text(encoding="utf-8"))
    assert report["sites"]["column"] == "site"
    assert report["subgroups"] == found


def test_it_resumes_without_fitting_a_run_again(study_of_sites, tmp_path):
    folder = shutil.copytree(study_of_sites, tmp_path / "copy")
    before = {path: path.stat().st_mtime_ns for path in folder.glob("out/**/result.json")}
    columns = Columns(id="id", group="patient", describe=("site",))
    notes = read_notes(folder / "notes.parquet", columns)
    study = Study(notes, folder / "small.toml", folder / "out", sites="site")
    study.run()
    assert {path: path.stat().st_mtime_ns for path in folder.glob("out/**/result.json")} == before
    study.sites = None
    study.run()
    assert not (folder / "out" / "sites.json").exists()


def test_sites_of_equal_size_do_not_share_their_resamples(study_of_sites, sites_table, monkeypatch):
    """Where they did, averages over sites would vary as if all sites were one."""
    made = []

    def kept(column, full, boards, refused):
        made.append(boards)
        return Sites(column, full, boards, refused)

    monkeypatch.setattr(refits, "Sites", kept)
    columns = Columns(id="id", group="patient", describe=("site",))
    notes = read_notes(study_of_sites / "notes.parquet", columns)
    Study(notes, study_of_sites / "small.toml", study_of_sites / "out", sites="site").run()
    draws = [board.evidence.draw for board in made[0].values()]
    assert draws == [1, 2, 3]
    clusters = np.arange(50)
    (first,), (second,) = (resample_weights(clusters, 20, seed=draw) for draw in draws[:2])
    assert not np.array_equal(first, second)
