"""Loading from folders of each format, and prefix + suffix compared with the complete model."""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import sentencepiece
import torch
import transformers
from folders import CORPUS, DECODERS, ENCODERS, camembert
from safetensors.torch import load_file

from clinadapt.core.errors import EncoderNotFoundError, InputError
from clinadapt.features.encoder_inference import pad
from clinadapt.features.encoders import catalog
from clinadapt.features.encoders.conversion import convert_to_safetensors
from clinadapt.features.encoders.layer_split import Prefix, Suffix
from clinadapt.features.encoders.pretrained import (
    PretrainedEncoder,
    save_encoder_files,
)
from clinadapt.features.tokenization import tokenize
from clinadapt.neural.adapters import lora
from clinadapt.neural.adapters.bottleneck import Bottleneck
from clinadapt.neural.adapters.registry import count_parameters
from clinadapt.neural.note_network import Batch

EVERY = [*ENCODERS, *DECODERS]
LAYERS = 3
TEXTS = [CORPUS[0], "pas de fievre", "enfant admis"]


def batch_of(encoder: PretrainedEncoder) -> Batch:
    tokens = tokenize(encoder.tokenizer, TEXTS, max_tokens=24)
    ids, mask = pad(tokens, [0, 1, 2])
    return Batch(ids, mask, torch.arange(3), 3)


def untouched(folder, batch) -> torch.Tensor:
    """Return the features of the library's own model."""
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.inference_mode():
        output = model(input_ids=batch.inputs, attention_mask=batch.mask.long())
    return output.last_hidden_state[batch.mask]


# ---------------------------------------------------------------- prefix and suffix


@pytest.mark.parametrize("split_layer", range(LAYERS + 1))
@pytest.mark.parametrize("name", EVERY)
def test_prefix_then_suffix_is_the_untouched_model(encoder_folders, name, split_layer):
    encoder = PretrainedEncoder(encoder_folders[name])
    batch = batch_of(encoder)
    expected = untouched(encoder_folders[name], batch)
    if split_layer == 0:
        hidden, _, _ = Suffix(encoder.load(), LAYERS, 0)(batch)
    else:
        features = Prefix(encoder.load(), LAYERS, split_layer)(batch.inputs, batch.mask)
        hidden = features
        if split_layer < LAYERS:
            given = Batch(features.clone(), batch.mask, batch.note, 3)
            hidden, _, _ = Suffix(encoder.load(), LAYERS, split_layer)(given)
    torch.testing.assert_close(hidden[batch.mask], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["bert", "modernbert", "llama"])
def test_gradients_of_the_suffix_are_those_of_the_complete_model(encoder_folders, name):
    encoder = PretrainedEncoder(encoder_folders[name])
    batch = batch_of(encoder)
    whole = encoder.load()
    hidden = whole(input_ids=batch.inputs, attention_mask=batch.mask.long()).last_hidden_state
    (hidden[batch.mask] ** 2).sum().backward()
    expected = {
        key: weight.grad for key, weight in whole.named_parameters() if f".{LAYERS - 1}." in key
    }
    features = Prefix(encoder.load(), LAYERS, LAYERS - 1)(batch.inputs, batch.mask)
    suffix = Suffix(encoder.load(), LAYERS, LAYERS - 1)
    suffix.tune(1)
    out, _, _ = suffix(Batch(features.clone(), batch.mask, batch.note, 3))
    (out[batch.mask] ** 2).sum().backward()
    parameters = dict(suffix.model.named_parameters())
    for key, gradient in expected.items():
        torch.testing.assert_close(parameters[key].grad, gradient, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("split_layer", [0, LAYERS - 1])
def test_two_threads_share_one_suffix(encoder_folders, split_layer):
    """Both have set their features and masks before either computes."""
    suffix = Suffix(PretrainedEncoder(encoder_folders["bert"]).load(), LAYERS, split_layer).eval()
    suffix.adapt([MaskReader()])
    ids = torch.tensor([[5, 6, 7, 8], [8, 7, 6, 5]])
    features = torch.randn(2, 4, suffix.model.config.hidden_size)
    inputs = [features, -features] if split_layer else [ids, ids + 3]
    whole = torch.ones(2, 4, dtype=torch.bool)
    masks = [whole, whole.triu()]
    batches = [Batch(inputs[n], masks[n], torch.arange(2), 2) for n in range(2)]

    @torch.inference_mode()
    def read(batch):
        return suffix(batch)[0].clone()

    alone = [read(batch) for batch in batches]
    assert not torch.allclose(alone[0], alone[1])
    both = threading.Barrier(2)

    def wait(*_):
        both.wait(30)

    suffix.model.register_forward_pre_hook(wait)
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(read, batches))
    for one, other in zip(together, alone, strict=True):
        torch.testing.assert_close(one, other)


