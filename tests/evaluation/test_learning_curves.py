"""Learning curves: planted laws and crossings are recovered, and forecasts are checked."""

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
from clinadapt.evaluation.learning_curves import Curves, Grower, SizeResults
from clinadapt.models import registry

NOTES = (50, 100, 200, 400, 800, 1600)
TEST_NOTES, DRAWS = 3_000, 3


def grower(name, law, generator, positive, model="tfidf-logistic", sizes=NOTES, price=1.0):
    """Build a configuration whose accuracy follows a law, with some noise in each draw."""
    a, b, c = law
    results = []
    for notes in sizes:
        accuracy = a - b * notes**-c + generator.normal(0, 0.003, DRAWS)
        predicted = [
            np.where(generator.random(len(positive)) < one, positive, ~positive) for one in accuracy
        ]
        results.append(
            SizeResults(notes, [predictions(one) for one in predicted], price, price * 1e9)
        )
    return Grower(name, name.upper(), model, registry.models()[model].cls.kind, results)


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


def test_more_time_pays_off_where_a_slower_configuration_is_significantly_better(two):
    """The steep curve is the cheap one: behind at 50 notes, and ahead at 1,600."""

    def steps(number):
        return [(step.label, step.price) for step in two.ladder(number, lambda s: s.seconds)]

    assert steps(0) == [("STEEP", 1.0), ("FLAT", 2.0)]
    assert steps(len(NOTES) - 1) == [("STEEP", 1.0)]
    sentences = two.sentences()
    assert (
        "With 50 labelled notes: STEEP needs the least time, and more time pays off with FLAT "
        "(from 2 s); STEEP needs the least memory, and more memory pays off with FLAT (from 2 GB)."
    ) in sentences
    assert (
        "With 1,600 labelled notes: nothing that needs more time than STEEP scores significantly "
        "better; nothing that needs more memory than STEEP scores significantly better."
    ) in sentences


def test_a_planted_law_is_found(two):
    for name, (a, b, c) in (("steep", STEEP), ("flat", FLAT)):
        law = two.laws[name]
        for notes in NOTES:
            assert law.at(notes).value == pytest.approx(a - b * notes**-c, abs=0.02)
            forecast = law.at(notes)
            assert forecast.low <= forecast.value <= forecast.high


def test_a_forecasts_interval_covers_the_truth(two):
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
    crossing = two.crossing(flat, steep)
    assert crossing.low <= CROSSING <= crossing.high
    assert crossing.value == pytest.approx(CROSSING, rel=0.35)
    assert two.crossing(steep, flat) is None  # the other way round nothing is overtaken
    (sentence, *_) = two.sentences()
    assert sentence.startswith("Below about ")
    assert "FLAT does better; above, STEEP." in sentence


def test_a_lead_at_every_size_is_reported():
    high, low = (0.9, 0.5, 0.5), (0.7, 0.5, 0.5)
    sentence = curves(high=(high, "pretrained"), low=(low, "tfidf-logistic")).sentences()[0]
    assert "HIGH does better than LOW at every size tried (50 to 1,600" in sentence
    assert "significant at 6 of 6 sizes" in sentence


def test_equal_curves_are_not_reported_to_cross():
    same = (0.8, 0.5, 0.5)
    sentence = curves(one=(same, "pretrained"), other=(same, "transformer")).sentences()[0]
    assert "does better" not in sentence
    assert "change places with certainty" in sentence


def test_a_crossing_without_significant_differences_on_both_sides_is_not_reported():
    # √n = 0.4 / 0.05: they cross at 64, where only the smallest size lies below, by a hair.
    slow, quick = (0.85, 0.9, 0.5), (0.80, 0.5, 0.5)
    sentence = curves(slow=(slow, "pretrained"), quick=(quick, "transformer")).sentences()[0]
    assert not sentence.startswith("Below about")
    assert "At 3 of the 6 sizes tried (50 to 1,600 labelled notes) the difference" in sentence
    assert sentence.endswith("is significant: SLOW does better at 400, 800, 1,600.")


def test_too_few_sizes_give_points_and_no_law():
    generator = np.random.default_rng(1)
    positive = generator.random(500) < 0.5
    configuration = grower("few", STEEP, generator, positive, sizes=NOTES[:3])
    few = Curves([configuration], labels_of(positive), np.arange(500), "accuracy")
    assert few.laws == few.held_out == {}
    (entry,) = few.to_json()["configurations"]
    assert [point["notes"] for point in entry["points"]] == [50, 100, 200]
    assert entry["fitted"] == []
    assert entry["held_out"] is None


def test_less_loss_is_growth():
    generator = np.random.default_rng(2)
    positive = generator.random(TEST_NOTES) < 0.5
    configuration = grower("configuration", STEEP, generator, positive)
    brier = Curves([configuration], labels_of(positive), np.arange(TEST_NOTES), "brier")
    (entry,) = brier.to_json()["configurations"]
    scores = [point["score"] for point in entry["points"]]
    assert scores == sorted(scores, reverse=True)
    assert brier.laws["configuration"].gain(1600, 1600).value > 0
    fitted = entry["fitted"]
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
    curves = json.loads((tmp_path / "curves.json").read_text())
    split = make_split(notes)
    labelled = len(split.train) + len(split.validation)
    for entry in curves["configurations"]:
        assert [point["runs"] for point in entry["points"]] == [2, 2, 2, 1]
        sizes = [point["notes"] for point in entry["points"]]
        assert sizes == pytest.approx(
            [0.2 * labelled, 0.4 * labelled, 0.7 * labelled, labelled], abs=6
        )
        board = pl.read_csv(tmp_path / "leaderboard.csv").filter(
            pl.col("configuration_id") == entry["configuration_id"]
        )
        assert entry["points"][-1]["score"] == pytest.approx(board["test"].item())
    assert "Learning curves" in write_report(tmp_path).read_text()
    assert list(tmp_path.glob("sizes/*/cells/*/bundle")) == []
    # Nothing is trained a second time.
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("**/result.json")}
    Study(notes, design, tmp_path).run()
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(before) == 14
