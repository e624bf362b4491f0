"""Subgroups: levels of columns, scores on each, and gaps that are planted or absent."""

import numpy as np
import pytest
from simulated import draw, f1, labels_of, predictions

from clinadapt.data.text_store import Texts
from clinadapt.evaluation import metrics, subgroups
from clinadapt.evaluation.subgroups import LENGTH, OTHER, UNKNOWN, compare_subgroups, levels_of


def levels(**columns):
    texts = Texts.of(["a b c"] * len(next(iter(columns.values()))))
    found = levels_of(texts, {name: Texts.of(values) for name, values in columns.items()})
    return {name: [item.names[code] for code in item.codes] for name, item in found.items()}


def names(values):
    texts = Texts.of(["a"] * len(values))
    return levels_of(texts, {"column": Texts.of(values)})["column"].names


def test_frequent_values_are_levels_and_rare_ones_are_grouped():
    values = ["f"] * 30 + ["m"] * 20 + ["x"] * 9 + ["y"] * 3 + [""] * 2
    assert levels(sex=values)["sex"] == ["f"] * 30 + ["m"] * 20 + [OTHER] * 12 + [UNKNOWN] * 2
    assert names(values) == ["f", "m", OTHER, UNKNOWN]


def test_few_numbers_are_levels_in_their_order():
    assert names(["10"] * 10 + ["9"] * 10 + ["8.5"] * 10) == ["8.5", "9", "10"]


def test_many_numbers_become_quarters():
    ages = np.random.default_rng(0).permutation(np.arange(100)).astype(str).tolist()
    found = levels(age=[*ages, ""])["age"]
    assert found[-1] == UNKNOWN
    for age, level in zip(ages, found, strict=False):
        low, high = {
            "below 24": (0, 24),
            "24 to below 49": (24, 49),
            "49 to below 74": (49, 74),
            "74 and more": (74, 100),
        }[level]
        assert low <= int(age) < high
    assert names(ages) == ["below 24", "24 to below 49", "49 to below 74", "74 and more"]


def test_length_is_always_included_and_a_single_level_is_no_subgroup():
    texts = Texts.of(["word " * n for n in (1, 2, 3, 4) * 10])
    found = levels_of(texts, {})
    assert list(found) == [LENGTH]
    assert found[LENGTH].names == [
        "below 2 words",
        "2 to below 3 words",
        "3 words and more",
    ]
    same = levels_of(Texts.of(["one two"] * 20), {})
    labels = labels_of(np.arange(20) % 2 == 0)
    assert compare_subgroups(labels, np.arange(20), "f1", [], same) == []


@pytest.fixture(scope="module")
def planted():
    """Women's notes are classified worse: accuracy 0.70 instead of 0.95."""
    generator = np.random.default_rng(3)
    clusters, positive, (good, bad) = draw(500, (0.95, 0.70), generator)
    woman = (generator.random(500) < 0.4)[clusters]
    predicted = np.where(woman, bad, good)
    ward = generator.choice(["a", "b", "c"], 500)[clusters]
    sex = np.where(woman, "f", "m")
    texts = Texts.of(["note"] * len(clusters))
    columns = levels_of(texts, {"sex": Texts.of(sex.tolist()), "ward": Texts.of(ward.tolist())})
    subgroups = compare_subgroups(
        labels_of(positive), clusters, "f1", [predictions(predicted)], columns
    )
    return clusters, positive, predicted, sex, ward, subgroups


def test_scores_and_gaps_are_those_counted_by_hand(planted):
    clusters, positive, predicted, sex, ward, compared = planted
    assert [(item.column, item.level) for item in compared] == [
        ("sex", "f"),
        ("sex", "m"),
        ("ward", "a"),
        ("ward", "b"),
        ("ward", "c"),
    ]
    for item in compared:
        own = (sex if item.column == "sex" else ward) == item.level
        assert item.notes == own.sum()
        assert item.patients == len(set(clusters[own]))
        assert item.positive == pytest.approx(positive[own].mean())
        assert item.score.value == pytest.approx(f1(positive[own], predicted[own]))
        assert item.score.low < item.score.value < item.score.high
        gap = f1(positive[own], predicted[own]) - f1(positive[~own], predicted[~own])
        assert item.gap.value == pytest.approx(gap)


def test_only_a_planted_gap_is_significant(planted):
    by_level = {(item.column, item.level): item for item in planted[-1]}
    assert by_level["sex", "f"].gap.different
    assert by_level["sex", "f"].gap.value < -0.1
    assert not any(item.gap.different for key, item in by_level.items() if key[0] == "ward")
    first, *others = subgroups.sentences(planted[-1])
    assert first.startswith("The worst of 5 subgroups is sex f (")
    assert first.endswith("compared with the other notes, which is significant.")
    (other,) = others
    assert other.startswith("Also significantly different: sex m (")


def test_a_patient_on_both_sides_counts_on_both():
    """All notes of one patient: a resample scales both sides alike, so the gap never varies."""
    positive = np.array([True, False, True, False])
    predicted = np.array([True, False, False, False])
    columns = {"half": subgroups.Levels(["x", "y"], np.array([0, 0, 1, 1]))}
    labels, clusters = labels_of(positive), np.zeros(4, dtype=np.int64)
    first, second = compare_subgroups(
        labels, clusters, "accuracy", [predictions(predicted)], columns
    )
    assert (first.gap.value, second.gap.value) == (0.5, -0.5)
    assert not first.gap.different  # one patient proves nothing
    several = np.array([0, 1, 0, 1])
    each = compare_subgroups(labels, several, "accuracy", [predictions(predicted)], columns)
    resamples = [
        weights
        for chunk in metrics.resample_weights(several, 1000, 0)
        for weights in chunk
    ]  # fmt: skip
    gaps = [
        np.average((positive == predicted)[:2], weights=w[:2])
        - np.average((positive == predicted)[2:], weights=w[2:])
        for w in resamples
    ]
    assert each[0].gap.error == pytest.approx(np.std(gaps, ddof=1))


def test_a_lower_loss_is_better():
    positive = np.array([True, False] * 20)
    sure = np.column_stack([~positive, positive]).astype(float)
    unsure = np.full((40, 2), 0.5)
    early = np.arange(40) < 20
    columns = {"half": subgroups.Levels(["early", "late"], (~early).astype(np.int64))}
    probabilities = np.where(early[:, None], sure, unsure)
    compared = compare_subgroups(
        labels_of(positive), np.arange(40), "brier", [(probabilities, sure > 0.5)], columns
    )
    assert compared[0].gap.value > 0 > compared[1].gap.value
    assert subgroups.sentences(compared)[0].startswith("The worst of 2 subgroups is half late")