class MaskReader(torch.nn.Module):
    """An adapter that adds the number of tokens in its mask to the features."""

    def forward(self, features, mask):
        return features + mask.sum(dim=1)[:, None, None]


@pytest.mark.parametrize("name", EVERY)
def test_padding_content_never_changes_features(encoder_folders, name):
    encoder = PretrainedEncoder(encoder_folders[name])
    batch = batch_of(encoder)
    prefix = Prefix(encoder.load(), LAYERS, LAYERS)
    other = torch.where(batch.mask, batch.inputs, torch.tensor(7))
    first = prefix(batch.inputs, batch.mask)[batch.mask].clone()
    second = prefix(other, batch.mask)[batch.mask]
    torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-6)


# ---------------------------------------------------------------- what trains


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("tuned", range(LAYERS + 1))
def test_tuned_layers_are_the_top_ones(encoder_folders, name, tuned):
    suffix = Suffix(PretrainedEncoder(encoder_folders[name]).load(), LAYERS, 0)
    suffix.tune(tuned)
    trains = [any(w.requires_grad for w in layer.parameters()) for layer in suffix.stack]
    assert trains == [number >= LAYERS - tuned for number in range(LAYERS)]
    words = suffix.model.get_input_embeddings().weight
    assert words.requires_grad == (tuned == LAYERS)
    if tuned == 0:
        assert not any(weight.requires_grad for weight in suffix.parameters())


def test_one_adapter_follows_each_of_the_top_layers(encoder_folders):
    encoder = PretrainedEncoder(encoder_folders["bert"])
    batch = batch_of(encoder)
    expected = untouched(encoder_folders["bert"], batch)
    suffix = Suffix(encoder.load(), LAYERS, 0)
    adapters = [Bottleneck(32, inner=4, dropout=0.0) for _ in range(2)]
    suffix.adapt(adapters)
    suffix.tune(0)
    torch.testing.assert_close(suffix(batch)[0][batch.mask], expected, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        adapters[1].up.bias.fill_(1.0)  # after the last layer, it shifts the output by exactly that
    moved = suffix(batch)[0][batch.mask]
    torch.testing.assert_close(moved, expected + 1.0, atol=1e-5, rtol=1e-5)
    trained = {key for key, weight in suffix.named_parameters() if weight.requires_grad}
    assert len(trained) == 2 * 4
    assert all(".adapter." in key for key in trained)


# get_peft_model, used here only as the reference, calls a name that transformers deprecates.
@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")
@pytest.mark.parametrize("method", ["lora", "dora"])
@pytest.mark.parametrize("name", EVERY)
def test_low_rank_counts_are_the_librarys_own(encoder_folders, name, method):
    import peft

    model = PretrainedEncoder(encoder_folders[name]).load()
    suffix = Suffix(model, LAYERS, 0)
    suffix.tune(0)
    top = torch.nn.ModuleList(list(suffix.stack)[1:])
    lora.insert(method, suffix.model, top, {"rank": 4})
    ours = sum(weight.numel() for weight in suffix.parameters() if weight.requires_grad)
    fresh = PretrainedEncoder(encoder_folders[name]).load()
    stack = dict(fresh.named_modules())[suffix.path]
    matrices = {path.rpartition(".")[2] for path, part in stack.named_modules() if _matrix(part)}
    config = peft.LoraConfig(
        r=4,
        target_modules=sorted(matrices),
        use_dora=method == "dora",
        layers_to_transform=[1, 2],
        layers_pattern=suffix.path.rpartition(".")[2],
        fan_in_fan_out=name == "gpt2",
    )
    theirs, _ = peft.get_peft_model(fresh, config).get_nb_trainable_parameters()
    assert ours == theirs > 0


def _matrix(module) -> bool:
    return type(module).__name__ in ("Linear", "Conv1D")


def test_ia3_and_its_refusal(encoder_folders):
    suffix = Suffix(PretrainedEncoder(encoder_folders["bert"]).load(), LAYERS, 0)
    suffix.tune(0)
    lora.insert("ia3", suffix.model, suffix.stack, {})
    trained = {key for key, weight in suffix.named_parameters() if weight.requires_grad}
    assert len(trained) == LAYERS * 3  # key, value, and output of the feed-forward
    with pytest.raises(InputError, match="no matrices with known names"):
        lora.insert("ia3", torch.nn.Module(), torch.nn.ModuleList(), {})


def test_ia3_scales_keys_and_values_of_a_fused_matrix(encoder_folders):
    """ModernBERT holds queries, keys and values in one matrix."""
    trained = {}
    for fused in (True, False):
        suffix = Suffix(PretrainedEncoder(encoder_folders["modernbert"]).load(), LAYERS, 0)
        suffix.tune(0)
        lora.insert("ia3", suffix.model, suffix.stack, {} if fused else {"fused": False})
        trained[fused] = {key for key, w in suffix.named_parameters() if w.requires_grad}
    assert len(trained[False]) == LAYERS  # the feed-forward
    assert len({key for key in trained[True] if "Wqkv" in key}) == LAYERS
    assert trained[False] < trained[True]


# ---------------------------------------------------------------- facts about a folder


@pytest.mark.parametrize("name", EVERY)
def test_decoders_are_recognised(encoder_folders, name):
    assert PretrainedEncoder(encoder_folders[name]).causal == (name in DECODERS)


@pytest.mark.parametrize(("name", "longest"), [("camembert", 64), ("roberta", 65), ("bert", 64)])
def test_longest_input_really_runs(encoder_folders, name, longest):
    encoder = PretrainedEncoder(encoder_folders[name])
    assert encoder.max_tokens == longest
    ids = torch.full((1, longest), 5)
    encoder.load()(input_ids=ids, attention_mask=torch.ones_like(ids))


def test_fingerprint_follows_weights_and_configuration(encoder_folders, tmp_path):
    original = PretrainedEncoder(encoder_folders["bert"]).fingerprint
    copy = tmp_path / "copy"
    shutil.copytree(encoder_folders["bert"], copy)
    assert PretrainedEncoder(copy).fingerprint == original
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"layer_norm_eps": 1e-6}))
    assert PretrainedEncoder(copy).fingerprint != original


