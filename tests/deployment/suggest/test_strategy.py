"""Uncertainty and diversity of what is drawn, against hand arithmetic and an explicit BADGE."""

import numpy as np
import pytest

from clinadapt.deployment.suggest import strategy


def test_residuals_and_uncertainty_by_hand():
    two = strategy.residuals("binary", np.array([[0.7, 0.3], [0.5, 0.5], [0.2, 0.8]]), 0.5)
    np.testing.assert_allclose(two, [[-0.3, 0.3], [-0.5, 0.5], [0.2, -0.2]])
    np.testing.assert_allclose(strategy.uncertainty(two), [0.3, 0.5, 0.2])
    # Odds of 1 to 9 at a threshold of 1 to 9 are even; 9 to 1 become 81 to 1.
    rare = strategy.residuals("binary", np.array([[0.9, 0.1], [0.1, 0.9], [1.0, 0.0]]), 0.1)
    np.testing.assert_allclose(strategy.uncertainty(rare), [0.5, 1 / 82, 9e-6], atol=1e-7)
    three = strategy.residuals("multiclass", np.array([[0.5, 0.3, 0.2]]), float("nan"))
    np.testing.assert_allclose(three, [[-0.5, 0.3, 0.2]])
    several = np.array([[0.9, 0.1, 0.4], [1.0, 0.0, 1.0]])
    found = strategy.residuals("multilabel", several, 0.2)
    np.testing.assert_allclose(found, [[-0.1, 0.1, 0.4], [0, 0, 0]])
    np.testing.assert_allclose(strategy.uncertainty(found), [0.4, 0.0])


def _explicit(residuals, vectors, n, generator):
    """k-means++ on the gradients, written out."""
    gradients = np.einsum("ik,id->ikd", residuals, vectors).reshape(len(vectors), -1)
    distance, chosen = (gradients**2).sum(axis=1), []
    for _ in range(n):
        distance[chosen] = 0
        chosen.append(int(generator.choice(len(vectors), p=distance / distance.sum())))
        distance = np.minimum(distance, ((gradients - gradients[chosen[-1]]) ** 2).sum(axis=1))
    return chosen


def test_the_draw_is_k_means_plus_plus_on_gradients():
    generator = np.random.default_rng(0)
    probabilities = generator.dirichlet(np.ones(4), 60)
    residuals = strategy.residuals("multiclass", probabilities, float("nan"))
    vectors = generator.normal(size=(60, 5))
    found = strategy.choose(
        residuals, vectors, np.arange(60), 20, np.ones(60, int), np.random.default_rng(7)
    )
    assert found.tolist() == _explicit(residuals, vectors, 20, np.random.default_rng(7))


@pytest.fixture
def pool():
    """Six topics of very unequal size, all equally uncertain, and as many certain notes."""
    sizes = [300, 40, 20, 10, 5, 5]
    topic = np.repeat(np.arange(6), sizes)
    noise = np.random.default_rng(0).normal(scale=0.02, size=(380, 6))
    vectors = np.vstack([np.eye(6)[topic] + noise] * 2)
    residuals = np.vstack([np.tile([-0.5, 0.5], (380, 1)), np.tile([-0.01, 0.01], (380, 1))])
    return residuals, vectors, np.r_[topic, topic]


def test_rare_topics_are_found_sooner_than_at_random(pool):
    residuals, vectors, topic = pool
    found, at_random = [], []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        chosen = strategy.choose(
            residuals, vectors, np.arange(760), 8, np.ones(760, int), generator
        )
        found.append(len(set(topic[chosen])))
        at_random.append(len(set(topic[generator.permutation(380)[:8]])))
    assert np.mean(found) > 5.5 > 3.5 > np.mean(at_random)


def test_uncertain_notes_come_before_certain_ones(pool):
    residuals, vectors, _ = pool
    quota, generator = np.ones(760, int), np.random.default_rng(0)
    chosen = strategy.choose(residuals, vectors, np.arange(760), 50, quota, generator)
    assert np.mean(chosen < 380) > 0.9


def test_quota_and_no_repetition_when_everything_ties():
    residuals, vectors = np.zeros((30, 2)), np.zeros((30, 1))
    patients, generator = np.arange(30) % 10, np.random.default_rng(0)
    for most, expected in ((1, 10), (2, 20), (5, 30)):
        quota = np.full(10, most)
        chosen = strategy.choose(residuals, vectors, patients, 100, quota, generator)
        assert len(chosen) == len(set(chosen.tolist())) == expected
        assert np.bincount(chosen % 10).max() == min(most, 3)
        assert (quota == most).all()
    quota = np.array([-1, 0, 1, 2, 3, 4, 0, 0, 0, 0])
    chosen = strategy.choose(residuals, vectors, patients, 100, quota, generator)
    assert np.bincount(chosen % 10, minlength=10).tolist() == [0, 0, 1, 2, 3, 3, 0, 0, 0, 0]
    assert not len(strategy.choose(residuals[:0], vectors[:0], patients[:0], 5, quota, generator))


def test_vectors_group_notes_by_their_words():
    texts = [f"fievre toux {n}" for n in range(9)] + [f"fracture du poignet {n}" for n in range(9)]
    found = strategy.vectors(texts)
    alike = found @ found.T
    assert np.allclose(np.diag(alike), 1)
    assert alike[:9, :9].min() > 0.9 > 0.1 > alike[:9, 9:].max()
    nothing_shared = strategy.vectors(["alpha beta", "gamma delta", "epsilon zeta", "eta theta"])
    assert nothing_shared.tolist() == [[1.0]] * 4
    assert len(strategy.vectors(["toux"])) == 1
