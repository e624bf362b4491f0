"""Notes to score, and checks of the output."""

import numpy as np
import polars as pl

SECRET = "SECRETWORD"


def texts(n):
    return [
        f"enfant {'fievre toux' if at % 2 else 'apyretique'} jour {at % 5}, note {at}"
        for at in range(n)
    ]


def aside_of(path):
    return pl.read_csv(path, infer_schema=False).rows()


def assert_probabilities(frame, classifier, by_id):
    """Assert that each note of `by_id` occurs once, with the probability of the classifier."""
    assert sorted(frame["id"]) == sorted(by_id)
    expected = classifier.predict_proba([by_id[id] for id in frame["id"]])
    np.testing.assert_allclose(frame["prob_1"], expected[:, 1], atol=1e-12)