# ---------------------------------------------------------------- tokenizers


def test_sentencepiece_folder_splits_words_as_sentencepiece_does(tmp_path):
    folder = camembert(tmp_path / "camembert")
    assert not (folder / "tokenizer.json").exists()
    processor = sentencepiece.SentencePieceProcessor(
        model_file=str(folder / "sentencepiece.bpe.model")
    )
    tokenizer = PretrainedEncoder(folder).tokenizer
    for text in TEXTS:
        pieces = tokenizer.encode(text, add_special_tokens=False).tokens
        assert pieces == processor.encode(text, out_type=str)


def test_tokenizer_file_and_vocabulary_files_agree(tmp_path):
    slow = PretrainedEncoder(camembert(tmp_path / "slow"))
    fast = PretrainedEncoder(camembert(tmp_path / "fast", fast=True))
    assert (fast.folder / "tokenizer.json").exists()
    for text in TEXTS:
        assert slow.tokenizer.encode(text).ids == fast.tokenizer.encode(text).ids


def test_a_cased_vocabulary_stays_cased_on_request(encoder_folders):
    cased = PretrainedEncoder(encoder_folders["bert"], lower_case=False).tokenizer
    assert cased.encode("Enfant", add_special_tokens=False).tokens == ["Enfant"]


def test_special_tokens_surround_the_text(encoder_folders):
    tokenizer = PretrainedEncoder(encoder_folders["bert"]).tokenizer
    assert tokenizer.encode("enfant").tokens == ["[CLS]", "enfant", "[SEP]"]


# ---------------------------------------------------------------- what must not be loaded


def test_pickled_weights_are_refused_then_converted(tmp_path):
    folder = camembert(tmp_path / "drbert", pickled=True)
    with pytest.raises(EncoderNotFoundError, match="encoders --convert"):
        PretrainedEncoder(folder).load()
    convert_to_safetensors(folder)
    encoder = PretrainedEncoder(folder)
    pickled = torch.load(folder / "pytorch_model.bin", weights_only=True)
    ours = encoder.load().state_dict()
    assert len(ours) > 20
    assert all(torch.equal(value, pickled[f"roberta.{key}"]) for key, value in ours.items())


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (exit, (1,))

    torch.save({"weights": Evil()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="plain tensors"):
        convert_to_safetensors(tmp_path)


def test_missing_weights_are_not_left_random(encoder_folders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "half"
    shutil.copytree(encoder_folders["bert"], folder)
    weights = load_file(folder / "model.safetensors")
    kept = {key: value for key, value in weights.items() if ".layer.2." not in key}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="would be random"):
        PretrainedEncoder(folder).load()


def test_code_of_a_repository_is_never_run(encoder_folders, tmp_path):
    folder = tmp_path / "custom"
    shutil.copytree(encoder_folders["bert"], folder)
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "mine", "auto_map": {"AutoConfig": "evil.Config"}}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(InputError, match="own code"):
        _ = PretrainedEncoder(folder).config


