"""Cached features equal live ones, and no damage or interruption makes them wrong."""

import errno
import shutil
from importlib.metadata import version

import numpy as np
import pytest
import torch

from clinadapt.core.machine_faults import PARTIAL
from clinadapt.features import encoder_inference, feature_cache
from clinadapt.features.encoders.layer_split import Prefix
from clinadapt.features.encoders.pretrained import PretrainedEncoder
from clinadapt.features.feature_cache import FeatureStore, live_features
from clinadapt.features.tokenization import tokenize

CPU = torch.device("cpu")
NAMES = "abcdefghijklmnopqrstuvwxyz"
TEXTS = [
    f"enfant admis pour dyspnee {'avec fievre ' * (n % 7)}{NAMES[n % 26]} {NAMES[n // 7]}"
    for n in range(30)
]


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(feature_cache, "SHARD_TOKENS", 200)
    monkeypatch.setitem(encoder_inference.BATCH_TOKENS, "cpu", 100)


@pytest.fixture
def encoder(encoder_folders):
    return PretrainedEncoder(encoder_folders["bert"])


@pytest.fixture
def tokens(encoder):
    return tokenize(encoder.tokenizer, TEXTS, max_tokens=24)


def every(features):
    """Return the features of all sequences, one by one."""
    hidden, mask = features.gather(np.arange(len(features.length)))
    return [row[m] for row, m in zip(hidden, mask, strict=True)]


@pytest.mark.parametrize("split_layer", [1, 2, 3])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_cached_equals_live(tmp_path, encoder, tokens, split_layer, precision):
    features = FeatureStore(tmp_path).features(encoder, split_layer, [tokens], CPU, precision)
    prefix = Prefix(encoder.load(), 3, split_layer)
    for number, cached in enumerate(every(features)):  # one at a time, no padding, fp32
        ids = torch.tensor(tokens.sequence(number)[None].astype(int))
        alone = prefix(ids, torch.ones_like(ids, dtype=torch.bool))[0]
        # 16-bit storage keeps 11 (fp16) or 8 (bf16) bits; bf16 also computes in them.
        tolerance = 2**-10 if precision == "fp32" else 2**-4
        torch.testing.assert_close(cached.float(), alone, atol=tolerance * 4, rtol=tolerance)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_live_features_are_bit_equal_to_cached_ones(tmp_path, encoder, tokens, precision):
    cached = FeatureStore(tmp_path).features(encoder, 2, [tokens], CPU, precision)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    live = live_features(Prefix(encoder.load(), 3, 2).to(dtype), tokens, CPU)
    assert all(torch.equal(a, b) for a, b in zip(every(cached), every(live), strict=True))


def test_second_call_computes_nothing(tmp_path, encoder, tokens, monkeypatch):
    first = FeatureStore(tmp_path).features(encoder, 2, [tokens], CPU)
    assert (first.encoded, first.reused) == (30, 0)
    monkeypatch.setattr(PretrainedEncoder, "load", _never)
    again = FeatureStore(tmp_path).features(encoder, 2, [tokens], CPU)
    assert (again.encoded, again.reused) == (0, 30)
    assert again.encode_seconds == pytest.approx(first.encode_seconds)
    assert all(torch.equal(a, b) for a, b in zip(every(first), every(again), strict=True))


def _never(self):
    raise AssertionError("the encoder was loaded although every state was cached")


def test_notes_are_found_by_content_in_any_list(tmp_path, encoder):
    store = FeatureStore(tmp_path)
    whole = store.features(encoder, 2, [tokenize(encoder.tokenizer, TEXTS, 24)], CPU)
    mixed = [TEXTS[9], "enfant oedeme", TEXTS[2], TEXTS[9]]
    some = store.features(encoder, 2, [tokenize(encoder.tokenizer, mixed, 24)], CPU)
    assert (some.encoded, some.reused) == (1, 2)  # the repeated one is one sequence
    assert torch.equal(every(some)[0], every(whole)[9])
    assert torch.equal(every(some)[3], every(whole)[9])


def test_what_changes_the_features_changes_the_key(tmp_path, encoder, encoder_folders, tokens):
    store = FeatureStore(tmp_path)
    store.features(encoder, 2, [tokens], CPU, "fp32")
    shorter = tokenize(encoder.tokenizer, TEXTS, max_tokens=6)
    other_weights = PretrainedEncoder(encoder_folders["unigram_bert"])
    own = tokenize(other_weights.tokenizer, TEXTS, 24)
    assert store.features(encoder, 1, [tokens], CPU, "fp32").encoded == 30
    assert store.features(encoder, 2, [tokens], CPU, "bf16").encoded == 30
    assert store.features(encoder, 2, [shorter], CPU, "fp32").encoded > 0
    assert store.features(other_weights, 2, [own], CPU, "fp32").encoded > 0


@pytest.mark.parametrize("library", ["torch", "transformers", "tokenizers"])
def test_features_of_other_versions_are_not_taken(tmp_path, encoder, tokens, monkeypatch, library):
    FeatureStore(tmp_path).features(encoder, 2, [tokens], CPU, "fp32")
    versions = {library: "0.0.1"}
    monkeypatch.setattr(feature_cache, "_version", lambda name: versions.get(name) or version(name))
    store = FeatureStore(tmp_path)
    assert store.backend(encoder, 2, CPU, "fp32") is None
    assert store.features(encoder, 2, [tokens], CPU, "fp32").encoded == 30


