"""The training loop: accumulation, schedules, early stopping, resuming, randomness."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from clinadapt.core.errors import ClinadaptError
from clinadapt.core.rng import local_randomness
from clinadapt.features.note_sources import FeatureSource, TokenSource
from clinadapt.features.tokenization import Tokens
from clinadapt.models.tfidf_mlp import DenseNetwork
from clinadapt.neural.training import loop as training
from clinadapt.neural.training.batch_sources import SparseSource, VectorSource
from clinadapt.neural.training.loop import (
    Validation,
    best_epoch,
    epoch_batches,
    run,
    train,
)
from clinadapt.neural.training.losses import ClassLoss, Reconstruction
from clinadapt.neural.training.optimizer import Optimizer
from clinadapt.neural.training.recipe import Recipe

CPU = torch.device("cpu")


@pytest.fixture
def data():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(60, 8, generator=generator)
    return VectorSource(vectors), (vectors[:, 0] > 0.3).long().numpy()


def network(dropout=0.5) -> nn.Module:
    with local_randomness(0, 0):
        return DenseNetwork(8, 2, 16, dropout)


def weights(module):
    return torch.cat([weight.detach().flatten() for weight in module.parameters()])


def judged(source, target, score=None) -> Validation:
    loss = ClassLoss(target, 2, "none")
    right = torch.from_numpy(target)
    return Validation(
        source, loss, score or (lambda out: float((out.argmax(1) == right).float().mean()))
    )


def test_learns_a_learnable_task(data):
    source, target = data
    net = network(dropout=0.0)
    recipe = Recipe(epochs=60, batch_size=10, learning_rate=1e-2, patience=60)
    history = train(net, source, ClassLoss(target, 2), recipe, CPU, judged(source, target))
    assert max(entry["validation_score"] for entry in history) > 0.95
    assert history[-1]["loss"] < history[0]["loss"] / 2


def test_accumulated_batches_give_the_same_weights(data):
    source, target = data
    trained = []
    for limit in (10_000, 3):  # whole batches of 20 notes, or three notes at a time
        net = network(dropout=0.0)
        recipe = Recipe(epochs=2, batch_size=20, learning_rate=1e-2, max_batch_tokens=limit)
        train(net, source, ClassLoss(target, 2), recipe, CPU)
        trained.append(weights(net))
    torch.testing.assert_close(trained[0], trained[1], atol=1e-5, rtol=1e-4)


def test_one_step_is_adamw_by_hand():
    source = VectorSource(torch.tensor([[1.0, 2.0]]))
    layer = DenseNetwork(2, 2, 0, 0.0)
    with torch.no_grad():
        layer.layers[0].weight.zero_()
        layer.layers[0].bias.zero_()
    recipe = Recipe(
        epochs=1, batch_size=1, learning_rate=0.1, weight_decay=0.0, warmup=0.0, clip=1e9
    )
    train(layer, source, ClassLoss(np.array([1]), 2, "none"), recipe, CPU)
    # AdamW's first step moves every weight by the rate against the gradient's sign.
    expected = torch.tensor([[-0.1, -0.1], [0.1, 0.1]])
    torch.testing.assert_close(layer.layers[0].weight.detach(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("killed_after", [1, 2, 4])
def test_a_killed_fit_ends_with_the_same_weights(data, tmp_path, killed_after):
    source, target = data
    recipe = Recipe(epochs=6, batch_size=16, learning_rate=1e-2, patience=6)
    uninterrupted = network()
    history = train(
        uninterrupted, source, ClassLoss(target, 2), recipe, CPU, judged(source, target)
    )

    path = tmp_path / "checkpoint.pt"
    calls = 0

    def killing(out):
        nonlocal calls
        calls += 1
        if calls == killed_after + 1:
            raise KeyboardInterrupt
        return judged(source, target).score(out)

    with pytest.raises(KeyboardInterrupt):
        train(
            network(),
            source,
            ClassLoss(target, 2),
            recipe,
            CPU,
            judged(source, target, killing),
            checkpoint=path,
        )
    again = network()
    resumed = train(
        again, source, ClassLoss(target, 2), recipe, CPU, judged(source, target), checkpoint=path
    )
    assert resumed == history
    assert torch.equal(weights(again), weights(uninterrupted))


def test_stops_early_and_keeps_the_best_epoch(data):
    source, target = data
    scores = iter([0.1, 0.9, 0.5, 0.5, 0.5, 0.5])
    net = network()
    seen = []

    def score(out):
        seen.append(weights(net).clone())
        return next(scores)

    recipe = Recipe(epochs=20, batch_size=16, learning_rate=1e-2, patience=3)
    history = train(net, source, ClassLoss(target, 2), recipe, CPU, judged(source, target, score))
    assert len(history) == 5
    assert torch.equal(weights(net), seen[1])


def test_stopping_at_the_best_epoch_without_validation_gives_its_weights(data):
    """The rate falls as if all epochs followed, so that the weights are those of early stopping."""
    source, target = data
    loss, trained = ClassLoss(target, 2), []
    recipe = Recipe(epochs=12, batch_size=10, learning_rate=3e-2, patience=3)
    net = network()
    shuffled = np.random.default_rng(0).permutation(target)  # nothing to learn: it stops early
    history = train(net, source, loss, recipe, CPU, judged(source, shuffled))
    best = best_epoch(history)
    assert best < len(history) < 12
    trained.append(weights(net))
    net = network()
    stopped = train(net, source, loss, replace(recipe, stop_after=best), CPU)
    assert len(stopped) == best == best_epoch(stopped)
    assert torch.equal(trained[0], weights(net))


def test_callers_randomness_is_left_alone(data):
    source, target = data
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(network(), source, ClassLoss(target, 2), Recipe(2, 16, 1e-2), CPU)
    assert torch.equal(torch.rand(3), expected)


def test_seeds_decide_everything(data):
    source, target = data
    trained = {}
    for seed in (0, 0, 1):
        net = network()
        train(net, source, ClassLoss(target, 2), Recipe(2, 16, 1e-2, seed=seed), CPU)
        trained.setdefault(seed, []).append(weights(net))
    assert torch.equal(*trained[0])
    assert not torch.equal(trained[0][0], trained[1][0])


def test_a_loss_that_is_no_number_is_an_error(data):
    source, target = data
    source.vectors[3, 0] = float("nan")
    with pytest.raises(ClinadaptError, match="lower learning_rate"):
        train(network(), source, ClassLoss(target, 2), Recipe(1, 16, 1e-2), CPU)


def test_every_note_once_an_epoch_and_little_padding():
    lengths = np.random.default_rng(0).integers(1, 200, 1000)
    batches = epoch_batches(lengths, 16, seed=0, epoch=3)
    assert sorted(np.concatenate(batches)) == list(range(1000))
    padded = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert padded < 1.1 * lengths.sum()
    other = epoch_batches(lengths, 16, seed=0, epoch=4)
    assert [batch.tolist() for batch in batches] != [batch.tolist() for batch in other]


def test_schedule_rises_then_falls():
    factors = [training._schedule(step, 100, 0.1) for step in range(100)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == 1.0
    assert all(a > b for a, b in pairwise(factors[10:]))
    assert factors[-1] == pytest.approx(1 / 90)


def test_outputs_come_in_the_order_of_the_notes():
    ids = np.arange(1, 11, dtype=np.int32)
    tokens = Tokens(ids, np.array([0, 4, 5, 10]), np.array([0, 1, 2, 3]), truncated=0)

    class Sum(nn.Module):
        def forward(self, batch):
            return (batch.inputs * batch.mask).sum(1, keepdim=True).float(), torch.zeros(())

    out = run(Sum(), TokenSource(tokens), CPU, torch.float32)
    assert out.flatten().tolist() == [10.0, 5.0, 40.0]


# ---------------------------------------------------------------- objectives and sources


def test_balanced_weights_are_scikit_learns():
    from sklearn.utils.class_weight import compute_class_weight

    target = np.array([0] * 70 + [1] * 20 + [2] * 10)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=target)
    np.testing.assert_allclose(ClassLoss(target, 3).present.numpy(), expected, rtol=1e-6)


def test_class_loss_by_hand():
    target = np.array([0, 0, 0, 1])
    loss = ClassLoss(target, 2)  # weights 2/3 and 2
    output = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    value = loss(output, torch.tensor([0, 3]), None)
    assert value.item() == pytest.approx(2 / 3 * math.log(2) + 2 * math.log(4), rel=1e-6)


def test_multilabel_loss_by_hand():
    target = np.array([[1, 0], [0, 0], [0, 1], [0, 1]])
    loss = ClassLoss(target, 2, "balanced")
    value = loss(torch.zeros(1, 2), torch.tensor([0]), None)
    # present label, share 1/4: weight 2; absent label, share 1/2: weight 1; mean over labels.
    assert value.item() == pytest.approx((2 + 1) * math.log(2) / 2, rel=1e-6)


def test_reconstruction_by_hand():
    source = VectorSource(torch.tensor([[1.0, 2.0], [0.0, 0.0]]))
    batch = source.batch(np.array([0, 1]))
    assert Reconstruction()(torch.ones(2, 2), None, batch).item() == 0 + 1 + 1 + 1


def test_sparse_and_dense_sources_agree():
    from scipy import sparse

    dense = np.random.default_rng(0).random((5, 4)) * (np.arange(20).reshape(5, 4) % 3 == 0)
    rows = np.array([4, 0, 2])
    ours = SparseSource(sparse.csr_matrix(dense)).batch(rows)
    np.testing.assert_allclose(ours.inputs[:, 0].numpy(), dense[rows], rtol=1e-6)


def test_windows_of_a_note_are_averaged():
    from clinadapt.features.cache_shards import Shard
    from clinadapt.features.feature_cache import Features

    lengths = np.array([2, 1, 3])
    rows = torch.arange(12.0).reshape(6, 2)
    shard = Shard(rows, np.empty((3, 2), np.uint64), lengths, 0.0)
    features = Features(
        [shard], shard=np.zeros(3, dtype=np.int64), start=np.array([0, 2, 3]), length=lengths
    )
    source = FeatureSource(features, first=np.array([0, 2, 3]))  # note 0 has two windows
    assert source.lengths.tolist() == [3, 3]
    pooled = source.pooled("mean").vectors
    first = (rows[0:2].mean(0) + rows[2]) / 2
    torch.testing.assert_close(pooled, torch.stack([first, rows[3:6].mean(0)]))
    again = source.batch(np.array([1, 0]))
    assert again.note.tolist() == [0, 1, 1]
    assert again.inputs[0, :3].tolist() == rows[3:6].tolist()


@pytest.mark.parametrize("lean", [False, True])
def test_the_optimizer_is_torchs_with_two_rates(lean):
    """Decay on matrices alone, a rate for each kind, and no moments for pretrained if lean."""

    def made():
        generator = torch.Generator().manual_seed(3)
        shapes = {"encoder.weight": (5, 4), "encoder.bias": (5,), "head.weight": (2, 5)}
        return {
            name: nn.Parameter(torch.randn(shape, generator=generator))
            for name, shape in shapes.items()
        }

    ours, theirs = made(), made()
    optimizer = Optimizer(
        list(ours.items()), lambda name: name.startswith("encoder"), 1e-2, 1e-3, 0.1, lean
    )
    encoder = [
        {"params": [theirs["encoder.weight"]], "weight_decay": 0.1},
        {"params": [theirs["encoder.bias"]], "weight_decay": 0.0},
    ]
    head = torch.optim.AdamW([theirs["head.weight"]], lr=1e-2, weight_decay=0.1)
    below = torch.optim.Adafactor(encoder, lr=2e-2) if lean else torch.optim.AdamW(encoder, lr=1e-3)
    for step in range(4):
        for name, weight in ours.items():
            generator = torch.Generator().manual_seed(step)
            gradient = torch.randn(weight.shape, generator=generator)
            weight.grad, theirs[name].grad = gradient, gradient.clone()
        if step == 2:  # as if killed and read again
            optimizer.load_state_dict(optimizer.state_dict())
        nn.utils.clip_grad_norm_(list(theirs.values()), 1.0)
        optimizer.step(1.0, 1.0)
        head.step()
        below.step()
    for name, weight in ours.items():
        assert torch.allclose(weight, theirs[name], atol=1e-7), name
