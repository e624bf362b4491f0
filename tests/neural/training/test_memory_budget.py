"""Training within a memory limit: the savings, their order, and that training fits."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from clinadapt.core.errors import InputError, LimitError
from clinadapt.core.formatting import parse_bytes
from clinadapt.core.run_context import Context
from clinadapt.data.labels import from_single
from clinadapt.models.pretrained import PretrainedModel
from clinadapt.neural.training import memory_budget
from clinadapt.neural.training.memory_budget import (
    Footprint,
    MemorySavings,
    choose_savings,
    possible_savings,
    saved_bytes,
    set_recompute,
)

FOOTPRINT = Footprint(
    held=1_000,
    trained=400,
    embeddings=100,
    fixed=50,
    sequence=30,
    sequence_recomputed=6,
    layers=4,
    longest=256,
    batch=100,
)
TEXTS = [f"enfant admis {'avec fievre ' * (n % 5)}transfert" for n in range(24)]
LABELS = from_single(["oui" if n % 2 else "non" for n in range(24)])


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GB", 2 * 10**9), ("1.5 GiB", 3 * 2**29), ("800mb", 8 * 10**8), ("64 KiB", 65_536)],
)
def test_sizes_are_read(text, size):
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["2", "GB", "-1GB", "two GB", ""])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(InputError, match="expected a size such as 2GB"):
        parse_bytes(text)


def test_peak_by_hand():
    # A layer keeps (30 - 6) / 4 = 6 bytes of a sequence, and its gradients as much again.
    all_of_it = 1_000 + 50 + 400 + 2 * 400
    assert FOOTPRINT.peak(MemorySavings(batch_tokens=512)) == all_of_it + 2 * (30 + 6)
    recomputed = MemorySavings(batch_tokens=512, recompute=True)
    assert FOOTPRINT.peak(recomputed) == all_of_it + 2 * (6 + 6 + 6)
    lean = MemorySavings(batch_tokens=512, recompute=True, lean_optimizer=True)
    assert FOOTPRINT.peak(lean) == 1_450 + 3 * 100 + 2 * 18
    small = replace(FOOTPRINT, batch=1)  # a step has fewer notes than would go in at once
    assert small.peak(MemorySavings(batch_tokens=512)) == all_of_it + 30 + 6
    frozen = MemorySavings(256, recompute=True, lean_optimizer=True, frozen_embeddings=True)
    assert FOOTPRINT.peak(frozen) == 1_350 + 18


def test_the_cheapest_savings_that_fit_are_chosen():
    assert choose_savings(FOOTPRINT, None) == MemorySavings()
    ladder = list(possible_savings(256))
    assert ladder[0] == MemorySavings()
    for limit in range(1_370, 3_500, 20):
        chosen = choose_savings(FOOTPRINT, limit)
        assert FOOTPRINT.peak(chosen) <= limit
        for cheaper in ladder[: ladder.index(chosen)]:
            assert FOOTPRINT.peak(cheaper) > limit


def test_the_order_is_micro_batches_recomputation_optimizer_embeddings():
    given = [tuple(savings.words()) for savings in possible_savings(4_096)]
    assert given == [
        (),
        ("micro-batches of 4096 tokens",),
        ("layers recomputed in the backward pass",),
        ("micro-batches of 4096 tokens", "layers recomputed in the backward pass"),
        ("layers recomputed in the backward pass", "Adafactor instead of AdamW"),
        (
            "micro-batches of 4096 tokens",
            "layers recomputed in the backward pass",
            "Adafactor instead of AdamW",
        ),
        (
            "layers recomputed in the backward pass",
            "Adafactor instead of AdamW",
            "embeddings frozen",
        ),
        (
            "micro-batches of 4096 tokens",
            "layers recomputed in the backward pass",
            "Adafactor instead of AdamW",
            "embeddings frozen",
        ),
    ]


def test_a_limit_that_is_too_small_states_what_is_needed():
    with pytest.raises(InputError, match=r"at least .* the limit is .*: tune fewer layers"):
        choose_savings(FOOTPRINT, 1_000)


def test_saved_bytes_of_two_layers_by_hand():
    network = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 2))
    there = {weight.untyped_storage().data_ptr() for weight in network.parameters()}
    batch = torch.ones(5, 4)
    # The input [5, 4], and the sigmoid's output [5, 6], which the second layer shares.
    assert saved_bytes(lambda: network(batch), there) == 4 * (5 * 4 + 5 * 6)


def test_recomputation_changes_neither_gradients_nor_names():
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 4))
    names = list(layer.state_dict())
    batch = torch.randn(16, 4, requires_grad=True)

    def gradients():
        torch.manual_seed(1)
        layer.zero_grad()
        layer(batch).square().sum().backward()
        return [weight.grad.clone() for weight in layer.parameters()]

    kept = saved_bytes(lambda: layer(batch), set())
    plain = gradients()
    set_recompute(layer, True)
    assert list(layer.state_dict()) == names
    assert saved_bytes(lambda: layer(batch), set()) < kept
    assert all(torch.equal(a, b) for a, b in zip(plain, gradients(), strict=True))
    set_recompute(layer, False)
    assert saved_bytes(lambda: layer(batch), set()) == kept


def fitted(folder, memory, **settings):
    context = Context(memory=memory)
    model = PretrainedModel(
        encoder=str(folder), max_tokens=16, epochs=1, precision="fp32", **settings
    )
    model.fit(TEXTS, LABELS, context=context)
    return model, context.ledger.memory_savings


@pytest.mark.parametrize("name", ["bert", "camembert", "modernbert", "distilbert"])
def test_a_limit_is_kept_and_the_savings_are_reported(encoder_folders, monkeypatch, name):
    monkeypatch.setattr(memory_budget, "held_bytes", lambda device: 0)  # two fits count alike
    settings = {"tuned_layers": "all"}
    model, reported = fitted(encoder_folders[name], None, **settings)
    assert reported == []
    footprint = model.footprint(torch.device("cpu"))
    assert footprint.trained == 4 * sum(w.numel() for w in model.network_.parameters())
    assert 0 < footprint.embeddings < footprint.trained
    assert footprint.sequence > footprint.sequence_recomputed > 0
    smallest = min(possible_savings(footprint.longest), key=footprint.peak)
    wanted = choose_savings(footprint, footprint.peak(smallest))
    lean, reported = fitted(encoder_folders[name], footprint.peak(smallest), **settings)
    assert reported == wanted.words() != []
    frozen = [weight for weight in lean.suffix_module_.embeddings() if not weight.requires_grad]
    assert bool(frozen) == wanted.frozen_embeddings
    assert np.isfinite(lean.predict_proba(TEXTS)).all()
    with pytest.raises(LimitError, match="training needs at least"):
        fitted(encoder_folders[name], footprint.peak(smallest) - 1, **settings)


def test_a_model_trains_and_reloads_with_all_savings(encoder_folders, tmp_path, monkeypatch):
    from clinadapt.models import encoder_model

    everything = MemorySavings(16, recompute=True, lean_optimizer=True, frozen_embeddings=True)
    monkeypatch.setattr(encoder_model, "choose_savings", lambda footprint, limit: everything)
    model, reported = fitted(encoder_folders["bert"], 1, tuned_layers="all")
    assert reported == everything.words()
    embeddings = {id(weight) for weight in model.suffix_module_.embeddings()}
    trained = {id(w) for w in model.network_.parameters() if w.requires_grad}
    assert embeddings
    assert not embeddings & trained
    fresh = PretrainedModel(encoder=str(encoder_folders["bert"])).set_params(**model.get_params())
    model.save(tmp_path)
    fresh.load(tmp_path, "binary", 2)
    assert np.array_equal(fresh.predict_proba(TEXTS), model.predict_proba(TEXTS))


def test_micro_batches_alone_change_nothing_but_rounding(encoder_folders, monkeypatch):
    from clinadapt.models import encoder_model

    probabilities = []
    for size in (8_192, 16):
        monkeypatch.setattr(
            encoder_model, "choose_savings", lambda footprint, limit, size=size: MemorySavings(size)
        )
        model, _ = fitted(
            encoder_folders["bert"], 1, adapter="lightweight", dropout=0.0, tuned_layers=0
        )
        probabilities.append(model.predict_proba(TEXTS))
    np.testing.assert_allclose(probabilities[0], probabilities[1], atol=1e-5)


def test_from_scratch_models_have_smaller_micro_batches_only():
    from clinadapt.models.from_scratch import ScratchModel

    model = ScratchModel(max_tokens=64, epochs=1, batch_size=24)
    model.fit(TEXTS, LABELS, context=Context())
    footprint = model.footprint(torch.device("cpu"))
    limit = footprint.peak(MemorySavings(batch_tokens=256))
    assert choose_savings(footprint, limit, batches_only=True).batch_tokens == 256
    context = Context(memory=limit + 2**26)  # and what the process grows meanwhile
    ScratchModel(max_tokens=64, epochs=1, batch_size=24).fit(TEXTS, LABELS, context=context)
    assert all(words.startswith("micro-batches") for words in context.ledger.memory_savings)
    with pytest.raises(InputError, match="with micro-batches of 64 tokens"):
        choose_savings(footprint, 1, batches_only=True)
