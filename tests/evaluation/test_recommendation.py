"""Conclusions from a study: relevant pairs, groups, and when nothing is recommended."""

from dataclasses import replace

import numpy as np
import pytest
from simulated import draw, f1, labels_of, predictions

from clinadapt.data.labels import from_sets, from_single
from clinadapt.evaluation.constant_answer import CONSTANT, constant_answer
from clinadapt.evaluation.entrants import Entrant
from clinadapt.evaluation.recommendation import Evidence
from clinadapt.models import registry

PLAIN = {"encoder": "e", "adapter": "none", "tuned_layers": 0, "epochs": None}
SETTINGS = {
    "tfidf": ("tfidf-logistic", {"characters": False}),
    "words": ("tfidf-logistic", {"characters": True}),
    "frozen": ("pretrained", PLAIN),
    "adapter": ("pretrained", PLAIN | {"adapter": "bottleneck"}),
    "tuned": ("pretrained", PLAIN | {"tuned_layers": 2}),
    "other": ("pretrained", PLAIN | {"encoder": "f", "adapter": "bottleneck"}),
}


def evidence_of(accuracies, patients=150, seed=0, validation=None, margin=0.01, unconfirmed=()):
    """Build evidence of configurations of given accuracy, each a second slower than the last."""
    generator = np.random.default_rng(seed)
    clusters, positive, predicted = draw(patients, list(accuracies.values()), generator)
    entrants = [
        Entrant(
            configuration_id=name,
            label=name.upper(),
            model=SETTINGS[name][0],
            kind=registry.models()[SETTINGS[name][0]].cls.kind,
            is_baseline=registry.models()[SETTINGS[name][0]].cls.is_baseline,
            settings=SETTINGS[name][1],
            validation=(validation or accuracies)[name],
            seconds=float(number),
            predictions=[predictions(one)],
            validated=[predictions(one if name not in unconfirmed else ~positive)],
            chosen=0,
        )
        for number, (name, one) in enumerate(zip(accuracies, predicted, strict=True))
    ]
    labels = labels_of(positive)
    return Evidence(
        entrants, labels, labels, labels, clusters, clusters, "f1", margin, resamples=200
    )


EVERY = {"tfidf": 0.8, "words": 0.82, "frozen": 0.8, "adapter": 0.9, "tuned": 0.85, "other": 0.8}


def test_validation_notes_must_confirm_that_a_configuration_is_useful():
    both = {"tfidf": 0.8, "adapter": 0.9}
    assert evidence_of(both).useful == {"tfidf": True, "adapter": True}
    one = evidence_of(both, unconfirmed=("adapter",))
    assert one.useful == {"tfidf": True, "adapter": False}
    assert one.recommended.configuration_id == "tfidf"
    assert evidence_of(both, unconfirmed=("tfidf", "adapter")).recommended is None


def test_the_relevant_pairs():
    questions = evidence_of(EVERY).questions
    assert {pair: sorted(asked) for pair, asked in questions.items()} == {
        ("adapter", "tfidf"): ["best"],
        ("adapter", "words"): ["best", "tfidf"],
        ("adapter", "frozen"): ["adapter", "best"],
        ("adapter", "tuned"): ["best"],
        ("adapter", "other"): ["best"],
        ("tuned", "frozen"): ["tuning"],
        ("tfidf", "words"): ["tfidf"],
        ("frozen", "words"): ["tfidf"],
        ("tuned", "words"): ["tfidf"],
        ("other", "words"): ["tfidf"],
    }


def test_each_pair_is_measured_once_and_all_are_corrected_together():
    evidence = evidence_of(EVERY)
    report = evidence.to_json()
    assert len(report["pairs"]) == len(evidence.questions)
    by_p = sorted(report["pairs"], key=lambda pair: pair["p"])
    assert by_p[0]["corrected_p"] == pytest.approx(min(1, by_p[0]["p"] * len(by_p)))


def test_a_group_is_not_significantly_different_from_its_best():
    evidence = evidence_of({"tfidf": 0.6, "words": 0.61, "frozen": 0.92, "adapter": 0.925}, 400)
    assert evidence.groups["frozen"] == evidence.groups["adapter"] == 1
    assert evidence.groups["tfidf"] == evidence.groups["words"] == 2


def test_the_cheapest_of_equals_is_recommended_where_the_notes_show_that_they_are():
    accuracies = {"tfidf": 0.9, "frozen": 0.9}
    validation = {"tfidf": 0.7, "frozen": 0.8}
    evidence = evidence_of(accuracies, 2500, validation=validation, margin=0.02)
    assert evidence.leader.configuration_id == "frozen"
    assert (evidence.recommended.configuration_id, evidence.status) == ("tfidf", "recommended")
    difference = evidence.scores.differences([("tfidf", "frozen")])["tfidf", "frozen"]
    assert difference.low > -0.02
    assert evidence.sentence() == (
        "TFIDF is recommended: it is the cheapest configuration of which the test notes show that "
        "it is at most 0.02 worse than any other useful one."
    )