def test_a_killed_encoding_resumes_with_the_same_batches(tmp_path, encoder, tokens, monkeypatch):
    whole = FeatureStore(tmp_path / "a").features(encoder, 2, [tokens], CPU)
    written = feature_cache.write_shard
    count = 0

    def killed_after_two(*args):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        return written(*args)

    monkeypatch.setattr(feature_cache, "write_shard", killed_after_two)
    with pytest.raises(KeyboardInterrupt):
        FeatureStore(tmp_path / "b").features(encoder, 2, [tokens], CPU)
    monkeypatch.setattr(feature_cache, "write_shard", written)
    rest = FeatureStore(tmp_path / "b").features(encoder, 2, [tokens], CPU)
    assert 0 < rest.encoded < 30
    assert all(torch.equal(a, b) for a, b in zip(every(whole), every(rest), strict=True))


@pytest.mark.parametrize(
    "damage",
    [
        "flip a byte",
        "truncate the file",
        "delete the data",
        "empty sidecar",
        "foreign sidecar",
        "all",
    ],
)
def test_damaged_features_are_computed_again(tmp_path, encoder, tokens, damage):
    expected = every(FeatureStore(tmp_path).features(encoder, 2, [tokens], CPU))
    sidecar = sorted(tmp_path.rglob("*.json"))[1]
    data = sidecar.with_suffix(".safetensors")
    if damage == "flip a byte":
        content = bytearray(data.read_bytes())
        content[-1] ^= 1
        data.write_bytes(bytes(content))
    elif damage == "truncate the file":
        data.write_bytes(data.read_bytes()[:-10])
    elif damage == "delete the data":
        data.unlink()
    elif damage == "empty sidecar":
        sidecar.write_text("")
    elif damage == "foreign sidecar":
        shutil.copy(sorted(tmp_path.rglob("*.json"))[0], sidecar)
    store = FeatureStore(tmp_path)
    if damage == "all":
        shutil.rmtree(tmp_path)
        features = store.features(encoder, 2, [tokens], CPU)
        assert features.encoded == 30
    else:
        with pytest.warns(RuntimeWarning, match="damaged"):
            features = store.features(encoder, 2, [tokens], CPU)
        assert 0 < features.encoded < 30
    assert all(torch.equal(a, b) for a, b in zip(every(features), expected, strict=True))


def test_incomplete_shards_are_ignored(tmp_path, encoder, tokens):
    store = FeatureStore(tmp_path)
    store.features(encoder, 2, [tokens], CPU)
    sidecar = sorted(tmp_path.rglob("*.json"))[0]
    sidecar.unlink()  # data without sidecar: a kill between the two writes
    features = FeatureStore(tmp_path).features(encoder, 2, [tokens], CPU)
    assert 0 < features.encoded < 30


def test_folder_is_the_owners_only(tmp_path, encoder, tokens):
    FeatureStore(tmp_path / "cache").features(encoder, 2, [tokens], CPU)
    for folder in (path for path in (tmp_path / "cache").iterdir() if path.is_dir()):
        assert folder.stat().st_mode & 0o077 == 0


def test_features_take_two_bytes_per_number(tmp_path, encoder, tokens):
    FeatureStore(tmp_path).features(encoder, 2, [tokens], CPU, "fp32")
    size = sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors"))
    numbers = int(np.sum(tokens.lengths)) * encoder.width
    assert numbers * 2 <= size < numbers * 2 + 10_000


def test_a_shard_that_another_process_wrote_meanwhile_is_taken(
    tmp_path, encoder, tokens, monkeypatch
):
    compute = feature_cache._compute
    written = {}

    def overtaken(*args):
        shard = compute(*args)
        (folder,) = tmp_path.iterdir()
        sidecar = feature_cache.write_shard(folder, shard)  # what the other process does
        written[sidecar] = sidecar.stat().st_ino
        return shard

    monkeypatch.setattr(feature_cache, "_compute", overtaken)
    features = FeatureStore(tmp_path).features(encoder, 2, [tokens], CPU)
    assert len(features.length) == len(TEXTS)
    assert {sidecar: sidecar.stat().st_ino for sidecar in written} == written


def test_what_a_killed_process_left_half_written_goes(tmp_path, encoder, tokens):
    store = FeatureStore(tmp_path)
    store.features(encoder, 2, [tokens], CPU)
    (folder,) = tmp_path.iterdir()
    before = sorted(path.name for path in folder.iterdir())
    (folder / f"{'0' * 24}.safetensors{PARTIAL}").write_bytes(b"half")
    assert store.features(encoder, 2, [tokens], CPU).encoded == 0
    assert sorted(path.name for path in folder.iterdir()) == before


def test_features_that_may_not_be_read_are_no_damage(tmp_path, encoder, tokens, monkeypatch):
    store = FeatureStore(tmp_path)
    store.features(encoder, 2, [tokens], CPU)
    before = sorted(tmp_path.rglob("*"))

    def no_more_files(*args, **kwargs):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr("clinadapt.features.cache_shards.mmap.mmap", no_more_files)
    with pytest.raises(OSError, match="Too many"):
        store.features(encoder, 2, [tokens], CPU)
    assert sorted(tmp_path.rglob("*")) == before
