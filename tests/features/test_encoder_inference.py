"""Inference with a frozen encoder: chunks, batches, workers, backends."""

import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Context
from clinadapt.features import encoder_inference
from clinadapt.features.encoder_inference import (
    LENGTH_STEP,
    encode,
    pad,
    side_by_side,
    token_chunks,
)
from clinadapt.features.encoders import backends
from clinadapt.features.encoders.backends import choose, lay_out_for_reading, make_reader
from clinadapt.features.encoders.layer_split import Prefix
from clinadapt.features.encoders.pretrained import PretrainedEncoder
from clinadapt.features.feature_cache import FeatureStore
from clinadapt.features.frozen_encoder import FrozenPrefix
from clinadapt.features.tokenization import tokenize
from clinadapt.neural.training.length_batches import runs

CPU = torch.device("cpu")
# Not `importorskip`, which would import OpenVINO with the telemetry that `library` keeps out.
with_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed"
)
TEXTS = [f"enfant admis {'avec fievre ' * (n % 9)}transfert {n % 4}" for n in range(40)]


@pytest.fixture
def encoder(encoder_folders):
    return PretrainedEncoder(encoder_folders["bert"])


@pytest.fixture
def tokens(encoder):
    return tokenize(encoder.tokenizer, TEXTS, max_tokens=24)


def in_order(tokens):
    return np.argsort(tokens.lengths, kind="stable")


@pytest.mark.parametrize("truncation", ["head", "windows"])
def test_chunks_add_up_to_all_notes(encoder, monkeypatch, truncation):
    whole = tokenize(encoder.tokenizer, TEXTS, 8, truncation)
    monkeypatch.setattr(encoder_inference, "CHUNK_NOTES", 7)
    chunks = list(token_chunks(encoder.tokenizer, TEXTS, 8, truncation))
    assert len(chunks) == 6
    assert np.array_equal(np.concatenate([chunk.ids for chunk in chunks]), whole.ids)
    assert np.array_equal(np.concatenate([chunk.lengths for chunk in chunks]), whole.lengths)
    assert sum(chunk.truncated for chunk in chunks) == whole.truncated


