"""Folders that are not encoders, or not whole, are called what they are."""

import json
import shutil

import pytest
import torch
from folders import bert, camembert
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from clinadapt.core.errors import InputError, UnusableEncoderError
from clinadapt.features.encoders import catalog
from clinadapt.features.encoders.conversion import convert_to_safetensors
from clinadapt.features.encoders.pretrained import PretrainedEncoder, open_encoder

SHARDS = "model.safetensors.index.json"


@pytest.fixture
def folder(encoder_folders, tmp_path):
    """A copy of an encoder that a test may damage."""
    return shutil.copytree(encoder_folders["bert"], tmp_path / "copy")


@pytest.fixture
def pieces(encoder_folders, tmp_path):
    """An encoder in several safetensors files."""
    model = PretrainedEncoder(encoder_folders["bert"]).load()
    folder = tmp_path / "pieces"
    model.save_pretrained(folder, max_shard_size="20KB")
    shutil.copyfile(encoder_folders["bert"] / "vocab.txt", folder / "vocab.txt")
    return folder


def refusal(folder) -> str:
    """Return why opening a folder is refused."""
    with pytest.raises(UnusableEncoderError) as caught:
        open_encoder(str(folder))
    return str(caught.value)


def edit(file, **changes):
    content = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: v for key, v in content.items() if v is not None}))


# ---------------------------------------------------------------- weights


def test_pieces_are_read(pieces, encoder_folders):
    whole = PretrainedEncoder(encoder_folders["bert"]).load().state_dict()
    ours = open_encoder(str(pieces)).load().state_dict()
    assert all(torch.equal(ours[name], weight) for name, weight in whole.items())


def test_a_missing_piece_is_named(pieces):
    missing = sorted(pieces.glob("model-*.safetensors"))[1]
    missing.unlink()
    assert f"{missing.name} of {SHARDS} missing" in refusal(pieces)


def test_a_cut_file_is_named(folder):
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-200])
    assert "model.safetensors: not a complete safetensors file" in refusal(folder)
    file.write_bytes(b"")
    assert "model.safetensors" in refusal(folder)


def test_an_index_stays_in_its_folder(pieces):
    edit(pieces / SHARDS, weight_map={"x": "../other.safetensors"})
    assert "names a file outside the folder" in refusal(pieces)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("tf_model.h5", "those of TensorFlow"),
        ("flax_model.msgpack", "those of Flax"),
        ("encoder-Q4.gguf", "those of llama.cpp"),
        ("pytorch_model.bin", "encoders --convert"),
        ("pytorch_model.bin.index.json", "encoders --convert"),
        ("adapter_config.json", "adapter saved by peft of some/base"),
        ("other.txt", "Expected model.safetensors"),
    ],
)
def test_weights_of_another_kind(folder, file, message):
    (folder / "model.safetensors").unlink()
    (folder / file).write_text(json.dumps({"base_model_name_or_path": "some/base"}))
    assert message in refusal(folder)


def test_weights_of_another_width(folder):
    edit(folder / "config.json", hidden_size=64)
    assert "have another shape than config.json describes" in refusal(folder)


def test_layers_that_the_configuration_leaves_out(folder):
    edit(folder / "config.json", num_hidden_layers=2)
    assert "weights of layers that config.json does not describe" in refusal(folder)


def test_layers_that_the_files_do_not_have(folder):
    edit(folder / "config.json", num_hidden_layers=4)
    assert "would be random" in refusal(folder)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_read(folder, dtype):
    weights = load_file(folder / "model.safetensors")
    stored = {name: weight.to(dtype) for name, weight in weights.items()}
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    model = open_encoder(str(folder)).load()
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


def test_whole_numbers_are_no_weights(folder):
    weights = load_file(folder / "model.safetensors")
    stored = {name: (weight * 100).to(torch.int8) for name, weight in weights.items()}
    save_file(stored, folder / "model.safetensors", metadata={"format": "pt"})
    assert "weights of type I8, expected floating-point numbers" in refusal(folder)


def test_weights_that_are_not_numbers(folder):
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("layer.1.output.dense.weight"))
    weights[name][0, 0] = float("nan")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="not finite"):
        open_encoder(str(folder)).load()


# ---------------------------------------------------------------- configuration


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": None, "architectures": None}, "no model_type"),
        ({"model_type": "newest"}, "'newest', which transformers"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantized"),
        ({"num_hidden_layers": 0}, "without layers"),
        ({"num_hidden_layers": "three"}, "config.json"),
        ({"num_attention_heads": 5}, "config.json"),
    ],
)
def test_configurations_that_cannot_be_used(folder, changes, message):
    edit(folder / "config.json", **changes)
    with pytest.raises(InputError, match=message):
        open_encoder(str(folder))


