"""Learning curves: planted laws and crossings are found, forecasts are checked, studies grow."""

import json

import numpy as np
import polars as pl
import pytest
from simulated import labels_of, predictions

from clinadapt import Study, write_report
from clinadapt.data.columns import Columns
from clinadapt.data.notes import read_notes
from clinadapt.data.split import make_split, thinned
from clinadapt.data.synthetic.generator import generate
from clinadapt.evaluation.learning_curves import Curves, Grower, Size
from clinadapt.models import registry

NOTES = (50, 100, 200, 400, 800, 1600)
TEST_NOTES, DRAWS = 3_000, 3


def grower(name, law, generator, positive, model="tfidf-logistic", sizes=NOTES, price=1.0):
    """A row whose accuracy follows a law, with a little luck of each draw."""
    a, b, c = law
    found = []
    for notes in sizes:
        accuracy = a - b * notes**-c + generator.normal(0, 0.003, DRAWS)
        said = [
            np.where(generator.random(len(positive)) < one, positive, ~positive) for one in accuracy
        ]
        found.append(Size(notes, [predictions(one) for one in said], price, price * 1e9))
    return Grower(name, name.upper(), model, registry.models()[model].cls.kind, found)


def curves(**laws):
    generator = np.random.default_rng(0)
    positive = generator.random(TEST_NOTES) < 0.5
    growers = [
        grower(name, law, generator, positive, model, price=1.0 + number)
        for number, (name, (law, model)) in enumerate(laws.items())
    ]
    return Curves(growers, labels_of(positive), np.arange(TEST_NOTES), "accuracy")


STEEP, FLAT = (0.95, 2.0, 0.5), (0.80, 0.3, 0.5)
# 0.95 - 2/√n = 0.80 - 0.3/√n  ⇔  √n = 1.7 / 0.15
CROSSING = (1.7 / 0.15) ** 2


@pytest.fixture(scope="module")
def two():
    return curves(steep=(STEEP, "pretrained"), flat=(FLAT, "transformer"))


def test_more_time_is_worth_it_where_a_dearer_row_is_told_to_be_better(two):
    """The steep row is the cheap one: overtaken at 50 notes, and ahead at 1,600."""

    def steps(number):
        return [(step.label, step.price) for step in two.ladder(number, lambda s: s.seconds)]

    assert steps(0) == [("STEEP", 1.0), ("FLAT", 2.0)]
    assert steps(len(NOTES) - 1) == [("STEEP", 1.0)]
    told = two.sentences()
    assert (
        "With 50 labelled notes: STEEP for the least time, from 2 s on FLAT; "
        "STEEP for the least memory, from 2 GB on FLAT."
    ) in told
    assert (
        "With 1,600 labelled notes: no more time than STEEP takes buys a better score; "
        "no more memory than STEEP takes buys a better score."
    ) in told


def test_a_planted_law_is_found(two):
    for name, (a, b, c) in (("steep", STEEP), ("flat", FLAT)):
        law = two.laws[name]
        for notes in NOTES:
            assert law.at(notes).value == pytest.approx(a - b * notes**-c, abs=0.02)
            found = law.at(notes)
            assert found.low <= found.value <= found.high


def test_a_forecast_holds_the_truth(two):
    a, b, c = STEEP
    truth = b * (1600**-c - 3200**-c)
    gain = two.laws["steep"].gain(1600, 1600)
    assert gain.low <= truth <= gain.high
    checked = two.held_out["steep"]
    assert checked["notes"] == 1600
    assert checked["came"] == pytest.approx(a - b * 1600**-c, abs=0.02)
    assert checked["value"] == pytest.approx(checked["came"], abs=0.03)
    assert checked["inside"]


def test_a_planted_crossing_is_found(two):
    steep, flat = two.growers
    found = two.crossing(flat, steep)
    assert found.low <= CROSSING <= found.high
    assert found.value == pytest.approx(CROSSING, rel=0.35)
    assert two.crossing(steep, flat) is None  # the other way round it is no overtaking
    (sentence, *_) = two.sentences()
    assert sentence.startswith("Below about ")
    assert "FLAT does better; above, STEEP." in sentence


def test_one_that_leads_everywhere_is_said_to():
    high, low = (0.9, 0.5, 0.5), (0.7, 0.5, 0.5)
    found = curves(high=(high, "pretrained"), low=(low, "tfidf-logistic"))
    sentence = found.sentences()[0]
    assert "HIGH does better than LOW at every size tried (50 to 1,600" in sentence
    assert "at 6 of 6 sizes" in sentence


