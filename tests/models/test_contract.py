"""Contract of every model: fit, probabilities, save and load, on each kind of task."""

import numpy as np
import pytest
import torch
from fitted_models import LABELS, PLACES, TEXTS, build, fitted
from sklearn.base import clone

from clinadapt.core.errors import EncoderNotFoundError, InputError
from clinadapt.core.run_context import Context, Ledger
from clinadapt.models import registry
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.from_scratch import ScratchModel
from clinadapt.models.load import load
from clinadapt.models.pretrained import PretrainedModel
from clinadapt.models.registry import BUILT_IN


@pytest.mark.parametrize("task", LABELS)
@pytest.mark.parametrize("name", BUILT_IN)
class TestContract:
    def test_probabilities(self, name, task, encoder_folders):
        classifier = fitted(build(name, encoder_folders), task)
        probabilities = classifier.predict_proba(TEXTS[:7])
        assert probabilities.shape == (7, len(LABELS[task].classes))
        assert ((probabilities >= 0) & (probabilities <= 1)).all()
        if task != "multilabel":
            np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
        assert classifier.model_.trainable_parameters_ <= classifier.model_.total_parameters_

    def test_reloaded_is_bit_equal(self, name, task, encoder_folders, tmp_path):
        classifier = fitted(build(name, encoder_folders), task)
        again = load(classifier.save(tmp_path / "bundle"))
        expected = classifier.predict_proba(TEXTS)
        assert np.array_equal(again.predict_proba(TEXTS), expected)
        assert list(again.predict(TEXTS)) == list(classifier.predict(TEXTS))

    def test_same_seed_same_model(self, name, task, encoder_folders):
        model = build(name, encoder_folders)
        first, second = (fitted(clone(model), task).predict_proba(TEXTS) for _ in range(2))
        # The noise of private training is secret and independent of the seed.
        assert np.array_equal(first, second) == (name != "private")


@pytest.mark.parametrize("place", PLACES)
def test_reloaded_is_bit_equal_wherever_the_adapter_is(encoder_folders, tmp_path, place):
    classifier = fitted(build("pretrained", encoder_folders, **PLACES[place]), "multiclass")
    again = load(classifier.save(tmp_path / "bundle"))
    expected = classifier.predict_proba(TEXTS)
    assert np.array_equal(again.predict_proba(TEXTS), expected)
    # The head was reloaded too: without it, probabilities would differ.
    with torch.no_grad():
        again.model_.network_.head.out.bias.add_(torch.tensor([1.0, 0.0, 0.0]))
    assert not np.allclose(again.predict_proba(TEXTS), expected)


@pytest.mark.parametrize("place", PLACES)
def test_only_what_should_train_does(encoder_folders, place):
    model = build("pretrained", encoder_folders, **PLACES[place])
    whole = registry.build(
        "pretrained", {"encoder": str(encoder_folders["bert"]), "max_tokens": 16}
    )
    classifier = fitted(model, "binary")
    original = fitted(whole, "binary").model_.encoder_.load().state_dict()
    suffix = classifier.model_.suffix_module_
    tuned = classifier.model_.layers_.tuned
    changed = set()
    if suffix is not None:
        for name, weight in suffix.model.state_dict().items():
            plain = name.replace(".base_layer", "").replace(".layer.layer.", ".layer.")
            for number in range(3):
                plain = plain.replace(f"encoder.layer.{number}.layer.", f"encoder.layer.{number}.")
            if plain in original and not torch.equal(weight, original[plain]):
                changed.add(plain.split(".")[2] if "layer." in plain else plain.split(".")[0])
    expected = {str(number) for number in range(3 - tuned, 3)}
    assert changed == (expected | {"embeddings"} if tuned == 3 else expected)


def test_decoders_pool_the_last_token(encoder_folders):
    for name, pooling in (("llama", "last"), ("gpt2", "last"), ("modernbert", "mean")):
        model = PretrainedModel(
            str(encoder_folders[name]), epochs=1, max_tokens=16, adapter="bottleneck"
        )
        assert fitted(model, "binary").model_.pooling_ == pooling


