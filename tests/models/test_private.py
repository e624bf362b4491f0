"""Private training: gradients, noise and accounting by hand, and an attack that must fail."""

import json
import math
import sys

import folders
import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from clinadapt import Study, load
from clinadapt.core.errors import InputError, MissingExtraError
from clinadapt.data.labels import from_sets, from_single
from clinadapt.models import registry
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.pretrained import PretrainedModel
from clinadapt.models.private import PrivateModel
from clinadapt.neural.adapters.registry import ADAPTERS
from clinadapt.neural.note_network import Batch, FeaturesAsTheyAre, NoteNetwork
from clinadapt.neural.pooling_head import Head
from clinadapt.neural.training import dp_sgd
from clinadapt.neural.training.batch_sources import VectorSource
from clinadapt.neural.training.dp_sgd import (
    Guarantee,
    PrivacyBudget,
    find_noise,
    note_gradients,
    spent_epsilon,
)
from clinadapt.neural.training.losses import ClassLoss
from clinadapt.neural.training.recipe import Recipe

CPU = torch.device("cpu")


@pytest.fixture
def _known_noise(monkeypatch):
    """Fix the secret seed, so that the test is reproducible."""
    monkeypatch.setattr(dp_sgd, "secret_seed", lambda: 0)


# ---------------------------------------------------------------- gradients of notes


@pytest.mark.parametrize("pooling", ["mean", "first", "last", "max"])
@pytest.mark.parametrize("adapter", ADAPTERS)
def test_gradients_of_notes_against_one_at_a_time(adapter, pooling):
    torch.manual_seed(0)
    head = Head(8, 3, inner=5, dropout=0.0)
    network = NoteNetwork(FeaturesAsTheyAre(), ADAPTERS[adapter](8), head, pooling).eval()
    for weight in network.parameters():  # none at zero, where gradients vanish
        nn.init.normal_(weight)
    features = torch.randn(4, 6, 8)
    mask = torch.arange(6) < torch.tensor([[6], [1], [4], [2]])
    numbers = torch.tensor([5, 0, 2, 3])
    objective = ClassLoss(np.array([0, 1, 2, 2, 1, 0]), 3, "none")
    gradients = note_gradients(
        network, objective, Batch(features, mask, torch.arange(4), 4), numbers
    )
    assert set(gradients) == {name for name, _ in network.named_parameters()}
    for place in range(4):
        tokens = int(mask[place].sum())
        alone = Batch(
            features[place, None, :tokens], mask[place, None, :tokens], numbers[:1] * 0, 1
        )
        network.zero_grad()
        objective(network(alone)[0], numbers[place, None], alone).backward()
        for name, weight in network.named_parameters():
            torch.testing.assert_close(gradients[name][place], weight.grad, rtol=1e-4, atol=1e-5)


def test_gradients_of_notes_with_several_labels():
    torch.manual_seed(0)
    network = NoteNetwork(FeaturesAsTheyAre(), ADAPTERS["none"](4), Head(4, 2), "mean").eval()
    target = np.array([[1, 0], [0, 0], [1, 1]])
    vectors = torch.randn(3, 4)
    batch = VectorSource(vectors).batch(np.arange(3))
    objective = ClassLoss(target, 2, "none")
    gradients = note_gradients(network, objective, batch, torch.arange(3))
    # The gradient of the mean cross-entropy of labels: (probability - label) / 2, times the input.
    off = (network(batch)[0].sigmoid() - torch.from_numpy(target)) / 2
    torch.testing.assert_close(gradients["head.out.bias"], off.detach())
    expected = off[:, :, None] * vectors[:, None]
    torch.testing.assert_close(gradients["head.out.weight"], expected.detach())