# ---------------------------------------------------------------- the catalogue


def test_real_pretrained_weights_give_sensible_features(minilm):
    encoder = PretrainedEncoder(minilm)
    assert (encoder.layers, encoder.width) == (6, 384)
    assert count_parameters(encoder.load()) == pytest.approx(22.6e6, rel=0.01)
    tokens = tokenize(
        encoder.tokenizer, ["a child with heart failure", "cardiac failure in a boy", "tax law"]
    )
    ids, mask = pad(tokens, [0, 1, 2])
    features = Prefix(encoder.load(), 6, 6)(ids, mask)
    pooled = torch.stack([row[m].mean(0) for row, m in zip(features, mask, strict=True)])
    alike = torch.nn.functional.cosine_similarity(pooled[0], pooled[1], dim=0)
    unlike = torch.nn.functional.cosine_similarity(pooled[0], pooled[2], dim=0)
    assert alike > 0.6 > 0.3 > unlike


def test_the_included_encoder():
    folder = catalog.resolve("clinadapt-mini-fr")
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 40e6
    assert "CC BY-NC 4.0" in (folder / "LICENSE.md").read_text(encoding="utf-8")
    encoder = PretrainedEncoder(folder)
    model = encoder.load()
    record = json.loads((folder / "pretraining.json").read_text(encoding="utf-8"))
    assert count_parameters(model) == record["parameters"]
    stored = load_file(folder / "model.safetensors")
    assert {weight.dtype for weight in stored.values()} == {torch.bfloat16}
    # Notes of the test parts were among the texts and were excluded.
    assert record["corpus"]["excluded_notes_found"] > 0
    notes = [
        "enfant admis pour une insuffisance cardiaque",
        "défaillance du coeur chez un nourrisson",
        "posologie des comprimés à conserver à l'abri de l'humidité",
    ]
    ids, mask = pad(tokenize(encoder.tokenizer, notes), [0, 1, 2])
    features = Prefix(model, encoder.layers, encoder.layers)(ids, mask)
    pooled = torch.stack([row[m].mean(0) for row, m in zip(features, mask, strict=True)])
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(pooled[0], pooled[1], dim=0) > cosine(pooled[0], pooled[2], dim=0)


def test_a_licence_goes_with_the_encoder(tmp_path):
    encoder = PretrainedEncoder(catalog.resolve("clinadapt-mini-fr"))
    save_encoder_files(encoder, tmp_path)
    assert (tmp_path / "LICENSE.md").is_file()


def test_local_folders_come_first(encoder_folders, tmp_path, monkeypatch):
    monkeypatch.setenv("CLINADAPT_ENCODERS", str(tmp_path))
    assert catalog.find_local("drbert") is None
    shutil.copytree(encoder_folders["camembert"], tmp_path / "drbert")
    assert catalog.resolve("drbert") == tmp_path / "drbert"
    assert catalog.resolve(str(encoder_folders["bert"])) == encoder_folders["bert"]


def test_the_error_for_missing_encoders_says_how_to_get_them(monkeypatch, tmp_path):
    monkeypatch.setenv("CLINADAPT_ENCODERS", str(tmp_path))
    with pytest.raises(EncoderNotFoundError) as caught:
        catalog.resolve("camembert-bio")
    message = str(caught.value)
    entry = catalog.CATALOG["camembert-bio"]
    assert entry.revision is not None
    for part in (entry.hub_id, entry.revision, str(tmp_path / "camembert-bio"), "hf download"):
        assert part in message
    with pytest.raises(EncoderNotFoundError, match="neither a known encoder"):
        catalog.resolve("camembert-boi")


def test_revisions_are_full_commit_hashes():
    for entry in catalog.CATALOG.values():
        assert entry.revision is None or len(bytes.fromhex(entry.revision)) == 20


def test_a_failed_download_is_not_repeated(monkeypatch, tmp_path):
    import huggingface_hub

    monkeypatch.setenv("CLINADAPT_ENCODERS", str(tmp_path))
    monkeypatch.delenv("CLINADAPT_OFFLINE")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    calls = []

    def refused(*args, **kwargs):
        calls.append(kwargs["revision"])
        raise ConnectionError("no route")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda *args, **kwargs: None)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refused)
    for _ in range(2):
        with pytest.raises(EncoderNotFoundError, match="could not be downloaded"):
            catalog.resolve("alibert")
    assert calls == [catalog.CATALOG["alibert"].revision]