def test_equals_are_not_said_to_cross():
    same = (0.8, 0.5, 0.5)
    sentence = curves(one=(same, "pretrained"), other=(same, "transformer")).sentences()[0]
    assert "does better" not in sentence
    assert "change places for certain" in sentence


def test_a_crossing_that_one_side_does_not_bear_out_is_not_told():
    # √n = 0.4 / 0.05: they cross at 64, where only the smallest size lies below, by a hair.
    slow, quick = (0.85, 0.9, 0.5), (0.80, 0.5, 0.5)
    found = curves(slow=(slow, "pretrained"), quick=(quick, "transformer"))
    sentence = found.sentences()[0]
    assert not sentence.startswith("Below about")
    assert sentence.endswith("better is SLOW at 400, 800, 1,600.")


def test_too_few_sizes_have_points_and_no_law():
    generator = np.random.default_rng(1)
    positive = generator.random(500) < 0.5
    row = grower("few", STEEP, generator, positive, sizes=NOTES[:3])
    found = Curves([row], labels_of(positive), np.arange(500), "accuracy")
    assert found.laws == found.held_out == {}
    (line,) = found.to_json()["configurations"]
    assert [point["notes"] for point in line["points"]] == [50, 100, 200]
    assert line["fitted"] == []
    assert line["held_out"] is None


def test_less_loss_is_growth():
    generator = np.random.default_rng(2)
    positive = generator.random(TEST_NOTES) < 0.5
    row = grower("configuration", STEEP, generator, positive)
    found = Curves([row], labels_of(positive), np.arange(TEST_NOTES), "brier")
    scores = [point["score"] for point in found.to_json()["configurations"][0]["points"]]
    assert scores == sorted(scores, reverse=True)
    assert found.laws["configuration"].gain(1600, 1600).value > 0
    fitted = found.to_json()["configurations"][0]["fitted"]
    assert fitted[0][1] > fitted[-1][1] > 0


# ---------------------------------------------------------------- in a study


@pytest.fixture(scope="module")
def notes():
    table = generate(n_notes=300, n_patients=90, n_positive=120)
    return read_notes(table, Columns(id="id", group="patient"))


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_a_share_is_of_whole_patients_and_every_class(notes, share):
    split = make_split(notes)
    small = thinned(split, notes, share, draw=0)
    assert small.test is split.test
    for name in ("train", "validation"):
        whole, kept = getattr(split, name), getattr(small, name)
        assert len(kept) == pytest.approx(share * len(whole), abs=5)
        assert set(kept) <= set(whole)
        left = np.setdiff1d(whole, kept)
        assert not set(notes.clusters[kept]) & set(notes.clusters[left])
    assert notes.labels.matrix[small.train].any(axis=0).all()
    again, other = (thinned(split, notes, share, draw) for draw in (0, 1))
    assert np.array_equal(small.train, again.train)
    assert not np.array_equal(small.train, other.train)


def test_a_study_with_a_curve(notes, tmp_path):
    design = {
        "name": "grow",
        "configurations": [{"model": "tfidf-logistic", "characters": [False, True]}],
        "curve": {"shares": [0.7, 0.2, 0.4], "draws": 2},
    }
    lines = []
    Study(notes, design, tmp_path).run(finished=lines.append)
    assert [line["status"] for line in lines] == ["done"] * 2 * (1 + 3 * 2)
    found = json.loads((tmp_path / "curves.json").read_text())
    split = make_split(notes)
    labelled = len(split.train) + len(split.validation)
    for row in found["configurations"]:
        assert [point["runs"] for point in row["points"]] == [2, 2, 2, 1]
        sizes = [point["notes"] for point in row["points"]]
        assert sizes == pytest.approx(
            [0.2 * labelled, 0.4 * labelled, 0.7 * labelled, labelled], abs=6
        )
        board = pl.read_csv(tmp_path / "leaderboard.csv").filter(
            pl.col("configuration_id") == row["configuration_id"]
        )
        assert row["points"][-1]["score"] == pytest.approx(board["test"].item())
    assert "How scores grow" in write_report(tmp_path).read_text()
    assert list(tmp_path.glob("sizes/*/cells/*/bundle")) == []
    # Nothing is fitted a second time.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("**/result.json")}
    Study(notes, design, tmp_path).run()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(before) == 14
