"""Contract of every adapter of the registry, then each against its formula."""

import math

import numpy as np
import pytest
import torch
from tft_torch.tft import GatedResidualNetwork
from torch import nn

from clinadapt.neural.adapters.bottleneck import Bottleneck
from clinadapt.neural.adapters.gated_residual import GatedResidual
from clinadapt.neural.adapters.lightweight import Lightweight
from clinadapt.neural.adapters.registry import (
    ADAPTERS,
    count_parameters,
    match_inner,
    option_problems,
)
from clinadapt.neural.adapters.tiny_attention import TinyAttention

WIDTH = 12


def random_weights(module: nn.Module, seed: int = 0) -> nn.Module:
    """Away from the identity that adapters start at."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in module.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.5)
    return module.eval()


@pytest.fixture
def hidden() -> torch.Tensor:
    return torch.randn(3, 5, WIDTH, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def mask() -> torch.Tensor:
    lengths = torch.tensor([5, 2, 1])
    return torch.arange(5) < lengths[:, None]


# ---------------------------------------------------------------- the contract


@pytest.mark.parametrize("name", ADAPTERS)
class TestContract:
    def test_keeps_shape_and_type(self, name, hidden, mask):
        out = random_weights(ADAPTERS[name](WIDTH))(hidden, mask)
        assert out.shape == hidden.shape
        assert out.dtype == hidden.dtype

    @pytest.mark.parametrize("filling", [0.0, 1e4, float("inf"), float("nan")])
    def test_padding_content_never_matters(self, name, hidden, mask, filling):
        adapter = random_weights(ADAPTERS[name](WIDTH))
        other = torch.where(mask[..., None], hidden, torch.tensor(filling))
        torch.testing.assert_close(
            adapter(other, mask)[mask], adapter(hidden, mask)[mask], rtol=0, atol=0
        )

    def test_amount_of_padding_never_matters(self, name, hidden, mask):
        adapter = random_weights(ADAPTERS[name](WIDTH))
        alone = adapter(hidden[1:2, :2], mask[1:2, :2])
        torch.testing.assert_close(adapter(hidden, mask)[1:2, :2], alone)

    def test_notes_do_not_see_each_other(self, name, hidden, mask):
        adapter = random_weights(ADAPTERS[name](WIDTH))
        together = adapter(hidden, mask)
        torch.testing.assert_close(together[:1], adapter(hidden[:1], mask[:1]))

    def test_its_mean_is_the_mean_of_its_features(self, name, hidden, mask):
        adapter = random_weights(ADAPTERS[name](WIDTH))
        if hasattr(adapter, "mean"):
            features = zip(adapter(hidden, mask), mask, strict=True)
            means = torch.stack([row[real].mean(0) for row, real in features])
            torch.testing.assert_close(adapter.mean(hidden, mask), means)

    def test_leaves_its_input_alone(self, name, hidden, mask):
        before = hidden.clone()
        random_weights(ADAPTERS[name](WIDTH))(hidden, mask)
        assert torch.equal(hidden, before)

    def test_starts_as_the_identity_up_to_a_norm(self, name, hidden, mask):
        out = ADAPTERS[name](WIDTH).eval()(hidden, mask)
        start = hidden
        if name == "gated_residual":
            start = nn.functional.layer_norm(hidden, (WIDTH,))
        torch.testing.assert_close(out, start)

    def test_every_weight_gets_a_gradient(self, name, hidden, mask):
        adapter = random_weights(ADAPTERS[name](WIDTH))
        (adapter(hidden.requires_grad_(), mask)[mask] ** 3).sum().backward()
        without = [key for key, weight in adapter.named_parameters() if weight.grad is None]
        assert not without

    def test_unknown_options_are_named(self, name):
        assert "no setting 'iner'" in option_problems(name, {"iner": 3})[0]


# ---------------------------------------------------------------- each against its formula


def test_bottleneck_against_numpy(hidden, mask):
    adapter = random_weights(Bottleneck(WIDTH, inner=4, scale=0.7))
    weights = {key: value.detach().numpy() for key, value in adapter.named_parameters()}
    h = hidden.numpy()
    down = np.maximum(np.einsum("ntd,rd->ntr", h, weights["down.weight"]) + weights["down.bias"], 0)
    up = np.einsum("ntr,dr->ntd", down, weights["up.weight"]) + weights["up.bias"]
    np.testing.assert_allclose(adapter(hidden, mask).detach(), h + 0.7 * up, atol=1e-5)


def test_bottleneck_by_hand():
    adapter = Bottleneck(2, inner=1).eval()
    with torch.no_grad():
        adapter.down.weight.copy_(torch.tensor([[1.0, -2.0]]))
        adapter.down.bias.fill_(0.5)
        adapter.up.weight.copy_(torch.tensor([[2.0], [3.0]]))
        adapter.up.bias.copy_(torch.tensor([0.0, 1.0]))
    # ReLU(1·3 - 2·1 + 0.5) = 1.5, so (3 + 2·1.5, 1 + 3·1.5 + 1); the second token: ReLU(-3.5) = 0.
    hidden = torch.tensor([[[3.0, 1.0], [0.0, 2.0]]])
    expected = torch.tensor([[[6.0, 6.5], [0.0, 3.0]]])
    torch.testing.assert_close(adapter(hidden, torch.ones(1, 2, dtype=torch.bool)), expected)


@pytest.mark.parametrize("norm", ["in", "out"])
def test_lightweight_by_hand(norm):
    adapter = Lightweight(2, inner=1, norm=norm).eval()
    with torch.no_grad():
        adapter.norm.weight.fill_(1.0)
        adapter.down.weight.copy_(torch.tensor([[1.0, 0.0]]))
        adapter.down.bias.fill_(0.0)
        adapter.up.weight.copy_(torch.tensor([[2.0], [0.0]]))
        adapter.up.bias.zero_()
    # LayerNorm of (4, 2) is (1, -1) up to its epsilon.
    hidden = torch.tensor([[[4.0, 2.0]]])
    # in:  ReLU(1) = 1, up (2, 0).   out: ReLU(4) = 4, up (8, 0), norm (1, -1).
    branch = {"in": [2.0, 0.0], "out": [1.0, -1.0]}[norm]
    expected = hidden + torch.tensor([[branch]])
    got = adapter(hidden, torch.ones(1, 1, dtype=torch.bool))
    torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("heads", [1, 2])
def test_tiny_attention_against_the_library(hidden, mask, heads):
    adapter = random_weights(TinyAttention(WIDTH, inner=4, heads=heads))
    mixed = adapter.queries_keys_values(hidden)
    queries, keys, values = (
        part.view(3, 5, heads, -1).transpose(1, 2) for part in mixed.chunk(3, dim=-1)
    )
    attended = nn.functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=mask[:, None, None, :]
    )
    expected = hidden + adapter.out(attended.transpose(1, 2).reshape(3, 5, -1))
    torch.testing.assert_close(adapter(hidden, mask)[mask], expected[mask])


def test_heads_of_tiny_attention_have_width_one_as_in_its_paper(hidden, mask):
    assert TinyAttention(WIDTH).heads == 4
    default, told = TinyAttention(WIDTH, inner=6), TinyAttention(WIDTH, inner=6, heads=6)
    told.load_state_dict(random_weights(default).state_dict())
    torch.testing.assert_close(default(hidden, mask)[mask], told.eval()(hidden, mask)[mask])
    # One head in each of 24 layers of RoBERTa-large: with norms about .05 % of 355 million.
    assert 24 * (count_parameters(TinyAttention(1024, 1)) + 2 * 1024) == pytest.approx(
        0.0005 * 355e6, rel=0.05
    )


def test_tiny_attention_by_hand():
    adapter = TinyAttention(1, inner=1).eval()
    with torch.no_grad():
        adapter.queries_keys_values.weight.fill_(1.0)
        adapter.queries_keys_values.bias.zero_()
        adapter.out.weight.fill_(1.0)
    hidden = torch.tensor([[[1.0], [2.0], [9.0]]])
    mask = torch.tensor([[True, True, False]])
    share = math.exp(2.0) / (math.exp(1.0) + math.exp(2.0))  # of token 2, seen by token 1
    first = adapter(hidden, mask)[0, 0, 0].item()
    assert first == pytest.approx(1 + (1 - share) * 1 + share * 2, rel=1e-6)


def test_gated_residual_against_an_independent_package(hidden, mask):
    ours = random_weights(GatedResidual(WIDTH, dropout=0.0))
    theirs = GatedResidualNetwork(WIDTH, WIDTH, WIDTH, dropout=0.0).eval()
    pairs = [
        (theirs.fc1.module, ours.dense_in),
        (theirs.fc2.module, ours.dense_out),
        (theirs.layernorm.module, ours.norm),
    ]
    for target, source in pairs:
        target.load_state_dict(source.state_dict())
    glu = theirs.gate.module
    for part, rows in ((glu.fc2, slice(WIDTH)), (glu.fc1, slice(WIDTH, None))):
        part.weight.data = ours.value_and_gate.weight[rows].detach()
        part.bias.data = ours.value_and_gate.bias[rows].detach()
    torch.testing.assert_close(ours(hidden, mask), theirs(hidden))


def test_gated_residual_by_hand():
    adapter = GatedResidual(2, inner=1).eval()
    with torch.no_grad():
        for weight in adapter.parameters():
            weight.zero_()
        adapter.dense_in.weight.copy_(torch.tensor([[1.0, 0.0]]))
        adapter.dense_out.weight.fill_(2.0)
        adapter.value_and_gate.weight.copy_(torch.tensor([[4.0], [0.0], [0.0], [0.0]]))
        adapter.norm.weight.fill_(1.0)
    # ELU(-1) = e^-1 - 1; times 2; gate sigmoid(0) = 1/2; value 4 times that: first entry moves.
    moved = -1 + 0.5 * 4 * 2 * (math.exp(-1) - 1)
    entries = np.array([moved, 3.0])
    expected = (entries - entries.mean()) / np.sqrt(entries.var() + 1e-5)
    got = adapter(torch.tensor([[[-1.0, 3.0]]]), torch.ones(1, 1, dtype=torch.bool))
    np.testing.assert_allclose(got.detach().numpy()[0, 0], expected, atol=1e-5)


# ---------------------------------------------------------------- sizes


def test_sizes_that_the_formulas_give():
    d, r = 768, 64
    assert count_parameters(Bottleneck(d, r)) == 2 * d * r + r + d
    assert count_parameters(Lightweight(d, r)) == 2 * d * r + r + d + 2 * d
    assert count_parameters(TinyAttention(d, 32)) == 3 * (d * 32 + 32) + 32 * d + d
    assert count_parameters(GatedResidual(d)) == 4 * (d * d + d) + 2 * d  # 2.36 M
    ratio = count_parameters(GatedResidual(d)) / count_parameters(Bottleneck(d, r))
    assert ratio == pytest.approx(24, abs=0.5)


@pytest.mark.parametrize("name", [name for name in ADAPTERS if name != "none"])
@pytest.mark.parametrize("wanted", [5_000, 100_000])
def test_matched_sizes_are_the_nearest(name, wanted):
    inner = match_inner(name, 768, wanted)
    sizes = [
        count_parameters(ADAPTERS[name](768, inner=n))
        for n in (max(1, inner - 1), inner, inner + 1)
    ]
    assert abs(sizes[1] - wanted) == min(abs(size - wanted) for size in sizes)
