"""Classes told by neighbours and by keys, against hand arithmetic and by simulation."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from clinadapt.data.labels import from_single
from clinadapt.data.text_store import Texts
from clinadapt.study.checks.following import (
    REACH,
    GroupShares,
    NeighbourShares,
    patient_weights,
    strongest,
)
from clinadapt.study.checks.label_order import natural_order


def test_shares_of_neighbours_leave_out_the_own_patient():
    generator = np.random.default_rng(0)
    clusters = generator.integers(0, 12, 60)
    carried = generator.random(60) < 0.4
    order = generator.permutation(60)
    found = NeighbourShares(order, clusters)(carried)
    # Places: stretches of one patient in the order, each with the mean of its notes.
    places, of_note = [], np.empty(60, dtype=int)
    for note in order:
        if not places or places[-1][0] != clusters[note]:
            places.append((clusters[note], []))
        places[-1][1].append(carried[note])
        of_note[note] = len(places) - 1
    for note in range(60):
        at = of_note[note]
        near = [
            np.mean(values)
            for owner, values in places[max(0, at - REACH) : at + REACH + 1]
            if owner != clusters[note]
        ]
        assert found[note] == pytest.approx((sum(near) + carried.mean()) / (len(near) + 1))


def test_shares_of_a_key_leave_out_the_own_patient():
    keys = ["a", "a", "a", "b", "", ""]
    clusters = np.array([0, 0, 1, 2, 3, 4])
    carried = np.array([True, False, True, False, True, False])
    shares = GroupShares(keys, clusters)(carried)
    # The first two see the third, which sees both; the others see nobody.
    assert shares == pytest.approx([1.5 / 2, 1.5 / 2, 1.5 / 3, 0.5, 0.5, 0.5])


def test_the_area_counts_each_patient_once():
    generator = np.random.default_rng(3)
    clusters = np.repeat(np.arange(60), generator.integers(1, 9, 60))
    carried = (clusters % 2).astype(bool)
    scores = carried + generator.normal(0, 0.3, len(clusters))
    labels = from_single(["p" if one else "n" for one in carried], "p")
    found = strongest(labels, clusters, lambda carried: scores)
    weights = patient_weights(carried, clusters)
    assert found.auroc == pytest.approx(roc_auc_score(carried, scores, sample_weight=weights))
    assert (found.patients, found.others) == (30, 30)


def test_few_patients_cannot_follow_anything():
    labels = from_single(["p"] * 5 + ["n"] * 100, "p")
    assert strongest(labels, np.arange(105), lambda carried: carried.astype(float)) is None
    labels = from_single(["p"] * 8 + ["n"] * 100, "p")
    assert strongest(labels, np.arange(108), lambda carried: carried.astype(float)) is not None


def test_random_labels_do_not_follow_an_order():
    for seed in range(40):
        generator = np.random.default_rng(seed)
        clusters = generator.integers(0, 120, 300)
        labels = from_single([f"c{number}" for number in generator.integers(0, 5, 300)])
        assert strongest(labels, clusters, NeighbourShares(np.arange(300), clusters)) is None


def test_a_class_in_the_middle_of_the_table_is_seen():
    labels = from_single(["a"] * 40 + ["b"] * 40 + ["c"] * 40)
    clusters = np.arange(120)
    assert strongest(labels, clusters, NeighbourShares(np.arange(120), clusters)).auroc > 0.99


def test_numbers_within_names_count_as_numbers():
    names = ["p10", "p9", "a2x", "p9b", "7", "p09"]
    assert natural_order(Texts.of(names)).tolist() == [4, 2, 1, 5, 3, 0]