@given(
    st.lists(st.integers(1, 50), min_size=1, max_size=60),
    st.integers(1, 200),
    st.none() | st.integers(1, 9),
    st.none() | st.integers(0, 60),
    st.integers(1, 9),
)
def test_runs_keep_order_and_budget(lengths, budget, most, padding, step):
    def is_allowed(run):
        padded = len(run) * sizes[run].max()
        return (
            padded <= budget
            and len(run) <= (most or len(run))
            and (padding is None or padded - sizes[run].sum() <= padding)
        )

    sizes = np.sort(np.array(lengths))
    numbers = np.arange(len(sizes))
    batches = list(runs(numbers, sizes, budget, most, padding, step))
    assert np.concatenate(batches).tolist() == numbers.tolist()
    assert all(len(run) == 1 or is_allowed(run) for run in batches)
    assert all(len(run) <= step or len(run) % step == 0 for run in batches)
    for run in batches:  # none ends too early
        count = len(run) + 1 if len(run) < step else (len(run) // step + 1) * step
        longer = numbers[run[0] : run[0] + count]
        assert len(longer) < count or not is_allowed(longer)


def test_shapes_are_few_and_no_sequence_is_padded_beyond_the_longest(tokens):
    longest = int(tokens.lengths.max())
    assert longest > LENGTH_STEP
    for number, length in enumerate(tokens.lengths):
        ids, mask = pad(tokens, np.array([number]))
        assert ids.shape[1] == min(-(-int(length) // LENGTH_STEP) * LENGTH_STEP, longest)
        assert mask[0].tolist() == [True] * length + [False] * (ids.shape[1] - length)
        assert not ids[~mask].any()


def test_padding_changes_no_feature(encoder, tokens, monkeypatch):
    read = Prefix(encoder.load(), 3, 3)
    padded = encode(read, tokens, in_order(tokens), CPU)
    monkeypatch.setattr(encoder_inference, "LENGTH_STEP", 1)
    monkeypatch.setitem(encoder_inference.MOST_PADDING, "cpu", 0)
    torch.testing.assert_close(encode(read, tokens, in_order(tokens), CPU), padded)


def test_workers_keep_the_order_and_the_callers_threads(two_threads):
    squares = side_by_side(lambda n: (n * n, torch.get_num_threads()), range(20), CPU)
    assert [value for value, _ in squares] == [n * n for n in range(20)]
    assert {threads for _, threads in squares} == {1}
    assert torch.get_num_threads() == 2


def test_two_callers_have_workers_of_their_own(two_threads):
    """The workers of each caller wait for those of the other: shared ones would deadlock."""
    together = threading.Barrier(4)

    def call(_):
        torch.set_num_threads(2)
        return list(side_by_side(lambda n: together.wait(30) >= 0, range(2), CPU))

    with ThreadPoolExecutor(2) as callers:
        assert list(callers.map(call, range(2))) == [[True, True]] * 2


@pytest.mark.parametrize("split_layer", [2, 3])
def test_workers_change_no_feature(encoder, tokens, split_layer, two_threads, monkeypatch):
    monkeypatch.setitem(encoder_inference.BATCH_TOKENS, "cpu", 60)
    read = Prefix(encoder.load(), 3, split_layer)
    together = encode(read, tokens, in_order(tokens), CPU)
    torch.set_num_threads(1)
    assert torch.equal(encode(read, tokens, in_order(tokens), CPU), together)


def test_layout_changes_no_value(encoder, tokens):
    plain, laid_out = Prefix(encoder.load(), 3, 3), Prefix(encoder.load(), 3, 3)
    lay_out_for_reading(laid_out)
    weights = dict(laid_out.named_parameters())
    assert all(torch.equal(weight, weights[name]) for name, weight in plain.named_parameters())
    expected = encode(plain, tokens, in_order(tokens), CPU).float()
    features = encode(laid_out, tokens, in_order(tokens), CPU).float()
    torch.testing.assert_close(features, expected, atol=2e-3, rtol=2e-3)  # stored in 16 bit


# ---------------------------------------------------------------- backends


@with_openvino
@pytest.mark.parametrize("name", ["bert", "camembert", "roberta", "distilbert", "modernbert"])
@pytest.mark.parametrize("split_layer", [2, 3])
def test_openvino_agrees_with_pytorch(encoder_folders, name, split_layer):
    encoder = PretrainedEncoder(encoder_folders[name])
    tokens = tokenize(encoder.tokenizer, TEXTS, max_tokens=24)
    features = [
        encode(
            make_reader(backend, encoder, split_layer, torch.float32, CPU),
            tokens,
            in_order(tokens),
            CPU,
        ).double()
        for backend in ("torch", "openvino")
    ]
    assert (features[1] - features[0]).norm() / features[0].norm() < 2e-3


@with_openvino
def test_cached_features_of_backends_are_kept_separately(encoder, tokens, tmp_path):
    store = FeatureStore(tmp_path)
    first = store.features(encoder, 3, [tokens], CPU, "fp32", "torch")
    other = store.features(encoder, 3, [tokens], CPU, "fp32", "openvino")
    again = store.features(encoder, 3, [tokens], CPU, "fp32", "openvino")
    assert first.encoded == other.encoded > 0
    assert again.encoded == 0


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """Count measurements, of which each finds OpenVINO faster."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CLINADAPT_BACKEND")
    calls = []

    def fake(*args):
        calls.append(args)
        return {"chosen": "openvino"}

    monkeypatch.setattr(backends, "_measure", fake)
    monkeypatch.setattr(backends, "WORTHWHILE_TOKENS", 10)
    return calls


@with_openvino
def test_the_choice_is_measured_once_and_remembered(encoder, tokens, measured, tmp_path):
    for _ in range(2):
        assert choose("auto", encoder, 3, torch.float32, CPU, tokens) == "openvino"
    assert len(measured) == 1
    choose("auto", encoder, 2, torch.float32, CPU, tokens)
    assert len(measured) == 2  # another split layer is measured separately
    (tmp_path / "clinadapt" / "backends.json").write_text("damaged")
    choose("auto", encoder, 3, torch.float32, CPU, tokens)
    assert len(measured) == 3


@with_openvino
def test_nothing_is_measured_for_little_work(encoder, tokens, measured, monkeypatch):
    monkeypatch.setattr(backends, "WORTHWHILE_TOKENS", 10**6)
    assert choose("auto", encoder, 3, torch.float32, CPU, tokens) == "torch"
    assert measured == []


@with_openvino
def test_a_cache_is_continued_with_the_same_backend(
    encoder, tokens, measured, monkeypatch, tmp_path
):
    store = FeatureStore(tmp_path / "cache")
    assert store.backend(encoder, 3, CPU, "fp32") is None
    prefix = FrozenPrefix(encoder, 3, 16, "head", "fp32", "auto")
    context = Context(cache=store.root)
    prefix.cached([["enfant admis avec fièvre"] * 3], context, CPU)
    assert store.backend(encoder, 3, CPU, "fp32") == context.ledger.backend == "openvino"
    assert store.backend(encoder, 2, CPU, "fp32") is None
    monkeypatch.setattr(backends, "WORTHWHILE_TOKENS", 10**6)
    prefix.cached([["enfant admis avec fièvre", "transfert"]], context, CPU)
    assert context.ledger.backend == "openvino"
    assert choose("torch", encoder, 3, torch.float32, CPU, tokens, "openvino") == "torch"


@with_openvino
def test_a_named_backend_is_not_measured(encoder, tokens, measured, monkeypatch):
    assert choose("torch", encoder, 3, torch.float32, CPU, tokens) == "torch"
    monkeypatch.setenv("CLINADAPT_BACKEND", "torch")
    assert choose("auto", encoder, 3, torch.float32, CPU, tokens) == "torch"
    monkeypatch.setenv("CLINADAPT_BACKEND", "cuda")
    with pytest.raises(InputError, match="expected auto, torch or openvino, got 'cuda'"):
        choose("auto", encoder, 3, torch.float32, CPU, tokens)
    assert measured == []


@with_openvino
def test_measuring_chooses_the_faster_backend_that_agrees(encoder, tokens, monkeypatch):
    measurement = backends._measure(encoder, 3, torch.float32, CPU, tokens)
    assert set(measurement["tokens_per_second"]) == {"torch", "openvino"}
    assert measurement["relative_distance"] < backends.TOLERANCE
    monkeypatch.setattr(backends, "TOLERANCE", -1.0)
    with pytest.warns(RuntimeWarning, match="PyTorch is used"):
        assert backends._measure(encoder, 3, torch.float32, CPU, tokens)["chosen"] == "torch"


def test_missing_openvino_is_reported(encoder, tokens, monkeypatch):
    monkeypatch.setattr(backends.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'clinadapt\[openvino\]'"):
        choose("openvino", encoder, 3, torch.float32, CPU, tokens)
    monkeypatch.delenv("CLINADAPT_BACKEND")
    assert choose("auto", encoder, 3, torch.float32, CPU, tokens) == "torch"


@with_openvino
def test_the_converter_sends_nothing(encoder):
    make_reader("openvino", encoder, 3, torch.float32, CPU)
    from openvino.tools.ovc import telemetry_utils

    assert telemetry_utils.tm.__name__.endswith("telemetry_stub")
