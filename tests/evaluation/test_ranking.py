"""Curves of ROC, precision and recall, compared with scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from clinadapt.evaluation.ranking import precision_recall_curve, roc_curve


@pytest.mark.parametrize("ties", [False, True])
def test_curves_are_those_of_scikit_learn(ties):
    generator = np.random.default_rng(3)
    labels = generator.random(200) < 0.3
    scores = generator.random(200) + 0.4 * labels
    scores = scores.round(1) if ties else scores
    for ours, theirs in (
        (roc_curve(labels, scores), metrics.roc_curve(labels, scores)),
        (
            precision_recall_curve(labels, scores),
            metrics.precision_recall_curve(labels, scores, drop_intermediate=True),
        ),
    ):
        for mine, expected in zip(ours, theirs, strict=False):
            np.testing.assert_allclose(mine, expected)


def test_curves_by_hand():
    labels = np.array([True, False, True])
    false_rates, true_rates = roc_curve(labels, np.array([0.9, 0.5, 0.1]))
    assert false_rates.tolist() == [0, 0, 1, 1]
    assert true_rates.tolist() == [0, 0.5, 0.5, 1]
    precisions, recalls = precision_recall_curve(labels, np.array([0.9, 0.5, 0.1]))
    assert precisions.tolist() == pytest.approx([2 / 3, 1 / 2, 1, 1])
    assert recalls.tolist() == [1, 0.5, 0.5, 0]