def test_twelve_frozen_runs_encode_once(encoder_folders, tmp_path):
    ledgers = []
    for adapter in ("bottleneck", "lightweight", "tiny_attention", "gated_residual"):
        for seed in range(3):
            ledger = Ledger()
            model = build("pretrained", encoder_folders, adapter=adapter, seed=seed)
            fitted(model, "binary", Context(cache=tmp_path, ledger=ledger))
            ledgers.append(ledger)
    assert ledgers[0].encoded == len(set(TEXTS))
    assert [ledger.encoded for ledger in ledgers[1:]] == [0] * 11


def test_router_load_is_logged():
    model = ScratchModel(
        "moe", encoder_options={"experts": 4}, vocabulary=60, max_tokens=16, epochs=2
    )
    history = fitted(model, "binary").model_.history_
    for entry in history:
        assert len(entry["router_load"]) == 4
        assert sum(entry["router_load"]) == pytest.approx(1)
        assert entry["balance_loss"] >= 1 - 1e-6  # perfect balance is 1


def test_from_scratch_tokenizer_sees_training_notes_only():
    labels = LABELS["binary"]
    train, validation = np.arange(36), np.arange(36, 48)
    model = ScratchModel(vocabulary=200, max_tokens=16, epochs=1)
    secret = ["zygomatique zygomatique"] * 12
    NoteClassifier(model).fit_parts(TEXTS[:36], labels.take(train), secret, labels.take(validation))
    fit = ScratchModel(vocabulary=200, max_tokens=16, epochs=1).fit(
        TEXTS[:36], labels.take(train), (secret, labels.take(validation))
    )
    assert "zygomatique" not in fit.tokenizer_.get_vocab()
    assert "fievre" in fit.tokenizer_.get_vocab()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"adapter": "grn"}, "unknown adapter 'grn'"),
        ({"adapter": "lora"}, "placement = 'layers'"),
        ({"adapter": "tiny_attention", "placement": "pooled"}, "nothing to attend to"),
        ({"adapter": "bottleneck", "adapter_options": {"iner": 1}}, "did you mean 'inner'"),
        ({"placement": "pooled", "tuned_layers": 1}, "is for frozen encoders"),
        ({"match_parameters": 100}, "no weights to match"),
        ({"tuned_layers": -1}, "tuned_layers"),
        ({"tunned_layers": 1}, "did you mean 'tuned_layers'"),
        ({"adapter": "ia3", "placement": "layers", "adapter_options": {"rank": 1}}, "no setting"),
    ],
)
def test_invalid_settings_are_refused(values, message):
    with pytest.raises(InputError, match=message):
        registry.build("pretrained", values)


def test_settings_that_do_not_fit_the_encoder_are_refused(encoder_folders):
    folder = str(encoder_folders["bert"])
    with pytest.raises(InputError, match="has 3 layers"):
        fitted(PretrainedModel(folder, tuned_layers=4, max_tokens=16), "binary")
    with pytest.raises(InputError, match="reads at most 64 tokens"):
        fitted(PretrainedModel(folder, max_tokens=65), "binary")
    with pytest.raises(EncoderNotFoundError, match="drbert is not on this machine"):
        fitted(PretrainedModel("drbert"), "binary")


def test_experts_against_one_at_a_time():
    from clinadapt.neural.mixture_of_experts import Experts

    torch.manual_seed(0)
    layer = Experts(6, 4, 3).eval()
    hidden = torch.randn(2, 5, 6)
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    out, balance = layer(hidden, mask)
    counts = torch.zeros(3)
    mean = torch.zeros(3)
    for note, token in mask.nonzero().tolist():
        chances = layer.router(hidden[note, token]).softmax(-1)
        expert = int(chances.argmax())
        expected, _ = layer.experts[expert](hidden[note, token][None], mask)
        torch.testing.assert_close(out[note, token], chances[expert] * expected[0])
        counts[expert] += 1
        mean += chances
    tokens = mask.sum()
    torch.testing.assert_close(balance, 3 * (counts / tokens * mean / tokens).sum())
    assert (out[~mask] == 0).all()