class Product(nn.Module):
    """A network whose loss on a note is weights times input, so that the input is the gradient."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, batch):
        return batch.inputs[:, 0] @ self.weight, torch.zeros(())


def train_product(vectors, recipe, monkeypatch, noise=0.0, clipping=1.0, source=VectorSource):
    """Return the weights after plain gradient descent with known noise."""
    monkeypatch.setattr(dp_sgd, "Adam", torch.optim.SGD)
    monkeypatch.setattr(dp_sgd, "find_noise", lambda *anything: noise)
    monkeypatch.setattr(dp_sgd, "spent_epsilon", lambda *anything: 1.0)
    network = Product(vectors.shape[1])
    budget = PrivacyBudget(1.0, 1e-5, clipping)
    summed = lambda output, notes, batch: output.sum()  # noqa: E731
    dp_sgd.train(network, source(vectors), summed, recipe, budget, CPU, lambda *reported: None)
    return network.weight.detach()


@pytest.mark.parametrize("tokens_at_once", [1, 100])
def test_clipping_by_hand(tokens_at_once, monkeypatch):
    # (3, 4) has norm 5 and is clipped to (0.6, 0.8); (0.3, 0.4) has norm 0.5 and stays.
    vectors = torch.tensor([[3.0, 4.0], [0.3, 0.4]])
    recipe = Recipe(1, 2, 0.1, max_batch_tokens=tokens_at_once)
    weights = train_product(vectors, recipe, monkeypatch)
    torch.testing.assert_close(weights, -0.1 * torch.tensor([0.9, 1.2]) / 2, rtol=1e-4, atol=0)


@pytest.mark.usefixtures("_known_noise")
def test_noise_has_the_size_given_to_the_accountant(monkeypatch):
    width = 20_000
    weights = train_product(torch.zeros(4, width), Recipe(1, 4, 1.0), monkeypatch, 2.0, 6.0)
    # Multiplier times clipping, over the notes of a step; five standard errors of a deviation.
    assert weights.std().item() == pytest.approx(2.0 * 6.0 / 4, abs=5 * 3 / (2 * width) ** 0.5)
    assert weights.mean().item() == pytest.approx(0, abs=5 * 3 / width**0.5)


@pytest.mark.usefixtures("_known_noise")
def test_each_note_is_drawn_by_itself(monkeypatch):
    drawn = []

    class Recording(VectorSource):
        def batch(self, notes):
            drawn.append(notes)
            return super().batch(notes)

    before = torch.get_rng_state()
    vectors = torch.zeros(1000, 1)
    train_product(vectors, Recipe(20, 100, 1.0), monkeypatch, source=Recording)
    sizes = np.array([len(notes) for notes in drawn])
    assert len(sizes) == 200
    # Binomial with 1,000 notes at 0.1: mean 100, variance 90; five standard errors.
    assert sizes.mean() == pytest.approx(100, abs=5 * (90 / 200) ** 0.5)
    assert sizes.var() == pytest.approx(90, abs=5 * 90 * (2 / 200) ** 0.5)
    times = np.bincount(np.concatenate(drawn), minlength=1000)
    assert times.var() == pytest.approx(18, abs=5 * 18 * (2 / 1000) ** 0.5)  # 200 · 0.1 · 0.9
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.usefixtures("_known_noise")
def test_a_step_without_notes_is_noise_alone(monkeypatch):
    recipe = Recipe(20, 1, 1.0)  # two notes: a quarter of the forty steps draw none
    weights = train_product(torch.zeros(2, 4000), recipe, monkeypatch, noise=1.0)
    rates = 1 - np.arange(40) / 40
    expected = math.sqrt(np.square(rates).sum())
    assert weights.std().item() == pytest.approx(expected, rel=5 / (2 * 4000) ** 0.5)


# ---------------------------------------------------------------- accounting


def exact_delta(epsilon, mean):
    """Return δ of a Gaussian mechanism: Balle & Wang 2018 (arXiv 1805.06530), theorem 8."""
    return stats.norm.cdf(mean / 2 - epsilon / mean) - math.exp(epsilon) * stats.norm.cdf(
        -mean / 2 - epsilon / mean
    )


@pytest.mark.parametrize("noise", [2.0, 6.0, 20.0])
def test_epsilon_against_the_exact_one_without_sampling(noise):
    steps, delta = 10, 1e-5
    epsilon = spent_epsilon(noise, 1.0, steps, delta)
    mean = steps**0.5 / noise  # ten Gaussian steps are one with so much less noise
    assert exact_delta(epsilon, mean) <= delta
    assert exact_delta(0.8 * epsilon, mean) > delta  # and the bound is not far off


@pytest.mark.parametrize(("noise", "rate", "steps"), [(1.0, 0.05, 400), (3.0, 0.2, 100)])
def test_epsilon_against_the_sum_for_integer_orders(noise, rate, steps):
    """Mironov, Talwar & Zhang 2019, section 3.3; to (ε, δ) by Balle et al. 2020, theorem 21."""
    delta = 1e-6

    def divergence(order):
        terms = [
            math.comb(order, k)
            * (1 - rate) ** (order - k)
            * rate**k
            * math.exp((k * k - k) / (2 * noise**2))
            for k in range(order + 1)
        ]
        return math.log(math.fsum(terms)) / (order - 1)

    by_hand = min(
        steps * divergence(a) + math.log((a - 1) / a) - (math.log(delta) + math.log(a)) / (a - 1)
        for a in range(2, 30)
    )
    spent = spent_epsilon(noise, rate, steps, delta)
    assert (
        by_hand * 0.97 < spent <= by_hand * (1 + 1e-9)
    )  # orders in between may be slightly better


@pytest.mark.parametrize("epsilon", [0.2, 1.0, 8.0, 100.0])
def test_the_noise_spends_the_budget_and_no_more(epsilon):
    noise = find_noise(PrivacyBudget(epsilon, 1e-5, 1.0), 0.1, 200)
    assert 0.98 * epsilon < spent_epsilon(noise, 0.1, 200, 1e-5) <= epsilon


def test_a_budget_that_no_noise_can_keep_is_refused():
    with pytest.raises(InputError, match="use a larger epsilon"):
        find_noise(PrivacyBudget(1e-4, 1e-5, 1.0), 0.1, 200)


def test_several_notes_of_a_patient():
    one = Guarantee(0.5, 1e-5, 1.0, 1.0, 0.1, 10)
    assert one.of_notes(1) == (0.5, 1e-5)
    epsilon, delta = one.of_notes(3)
    assert epsilon == 1.5
    assert delta == pytest.approx(1e-5 * (1 + math.exp(0.5) + math.exp(1.0)))
    assert one.of_notes(60) == (30.0, 1.0)
    assert one.of_notes(10_000) == (5_000.0, 1.0)


# ---------------------------------------------------------------- an attack

EPSILON, DELTA = 1.0, 1e-5
CANDIDATES = 400


@pytest.fixture(scope="module")
def candidates():
    """Return notes with random labels, each a training note with probability one half."""
    generator = np.random.default_rng(0)
    texts = [" ".join(generator.choice(folders.WORDS, 12)) for _ in range(CANDIDATES)]
    assert len(set(texts)) == CANDIDATES
    # Of twenty classes: a note outside training is right by chance once in twenty times.
    labels = from_single(generator.integers(0, 20, CANDIDATES).tolist())
    return texts, labels, generator.random(CANDIDATES) < 0.5


def trained_losses(model, candidates):
    """Return the loss of each candidate, after training on the included ones."""
    texts, labels, inside = candidates
    rows = np.flatnonzero(inside)
    model.fit([texts[row] for row in rows], labels.take(rows))
    return -np.log(model.predict_proba(texts)[np.arange(CANDIDATES), labels.target] + 1e-300)


def empirical_epsilon(losses, inside):
    """Return the ε that an attack by loss proves at 95 %, and its area under the ROC curve.

    It guesses the half with the lower losses to have been trained on. Under (ε, δ) each guess is
    right with probability at most e^ε / (1 + e^ε), whatever the others are: Steinke, Nasr &
    Jagielski 2023, "Privacy Auditing with One (1) Training Run" (arXiv 2305.08846), theorem 5.2,
    whose term in δ is at most 2 m δ. The interval is Clopper and Pearson's.
    """
    right = int(((losses < np.median(losses)) == inside).sum())
    level = 0.05 - 2 * len(losses) * DELTA
    least = stats.beta.ppf(level, right, len(losses) - right + 1)
    rank = stats.mannwhitneyu(-losses[inside], -losses[~inside])
    area = rank.statistic / (inside.sum() * (~inside).sum())
    return max(0.0, math.log(least / (1 - least))), area, rank.pvalue


@pytest.fixture(scope="module")
def attacked(encoder_folders):
    return {
        "encoder": str(encoder_folders["bert"]),
        "max_tokens": 40,
        "inner": 256,
        "epochs": 150,
        "batch_size": 50,
        "learning_rate": 1e-2,
        "precision": "fp32",
    }


def test_attack_succeeds_on_the_model_that_is_not_private(attacked, candidates):
    model = PretrainedModel(**attacked, dropout=0.0, class_weight="none")
    epsilon, area, p = empirical_epsilon(trained_losses(model, candidates), candidates[2])
    assert epsilon > 2 * EPSILON
    assert area > 0.9
    assert p < 1e-6


@pytest.mark.usefixtures("_known_noise")
def test_attack_fails_on_the_private_model(attacked, candidates):
    model = PrivateModel(**attacked, epsilon=EPSILON, delta=DELTA)
    epsilon, area, _ = empirical_epsilon(trained_losses(model, candidates), candidates[2])
    guarantee = model.guarantee_
    assert guarantee.epsilon <= EPSILON
    assert epsilon < EPSILON / 2
    # Many subsampled steps approach Gaussian privacy with this mean (Bu et al. 2020, arXiv
    # 1911.11607), under which no attack's area is above the first summand; three standard errors.
    mean = guarantee.sampling_rate * math.sqrt(
        guarantee.steps * math.expm1(guarantee.noise_multiplier**-2)
    )
    error = math.sqrt((CANDIDATES + 1) / (3 * CANDIDATES**2))
    assert area < stats.norm.cdf(mean / math.sqrt(2)) + 3 * error


@pytest.mark.usefixtures("_known_noise")
def test_attack_would_notice_noise_that_is_forgotten(attacked, candidates, monkeypatch):
    monkeypatch.setattr(dp_sgd, "find_noise", lambda *anything: 0.0)
    monkeypatch.setattr(dp_sgd, "spent_epsilon", lambda *anything: EPSILON)
    model = PrivateModel(**attacked, epsilon=EPSILON, delta=DELTA)
    epsilon, *_ = empirical_epsilon(trained_losses(model, candidates), candidates[2])
    assert epsilon > EPSILON


# ---------------------------------------------------------------- the family


def private(encoder_folders, **more):
    values = {"encoder": str(encoder_folders["bert"]), "max_tokens": 16, "epochs": 2}
    return registry.build("private", values | more)


TEXTS = [f"{folders.WORDS[n % 20]} {folders.WORDS[n % 7]} {'oedeme' * (n % 2)}" for n in range(48)]


@pytest.mark.parametrize("adapter", ADAPTERS)
@pytest.mark.parametrize("placement", ["final", "pooled"])
def test_every_adapter_trains(adapter, placement, encoder_folders, tmp_path):
    if (adapter, placement) == ("tiny_attention", "pooled"):
        return
    model = private(encoder_folders, adapter=adapter, placement=placement, epsilon=3.0)
    labels = from_sets([{"a"} if n % 2 else {"b", "a"} if n % 3 else set() for n in range(48)])
    rows = np.arange(48)
    classifier = NoteClassifier(model).fit_parts(
        TEXTS[:36], labels.take(rows[:36]), TEXTS[36:], labels.take(rows[36:])
    )
    fitted = classifier.model_
    assert 2.9 < fitted.guarantee_.epsilon <= 3.0
    assert [entry["epoch"] for entry in fitted.history_] == [1, 2]
    assert fitted.history_[0]["epsilon"] < fitted.history_[1]["epsilon"]
    again = load(classifier.save(tmp_path / "bundle"))
    assert again.model_.guarantee_ == fitted.guarantee_
    # The bundle depends on the training notes only through the noisy gradients.
    record = json.loads((tmp_path / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    assert record["provenance"] == {}
    assert record["privacy"]["epsilon"] == fitted.guarantee_.epsilon
    assert load(tmp_path / "bundle").reference_ is None  # counts of the training notes
    card = (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    assert f"ε = {fitted.guarantee_.epsilon:.2f}, δ = 1e-05" in card
    assert "k times that ε" in card


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"adapter": "lora"}, "stay frozen in private training; choose one of none"),
        ({"placement": "layers"}, "placement"),
        ({"tuned_layers": 1}, "has no setting 'tuned_layers'"),
        ({"class_weight": "balanced"}, "has no setting 'class_weight'"),
        ({"epsilon": 0.0}, "epsilon"),
        ({"delta": 1.0}, "delta"),
        (
            {"adapter": "bottleneck", "adapter_options": {"dropout": 0.1}},
            "leave it out of adapter_options",
        ),
        ({"adapter": "bottleneck", "truncation": "windows"}, "one sequence a note"),
    ],
)
def test_settings_that_are_not_private_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        registry.build("private", values)


def test_windows_where_each_note_is_one_vector(encoder_folders):
    model = private(encoder_folders, truncation="windows", max_tokens=6)
    model.fit(TEXTS, from_single([n % 2 for n in range(48)]))
    assert model.predict_proba(TEXTS).shape == (48, 2)


def test_delta_must_be_small_against_the_notes(encoder_folders):
    model = private(encoder_folders, delta=0.05)
    with pytest.raises(InputError, match="one of the 48 training notes"):
        model.fit(TEXTS, from_single([n % 2 for n in range(48)]))


def test_without_opacus(encoder_folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "opacus.accountants.utils", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'clinadapt\[private\]'"):
        private(encoder_folders).fit(TEXTS, from_single([n % 2 for n in range(48)]))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert registry.file_problems("private", {}) == [dp_sgd.MISSING]


def test_a_study_reports_the_privacy_loss(small_notes, encoder_folders, tmp_path):
    row = {"encoder": str(encoder_folders["bert"]), "max_tokens": 16, "epochs": 1}
    design = {
        "name": "private",
        "resamples": 100,
        "configurations": [{"model": ["pretrained", "private"], **row}],
    }
    Study(small_notes, design, tmp_path / "out").run()
    results = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (tmp_path / "out" / "cells").glob("*/result.json")
    ]
    private, plain = sorted(results, key=lambda result: "privacy" not in result)
    assert "privacy" not in plain
    assert private["configuration"] == "private bert · none · frozen (epochs=1, max_tokens=16)"
    privacy = private["privacy"]
    assert 0.98 * 8 < privacy["epsilon"] <= 8
    patient = privacy["of_the_patient_with_most_notes"]
    assert patient["epsilon"] == pytest.approx(patient["notes"] * privacy["epsilon"])
    assert patient["notes"] > 1
