"""A server that leaves notes to a person."""

import numpy as np
import pytest
from fitted_models import TEXTS, abstaining, fitted
from served import client_of

from clinadapt import TfidfLogistic, load
from clinadapt.core.errors import InputError
from clinadapt.deployment.server.app import make_app
from clinadapt.deployment.server.models import Models
from clinadapt.evaluation.abstention import Promise


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    root = tmp_path_factory.mktemp("bundles")
    return {task: abstaining(task).save(root / task) for task in ("binary", "multilabel")}


def answers_of(models):
    with client_of(make_app(models)) as client:
        answer = client.post("/predict", json={"notes": TEXTS[:12]})
    assert answer.status_code == 200
    return answer.json()


def test_answers_say_what_is_left_and_what_may_be_right(bundles):
    content = answers_of(Models(bundles, promise=Promise()))
    assert [(task["risk"], task["coverage"]) for task in content["tasks"]] == [(0.05, 0.9)] * 2
    for number, (task, folder) in enumerate(bundles.items()):
        classifier = load(folder)
        probabilities = classifier.in_label_order(classifier.predict_proba(TEXTS[:12]))
        _, left = classifier.abstention_.band(0.05).answer(task, probabilities)
        given = [note["answers"][number] for note in content["notes"]]
        names = np.array([str(label) for label in classifier.label_classes_])
        assert [one["undecided"] for one in given] == [names[row].tolist() for row in left]
        sets = [
            names[row].tolist() for row in probabilities >= classifier.abstention_.sets[0].least[0]
        ]
        assert [one["prediction_set"] for one in given] == sets
        assert left.any(axis=1).sum() > 0


def test_without_a_promise_they_are_null(bundles):
    content = answers_of(Models(bundles))
    assert {task["risk"] for task in content["tasks"]} == {None}
    for note in content["notes"]:
        for answer in note["answers"]:
            assert answer["undecided"] is answer["prediction_set"] is None


def test_a_bundle_that_cannot_is_refused_at_the_start(bundles, tmp_path):
    old = fitted(TfidfLogistic(), "binary").save(tmp_path / "old")
    with pytest.raises(InputError) as refusal:
        Models({**bundles, "old": old}, promise=Promise(coverage=0.5))
    assert len(refusal.value.problems) == 3
