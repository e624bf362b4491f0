"""Curves of ROC, precision and recall, compared with scikit-learn and by hand."""

import numpy as np
import pytest
from sklearn import metrics

from clinadapt.evaluation.ranking import precision_recall_curve, roc_curve


@pytest.fixture(params=["ties", "no ties"])
def ranked(request):
    generator = np.random.default_rng(3)
    labels = generator.random(200) < 0.3
    scores = generator.random(200) + 0.4 * labels
    return labels, scores.round(1) if request.param == "ties" else scores


def test_roc_curve_has_the_corners_of_scikit_learns(ranked):
    false_rates, true_rates = roc_curve(*ranked)
    theirs = metrics.roc_curve(*ranked, drop_intermediate=False)[:2]
    every = set(zip(*(rates.round(9) for rates in theirs), strict=True))
    assert set(zip(false_rates.round(9), true_rates.round(9), strict=True)) <= every
    area = np.trapezoid(true_rates, false_rates)
    assert area == pytest.approx(metrics.roc_auc_score(*ranked))


def test_precision_recall_curve_is_scikit_learns(ranked):
    theirs = metrics.precision_recall_curve(*ranked, drop_intermediate=True)
    for mine, expected in zip(precision_recall_curve(*ranked), theirs, strict=False):
        np.testing.assert_allclose(mine, expected)


def test_curves_by_hand():
    labels = np.array([True, False, True])
    false_rates, true_rates = roc_curve(labels, np.array([0.9, 0.5, 0.1]))
    assert false_rates.tolist() == [0, 0, 1, 1]
    assert true_rates.tolist() == [0, 0.5, 0.5, 1]
    precisions, recalls = precision_recall_curve(labels, np.array([0.9, 0.5, 0.1]))
    assert precisions.tolist() == pytest.approx([2 / 3, 1 / 2, 1, 1])
    assert recalls.tolist() == [1, 0.5, 0.5, 0]