@pytest.mark.parametrize("popular", [0, 2])
def test_experts_that_get_no_token(popular):
    from clinadapt.neural.mixture_of_experts import Experts

    torch.manual_seed(0)
    layer = Experts(6, 4, 3)
    with torch.no_grad():
        layer.router.weight.zero_()
        layer.router.bias.copy_(10.0 * torch.eye(3)[popular])
    hidden = torch.randn(2, 5, 6, requires_grad=True)
    mask = torch.arange(5) < torch.tensor([[5], [2]])
    out, balance = layer(hidden, mask)
    share = layer.router.bias.softmax(-1)[popular]
    expected, _ = layer.experts[popular](hidden, mask)
    torch.testing.assert_close(out[mask], share * expected[mask])
    torch.testing.assert_close(balance, 3 * share)  # all tokens to one: f is 1 there
    assert layer.routed.tolist() == [7.0 * (number == popular) for number in range(3)]
    # The router's weights are zero: the features get gradients through the expert only.
    (gradient,) = torch.autograd.grad(out.sum(), hidden)
    (by_hand,) = torch.autograd.grad((share * expected[mask]).sum(), hidden)
    torch.testing.assert_close(gradient, by_hand)


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_dropout_drops_its_share_and_keeps_the_mean(share):
    from clinadapt.neural.dropout import Dropout

    torch.manual_seed(0)
    layer = Dropout(share)
    features = torch.ones(101, 7, 33, requires_grad=True)  # no multiple of the draws of one number
    out = layer(features)
    dropped = (out == 0).float()
    # Five standard errors of a share over 23,331 features, and of the mean of those kept.
    near = 5 * (share * (1 - share) / features.numel()) ** 0.5
    assert dropped.mean().item() == pytest.approx(share, abs=near)
    assert out.mean().item() == pytest.approx(1.0, abs=near / (1 - share))
    assert dropped.mean(dim=(0, 2)).tolist() == pytest.approx([share] * 7, abs=near * 7**0.5)
    out.sum().backward()
    torch.testing.assert_close(features.grad, out.detach())  # what was dropped gets no gradient
    assert torch.equal(layer.eval()(features), features)
    assert not torch.equal(layer.train()(features) == 0, out == 0)


def test_no_dropout_changes_nothing():
    from clinadapt.neural.dropout import Dropout

    features = torch.randn(4, 5)
    assert torch.equal(Dropout(0.0)(features), features)


@pytest.mark.parametrize("kind", ["transformer", "moe"])
def test_from_scratch_encoders_mask_padding(kind):
    from clinadapt.models.from_scratch import ENCODERS
    from clinadapt.neural.note_network import Batch

    torch.manual_seed(0)
    encoder = ENCODERS[kind](50, 12).eval()
    ids = torch.randint(2, 50, (2, 9))
    mask = torch.arange(9) < torch.tensor([[9], [4]])
    note = torch.arange(2)
    padded = encoder(Batch(torch.where(mask, ids, torch.tensor(1)), mask, note, 2))[0]
    other = encoder(Batch(torch.where(mask, ids, torch.tensor(33)), mask, note, 2))[0]
    torch.testing.assert_close(padded[mask], other[mask])
    alone = encoder(Batch(ids[1:, :4], mask[1:, :4], note[:1], 1))[0]
    torch.testing.assert_close(padded[1, :4], alone[0])


def test_attention_against_the_library():
    from clinadapt.neural.attention import SelfAttention

    torch.manual_seed(0)
    ours = SelfAttention(8, 2)
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.queries_keys_values.weight)
        theirs.in_proj_bias.copy_(ours.queries_keys_values.bias)
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    hidden = torch.randn(3, 6, 8)
    mask = torch.arange(6) < torch.tensor([[6], [3], [1]])
    expected, _ = theirs(hidden, hidden, hidden, key_padding_mask=~mask, need_weights=False)
    torch.testing.assert_close(ours(hidden, mask)[mask], expected[mask])
