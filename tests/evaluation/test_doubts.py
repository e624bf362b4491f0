"""What is said against a choice: alike configurations, few patients, weak answers."""

from dataclasses import replace

import numpy as np
import pytest
from simulated import draw, entrants_of, labels_of, predictions

from clinadapt.data.labels import from_single
from clinadapt.evaluation.doubts import doubts_of, rarest_class
from clinadapt.evaluation.recommendation import Evidence


def evidence_of(accuracies, patients=150, seed=0, margin=0.01, unrepeated=False):
    drawn = draw(patients, accuracies, np.random.default_rng(seed))
    entrants, labels, clusters = entrants_of(*drawn, unrepeated=unrepeated)
    return Evidence(
        entrants, labels, labels, labels, clusters, clusters, "f1", margin, resamples=300
    )


def test_alike_configurations_and_positive_patients_are_counted():
    evidence = evidence_of((0.9, 0.9, 0.6), 300)
    doubts = doubts_of(evidence)
    assert (doubts.others, doubts.alike) == (2, 1)
    positive = evidence.labels.matrix[:, 1]
    assert doubts.test == doubts.validation == len(np.unique(evidence.clusters[positive]))
    first, second, *_ = doubts.sentences()
    assert first == (
        f"The choice stands on {doubts.test} validation patients of class 1, the test scores on "
        f"{doubts.test}."
    )
    assert second == "1 of 2 other configurations is not significantly different from model 0."


def test_the_rarest_class_is_the_positive_one_or_that_of_the_fewest_patients():
    several = from_single(["a", "a", "b", "b", "b", "c", "c"])
    clusters = np.array([0, 1, 2, 2, 2, 3, 4])
    rarest, patients = rarest_class(several, clusters)
    assert (several.classes[rarest], patients) == ("b", 1)
    binary = labels_of(np.array([True, True, True, False]))
    assert rarest_class(binary, np.arange(4)) == (1, 3)


def test_so_many_more_patients_would_tell():
    """Half of the interval shrinks with the root of their number, to the margin."""
    evidence = evidence_of((0.9, 0.9), 200, margin=0.02)
    assert evidence.status == "candidate"
    doubts = doubts_of(evidence)
    (difference,) = evidence.scores.differences([("0", "1")]).values()
    factor = ((difference.high - difference.low) / 2 / 0.02) ** 2
    assert doubts.more == pytest.approx(200 * (factor - 1), abs=1)
    assert doubts.rival == "model 1"
    (sentence,) = (one for one in doubts.sentences() if "would tell" in one)
    assert sentence.endswith("more test patients would tell it from model 1.")
    # With these patients added, the same configurations are told apart, or shown to be as good.
    enough = evidence_of((0.9, 0.9), 200 + doubts.more, margin=0.02)
    assert enough.status == "recommended"
    assert doubts_of(enough).more is None


def test_one_configuration_is_compared_with_the_constant_answer():
    doubts = doubts_of(evidence_of((0.9,)))
    assert doubts.others == 0
    assert doubts.against_constant.low > 0
    assert any(
        "the same answer to every note, it gains +" in sentence for sentence in doubts.sentences()
    )


@pytest.mark.parametrize("flipped", ["precision", "recall"])
def test_weak_answers_are_named(flipped):
    evidence = evidence_of((0.9,))
    positive = evidence.labels.matrix[:, 1]
    rank = np.arange(len(positive))
    # Everything is called positive, or a tenth of what is.
    answer = positive | (rank % 3 > 0) if flipped == "precision" else positive & (rank % 10 == 0)
    (entrant,) = evidence.entrants
    weak = replace(evidence, entrants=[replace(entrant, predictions=[predictions(answer)])])
    doubts = doubts_of(weak)
    assert list(doubts.weak) == [flipped]
    assert any(f"({flipped} 0." in sentence for sentence in doubts.sentences())
    assert not doubts_of(evidence).weak


def test_one_seed_of_a_random_training_is_named():
    assert any("no variance of seeds" in one for one in doubts_of(
        evidence_of((0.9, 0.8), unrepeated=True)
    ).sentences())  # fmt: skip
    assert not any("seeds" in one for one in doubts_of(evidence_of((0.9, 0.8))).sentences())


def test_where_nothing_was_learned_more_patients_are_counted_for_the_constant_answer():
    evidence = evidence_of((0.8, 0.8))
    noise = labels_of(np.random.default_rng(1).random(len(evidence.clusters)) < 0.3)
    doubts = doubts_of(replace(evidence, labels=noise, train=noise))
    assert doubts.chosen == "model 0"  # the leader on validation
    assert doubts.more is None or doubts.rival == "a constant answer"
    assert doubts.to_json()["against_constant"]["different"] in (True, False)