def test_the_cheapest_of_equals_is_a_candidate_where_notes_are_few():
    accuracies = {"tfidf": 0.9, "frozen": 0.9}
    validation = {"tfidf": 0.7, "frozen": 0.8}
    evidence = evidence_of(accuracies, validation=validation, margin=0.02)
    difference = evidence.scores.differences([("tfidf", "frozen")])["tfidf", "frozen"]
    assert difference.value > -0.02 > difference.low
    assert (evidence.recommended.configuration_id, evidence.status) == ("tfidf", "candidate")
    assert 0.5 < evidence.certainty <= 1
    assert evidence.sentence().endswith(
        f"The confidence that it is at most 0.02 worse than FROZEN is {evidence.certainty:.0%}."
    )
    assert "TFIDF is a candidate" in evidence.sentence()


def test_a_truly_worse_configuration_is_not_recommended_for_its_price():
    """Two points worse, the margin one point: the test of non-inferiority passes 2.5 %."""
    passed = [
        evidence_of({"tfidf": 0.85, "frozen": 0.865}, 200, seed, margin=0.01) for seed in range(40)
    ]
    wrong = sum(
        one.status == "recommended" and one.recommended.configuration_id == "tfidf"
        for one in passed
    )
    assert wrong <= 3


def test_the_only_useful_configuration_has_no_rival():
    one = evidence_of({"tfidf": 0.85, "adapter": 0.9}, unconfirmed=("adapter",))
    assert one.status == "recommended"
    assert "the only configuration that is shown to be better" in one.sentence()


def test_a_significantly_better_configuration_takes_the_leaders_place():
    accuracies = {"tfidf": 0.8, "words": 0.93, "frozen": 0.8}
    validation = {"tfidf": 0.7, "words": 0.7, "frozen": 0.8}
    evidence = evidence_of(accuracies, 400, validation=validation)
    assert evidence.leader.configuration_id == "frozen"
    assert evidence.best.configuration_id == evidence.recommended.configuration_id == "words"
    assert evidence.status == "recommended"
    assert evidence.sentence().startswith("WORDS is recommended: it is the cheapest")


def test_a_cheaper_configuration_that_is_worse_is_not_recommended():
    evidence = evidence_of({"tfidf": 0.8, "frozen": 0.92}, 400)
    assert evidence.recommended.configuration_id == "frozen"
    assert evidence.certainty is None


def test_an_insignificant_difference_beyond_the_margin_is_not_recommended():
    evidence = evidence_of({"tfidf": 0.85, "frozen": 0.9}, patients=40, seed=4, margin=0.001)
    assert not evidence.differences["frozen", "tfidf"].different
    assert evidence.scores.value["frozen"] - evidence.scores.value["tfidf"] > 0.001
    assert evidence.recommended.configuration_id == "frozen"
    assert evidence.status == "candidate"
    assert evidence.sentence().startswith("FROZEN is a candidate: it leads on validation, but ")


def test_a_planted_difference_of_five_points_is_found():
    """1,600 test notes, as in the clinical paper; every study is drawn anew."""
    _, positive, predicted = draw(300_000, (0.85, 0.886), np.random.default_rng(3))
    assert f1(positive, predicted[1]) - f1(positive, predicted[0]) == pytest.approx(0.05, abs=0.005)
    differences = [
        evidence_of({"tfidf": 0.85, "frozen": 0.886}, 410, seed).differences["frozen", "tfidf"]
        for seed in range(25)
    ]
    assert np.mean([item.different and item.value > 0 for item in differences]) >= 0.8


@pytest.mark.parametrize("share", [0.1, 0.36, 0.5])
def test_nothing_is_recommended_where_nothing_was_learned(share):
    """Twenty studies whose labels are independent of every prediction."""
    for seed in range(20):
        generator = np.random.default_rng(seed)
        evidence = evidence_of(dict.fromkeys(SETTINGS, 0.8), seed=seed)
        noise = labels_of(generator.random(len(evidence.clusters)) < share)
        assert replace(evidence, labels=noise, train=noise).recommended is None, seed


def test_the_sentence_states_that_nothing_is_recommended():
    evidence = evidence_of({"tfidf": 0.8, "words": 0.8})
    noise = labels_of(np.random.default_rng(1).random(len(evidence.clusters)) < 0.3)
    evidence = replace(evidence, labels=noise, train=noise)
    assert "none is recommended" in evidence.sentence()
    assert evidence.to_json()["recommended"] is evidence.to_json()["status"] is None


def test_the_constant_answer_is_the_best_one_without_reading():
    rare = from_single(["no"] * 80 + ["yes"] * 20)
    _, predicted = constant_answer(rare, 3, "f1")
    assert predicted.tolist() == [[False, True]] * 3  # F1 of yes: 2 · 0.2 / 1.2; of no: 0
    probabilities, predicted = constant_answer(rare, 1, "accuracy")
    assert predicted.tolist() == [[True, False]]
    assert probabilities.tolist() == [[0.8, 0.2]]
    several = from_sets([["a", "b"]] * 6 + [["a"]] * 3 + [["c"]])
    _, predicted = constant_answer(several, 1, "accuracy")
    assert predicted.tolist() == [[True, True, False]]


def test_the_constant_answers_score_is_scikit_learns():
    evidence = evidence_of({"tfidf": 0.8, "words": 0.8})
    share = evidence.labels.matrix[:, 1].mean()
    assert evidence.scores.value[CONSTANT] == pytest.approx(2 * share / (1 + share))