@pytest.mark.parametrize("text", ["", "{", "[]", '"bert"', "[" * 10_000])
def test_a_configuration_that_is_none(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json"):
        open_encoder(str(folder))


def test_an_encoder_decoder_is_refused(tmp_path):
    import transformers

    config = transformers.T5Config(vocab_size=50, d_model=32, num_layers=2, num_heads=2, d_ff=48)
    transformers.T5Model(config).save_pretrained(tmp_path)
    with pytest.raises(InputError, match="encoder-decoder"):
        open_encoder(str(tmp_path))


def test_a_model_of_texts_and_images_is_refused(encoder_folders, tmp_path):
    import transformers

    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    small |= {"intermediate_size": 48}
    pictures = small | {"image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(text_config=small, vision_config=pictures)
    transformers.CLIPModel(config).save_pretrained(tmp_path)
    shutil.copyfile(encoder_folders["roberta"] / "tokenizer.json", tmp_path / "tokenizer.json")
    assert "'clip' is not served" in refusal(tmp_path)


# ---------------------------------------------------------------- tokenizer


def test_no_tokenizer(folder):
    (folder / "vocab.txt").unlink()
    assert "the tokenizer has no vocabulary" in refusal(folder)


def test_a_tokenizer_of_more_tokens_than_embeddings(folder):
    tokenizer = PretrainedEncoder(folder).tokenizer
    tokenizer.add_tokens(["un", "deux"])
    tokenizer.save(str(folder / "tokenizer.json"))
    embeddings = PretrainedEncoder(folder).config.vocab_size
    message = f"tokens up to number {embeddings + 1:,}, but the model has {embeddings:,} embeddings"
    assert message in refusal(folder)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "no JSON",
        '{"model": {"type": "WordPiece", "vocab": {}, "unk_token": "[UNK]", '
        '"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}}',
        '{"model": {"type": "WordLevel", "vocab": {"mot": 5}, "unk_token": "[UNK]"}}',
    ],
)
def test_tokenizers_that_read_nothing(folder, text):
    (folder / "tokenizer.json").write_text(text)
    assert "tokenizer" in refusal(folder)


def test_all_problems_are_told_at_once(folder):
    edit(folder / "config.json", hidden_size=64)
    (folder / "tokenizer.json").write_text("{}")
    message = refusal(folder)
    assert "another shape" in message
    assert "tokenizer.json is not a tokenizer's file" in message


def test_a_tokenizer_in_letters_of_its_own(folder):
    """It finds no token in the Latin letter with which special tokens are looked for first."""
    tokenizer = Tokenizer.from_str(
        json.dumps(
            {
                "model": {"type": "BPE", "vocab": {"ж": 0, "я": 1}, "merges": []},
                "added_tokens": [],
                "version": "1.0",
            }
        )
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    assert open_encoder(str(folder)).tokenizer.encode("жя").ids == [0, 1]


# ---------------------------------------------------------------- which folder


def test_an_older_model_of_sentence_transformers(encoder_folders, tmp_path):
    root = tmp_path / "sentences"
    shutil.copytree(encoder_folders["bert"], root / "0_Transformer")
    modules = [{"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]
    (root / "modules.json").write_text(json.dumps(modules))
    (root / "config.json").write_text('{"__version__": "0.2.5"}')
    assert catalog.find_local(str(root)) == root / "0_Transformer"
    modules[0]["path"] = "../elsewhere"
    (root / "modules.json").write_text(json.dumps(modules))
    assert catalog.find_local(str(root)) == root


def test_folders_without_an_encoder(tmp_path, encoder_folders, monkeypatch):
    monkeypatch.chdir(tmp_path)
    peft = tmp_path / "saved-run"
    peft.mkdir()
    (peft / "adapter_config.json").write_text('{"base_model_name_or_path": "some/encoder"}')
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    shutil.copytree(encoder_folders["bert"], tmp_path / "outer" / "inner")
    for name, message in {
        "./saved-run": "adapter saved by peft of some/encoder",
        "empty": "a folder without config.json",
        "outer": "there is one in outer/inner",
        "file": "is a file",
        "./none": "no folder './none'",
        "/none/at/all": "no folder",
        "../../etc/passwd": "is",
        "": "is empty",
    }.items():
        if name == "../../etc/passwd":
            continue
        with pytest.raises(UnusableEncoderError, match=message):
            catalog.resolve(name)


# ---------------------------------------------------------------- conversion


def test_pickled_pieces_are_converted(tmp_path):
    folder = camembert(tmp_path / "drbert", pickled=True)
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    (folder / "pytorch_model.bin").unlink()
    places = {}
    for number, name in enumerate(weights):
        places[name] = f"pytorch_model-{number % 2 + 1:05}-of-00002.bin"
    for file in set(places.values()):
        torch.save({n: weights[n] for n in weights if places[n] == file}, folder / file)
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    assert "encoders --convert" in refusal(folder)
    convert_to_safetensors(folder)
    stored = load_file(folder / "model.safetensors")
    assert stored.keys() == weights.keys()
    assert all(torch.equal(stored[name], weights[name]) for name in weights)
    open_encoder(str(folder))


def test_conversion_names_a_missing_piece_and_what_is_no_pickle(tmp_path):
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "pytorch_model-00001-of-00002.bin"}}))
    with pytest.raises(InputError, match=r"pytorch_model-00001-of-00002\.bin of .* missing"):
        convert_to_safetensors(tmp_path)
    with pytest.raises(InputError, match="no folder"):
        convert_to_safetensors(tmp_path / "none")
    with pytest.raises(InputError, match="already"):
        convert_to_safetensors(bert(tmp_path / "bert"))
