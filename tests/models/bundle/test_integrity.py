"""Damaged and manipulated bundles are refused before any of their content is used."""

import json
import os
import shutil

import folders
import numpy as np
import pytest
import torch
from resealed import reseal
from safetensors.numpy import load_file, save_file
from torch import nn

from clinadapt import NoteClassifier, PretrainedModel, ScratchModel, TfidfLogistic, load
from clinadapt.core.errors import InputError
from clinadapt.core.safe_files import require_room
from clinadapt.models.attention import AttentionModel
from clinadapt.models.bundle.integrity import seal
from clinadapt.models.bundle.record import read_record
from clinadapt.models.private import PrivateModel
from clinadapt.models.registry import BUILT_IN, build, name_of
from clinadapt.models.sklearn_pipeline import SklearnModel
from clinadapt.models.stacked import StackedModel
from clinadapt.models.tfidf_autoencoder import TfidfAutoencoder
from clinadapt.models.tfidf_mlp import TfidfMLP

TEXTS = [
    f"enfant {'fievre' if n % 2 else 'pas de dyspnee'} {'oedeme ' * (n % 3)}" for n in range(40)
]
Y = [n % 2 for n in range(40)]
ENDLESS = 10**12


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return folders.bert(tmp_path_factory.mktemp("encoder") / "bert")


@pytest.fixture(scope="module")
def bundles(encoder, tmp_path_factory):
    """Return a bundle of each kind of model."""
    encoder = str(encoder)
    root = tmp_path_factory.mktemp("bundles")
    frozen = PretrainedModel(encoder, adapter="bottleneck", epochs=1, max_tokens=12)
    tuned = PretrainedModel(encoder, tuned_layers="all", epochs=1, max_tokens=12)
    upper = PretrainedModel(encoder, tuned_layers=1, epochs=1, max_tokens=12)
    layers = PretrainedModel(
        encoder, adapter="lightweight", placement="layers", epochs=1, max_tokens=12
    )
    lora = PretrainedModel(encoder, adapter="lora", placement="layers", epochs=1, max_tokens=12)
    models = {
        "sparse": None,
        "mlp": TfidfMLP(epochs=1, inner=4),
        "autoencoder": TfidfAutoencoder(epochs=1, pretrain_epochs=1, inner=8, code=4),
        "scratch": ScratchModel(epochs=1, vocabulary=60, max_tokens=12),
        "moe": ScratchModel("moe", epochs=1, vocabulary=60, max_tokens=12),
        "frozen": frozen,
        "tuned": tuned,
        "upper": upper,
        "layers": layers,
        "lora": lora,
        "stacked": StackedModel(encoder, max_tokens=12, encoder_options={"epochs": 1}),
        "attention": AttentionModel(encoder, epochs=1, max_tokens=12),
        "private": PrivateModel(encoder, max_tokens=12, epochs=1, delta=1e-3),
        "sklearn": SklearnModel("pipelines:words"),
    }
    assert {name_of(model or TfidfLogistic()) for model in models.values()} == set(BUILT_IN)
    fitted = {name: NoteClassifier(model).fit(TEXTS, Y) for name, model in models.items()}
    for name, classifier in fitted.items():
        np.save(root / f"{name}.npy", classifier.predict_proba(TEXTS))
    return {name: classifier.save(root / name) for name, classifier in fitted.items()}


@pytest.fixture
def copied(bundles, tmp_path):
    def copy(name):
        return shutil.copytree(bundles[name], tmp_path / name, dirs_exist_ok=True)

    return copy


KINDS = [
    "sparse", "mlp", "autoencoder", "scratch", "moe", "frozen", "tuned", "upper", "layers", "lora",
    "stacked",
]  # fmt: skip


def settings(folder, **changed):
    record = json.loads((folder / "bundle.json").read_text())
    return reseal(folder, settings=record["settings"] | changed)


def tensors(path, change):
    save_file(change(load_file(path)), path)


def configure(folder, **changed):
    path = folder / "model" / "encoder" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))
    return reseal(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_bundle_opens_with_the_same_probabilities(bundles, kind):
    expected = np.load(bundles[kind].with_suffix(".npy"))
    assert np.array_equal(load(bundles[kind]).predict_proba(TEXTS), expected)


@pytest.mark.parametrize("name", ["pretrained", "stacked"])
def test_bundles_of_the_included_encoder(name, tmp_path):
    options = {"epochs": 1}
    further = options if name == "pretrained" else {"encoder_options": options}
    model = build(name, {"encoder": "clinadapt-mini-fr", "max_tokens": 16, **further})
    classifier = NoteClassifier(model).fit(TEXTS, Y)
    again = load(classifier.save(tmp_path / "bundle"))
    assert np.array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


def test_a_part_that_is_added_later_is_sealed_again(copied):
    folder = copied("sparse")
    sealed = (folder / "bundle.json").read_bytes()
    seal(folder, read_record(folder))
    assert (folder / "bundle.json").read_bytes() == sealed
    (folder / "LICENSE").write_text("of the encoder")
    with pytest.raises(InputError, match="'LICENSE' is not part of the bundle"):
        load(folder)
    seal(folder, read_record(folder) | {"provenance": {"backend": "other"}})
    assert load(folder).task_ == "binary"
    assert read_record(folder)["provenance"] == {"backend": "other"}
    (folder / "run.py").write_text("print()")
    with pytest.raises(InputError, match="not a file that a bundle may contain"):
        seal(folder, read_record(folder))


def test_a_bug_is_not_hidden(bundles, monkeypatch):
    """It is reported as a bundle that cannot be opened, with its cause and place."""

    def broken(*_):
        raise KeyError("fièvre")

    monkeypatch.setattr(TfidfLogistic, "load", broken)
    with pytest.raises(InputError, match=r"KeyError at \w+\.py:\d+.*bug in clinadapt") as raised:
        load(bundles["sparse"])
    assert isinstance(raised.value.__cause__, KeyError)
    assert "fièvre" not in str(raised.value)


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("kind", ["sparse", "scratch", "frozen", "stacked"])
def test_a_changed_or_shortened_file_is_named(copied, bundles, kind):
    expected = load(bundles[kind]).predict_proba(TEXTS)
    generator = np.random.default_rng(0)
    for path in sorted(bundles[kind].rglob("*")):
        if not path.is_file():
            continue
        name, content = path.relative_to(bundles[kind]), path.read_bytes()
        damaged = [content[: len(content) // 2], b""]
        for place in generator.integers(0, len(content), 3).tolist():
            flipped = bytes([content[place] ^ 1 << int(generator.integers(8))])
            damaged.append(content[:place] + flipped + content[place + 1 :])
        for bad in damaged:
            folder = copied(kind)
            (folder / name).write_bytes(bad)
            if name.name == "README.md":  # its makers fill it in
                assert np.array_equal(load(folder).predict_proba(TEXTS), expected)
            else:
                message = "bundle" if name.name == "bundle.json" else name.name
                with pytest.raises(InputError, match=message):
                    load(folder)
            (folder / name).write_bytes(content)


@pytest.mark.parametrize("kind", ["sparse", "autoencoder", "scratch", "frozen", "stacked"])
def test_a_changed_file_with_right_checksums_never_ends_in_a_crash(copied, bundles, kind):
    generator = np.random.default_rng(1)
    paths = [path for path in sorted(bundles[kind].rglob("*")) if path.is_file()]
    opened = 0
    for path in paths:
        name, content = path.relative_to(bundles[kind]), path.read_bytes()
        if name.name in ("bundle.json", "README.md"):
            continue
        folder = copied(kind)
        first, whole = min(len(content), 400), len(content)
        for place in generator.integers(0, [first] * 3 + [whole] * 3).tolist():
            bad = content[:place] + generator.bytes(1) + content[place + 1 :]
            (folder / name).write_bytes(bad)
            try:
                classifier = load(reseal(folder))
            except InputError:
                continue
            opened += 1
            assert classifier.task_ == "binary"
        (folder / name).write_bytes(content)
        reseal(folder)
    assert opened  # the changes were not all of the kind that no reader would miss


def test_missing_and_unexpected_files_are_named(copied):
    folder = copied("sparse")
    (folder / "model" / "idf.safetensors").unlink()
    (folder / "model" / "run.py").write_text("print()")
    with pytest.raises(InputError) as raised:
        load(folder)
    assert "model/idf.safetensors is missing" in str(raised.value)
    assert "'model/run.py' is not part of the bundle" in str(raised.value)


# ---------------------------------------------------------------- harm


@pytest.mark.parametrize(
    "name", ["../outside.json", "/etc/passwd", "model/../../x.json", "a\\b.json"]
)
def test_no_name_leads_out_of_the_folder(copied, name):
    folder = copied("sparse")
    files = json.loads((folder / "bundle.json").read_text())["files"]
    with pytest.raises(InputError, match="outside the bundle"):
        load(reseal(folder, files=files | {name: "0" * 64}))


@pytest.mark.parametrize("name", ["../encoder", "/srv/encoder", ".."])
def test_no_setting_is_a_path(copied, name):
    with pytest.raises(InputError, match="'encoder' is a path"):
        load(settings(copied("frozen"), encoder=name))


def test_links_and_pipes_are_no_files_of_a_bundle(copied, tmp_path):
    folder = copied("sparse")
    target = folder / "model" / "terms.json"
    shutil.move(target, tmp_path / "terms.json")
    target.symlink_to(tmp_path / "terms.json")
    with pytest.raises(InputError, match=r"'model/terms\.json' is a link"):
        load(folder)
    target.unlink()
    os.mkfifo(target)
    with pytest.raises(InputError, match="not a plain file"):
        load(folder)
    target.unlink()
    shutil.move(folder / "model", tmp_path / "model")
    (folder / "model").symlink_to(tmp_path / "model")
    with pytest.raises(InputError, match="'model' is a link"):
        load(folder)


@pytest.mark.parametrize(
    "name", ["model/encoder/adapter_config.json", "model/pytorch_model.bin", "model/modeling.py"]
)
def test_files_that_a_library_might_look_for_are_refused(copied, name):
    folder = copied("frozen")
    (folder / name).write_text("{}")
    with pytest.raises(InputError, match="not a file that a bundle may contain"):
        load(reseal(folder))


@pytest.mark.parametrize(
    "changed",
    [
        {"auto_map": {"AutoModel": "evil--Model"}},
        {"text_config": {"auto_map": {}}},
        {"attn_implementation": "kernels-community/x"},
        {"quantization_config": {"quant_method": "x"}},
        {"num_hidden_layers": 10**9},
    ],
)
def test_a_configuration_may_not_name_code_or_endless_loops(copied, changed):
    with pytest.raises(InputError, match=r"config\.json: '\w+'(:| may fetch)"):
        load(configure(copied("frozen"), **changed))


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("frozen", {"hidden_size": 10**8, "intermediate_size": 10**8}),
        ("tuned", {"vocab_size": ENDLESS}),
        ("frozen", {"max_position_embeddings": 10**10}),
    ],
)
def test_no_more_memory_than_the_files_are_worth(copied, kind, changed):
    with pytest.raises(InputError, match=r"imply|cannot be opened"):
        load(configure(copied(kind), **changed))


def test_no_larger_masks_than_the_files_are_worth(bundles):
    """Some decoders keep a mask of positions by positions, which no file contains."""
    folder = bundles["frozen"] / "model"
    with torch.device("meta"):
        network = nn.Linear(2, 2)
        require_room(folder, network)
        network.register_buffer("mask", torch.ones(10**5, 10**5))
    with pytest.raises(InputError, match="imply 10,000,000,000 numbers"):
        require_room(folder, network)


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("mlp", {"inner": ENDLESS}),
        ("autoencoder", {"inner": 10**8, "code": 10**8}),
        ("scratch", {"max_tokens": ENDLESS}),
        ("scratch", {"encoder_options": {"blocks": 10**9}}),
        ("frozen", {"adapter_options": {"inner": ENDLESS}}),
        ("frozen", {"match_parameters": 10**18}),
        ("frozen", {"inner": ENDLESS}),
    ],
)
def test_no_more_memory_than_the_settings_may_ask(copied, kind, changed):
    with pytest.raises(InputError):
        load(settings(copied(kind), **changed))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t | {"coefficients": t["coefficients"][:, :-1].copy()}, "shape"),
        (lambda t: t | {"coefficients": t["coefficients"].astype(np.int64)}, "type I64"),
        (lambda t: t | {"intercepts": np.array([np.nan])}, "not a finite number"),
        (lambda t: t | {"coefficients": t["coefficients"] * np.inf}, "not a finite number"),
        (lambda t: t | {"more": np.zeros(1)}, "do not fit this model"),
        (lambda t: {"intercepts": t["intercepts"]}, "do not fit this model"),
    ],
)
def test_tensors_are_what_the_settings_imply(copied, change, message):
    folder = copied("sparse")
    with np.errstate(invalid="ignore"):
        tensors(folder / "model" / "linear.safetensors", change)
    with pytest.raises(InputError, match=message):
        load(reseal(folder))


def test_weights_of_an_encoder_are_finite(copied):
    folder = copied("frozen")
    path = next((folder / "model" / "encoder").glob("*.safetensors"))

    def spoil(weights):
        name = max(weights, key=lambda key: weights[key].size)
        return weights | {name: np.full_like(weights[name], np.inf)}

    tensors(path, spoil)
    with pytest.raises(InputError, match="not a finite number"):
        load(reseal(folder))


@pytest.mark.parametrize(
    "content",
    [
        (2**40).to_bytes(8, "little") + b"{}",
        (2**63).to_bytes(8, "little"),
        (2).to_bytes(8, "little") + b"[]",
        b"",
        (80).to_bytes(8, "little")
        + b'{"intercepts":{"dtype":"F64","shape":[999999999],"data_offsets":[0,8]}}'.ljust(80)
        + b"\0" * 8,
    ],
)
def test_headers_are_checked_before_they_are_used(copied, content):
    folder = copied("sparse")
    (folder / "model" / "linear.safetensors").write_bytes(content)
    with pytest.raises(InputError, match=r"linear\.safetensors"):
        load(reseal(folder))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"threshold": {"value": 1.5, "at_least_one": False}}, "threshold"),
        ({"threshold": {"value": None, "at_least_one": False}}, "threshold is not valid for"),
        ({"classes": [0, 1, 2]}, "cannot have 3 classes"),
        ({"classes": [1, 1]}, "listed twice"),
        ({"classes": [[0], [1]]}, "classes"),
        ({"task": "regression"}, "task"),
        ({"metric": "nothing"}, "metric"),
        ({"model": 7, "settings": []}, r"model[\s\S]*settings"),
        ({"model": "nothing"}, "unknown model"),
        ({"settings": {"C": -1.0}}, "C = -1.0"),
        ({"provenance": []}, "provenance"),
        ({"provenance": {"data": "notes"}}, r"provenance\.data"),
        ({"provenance": {"metrics": {"ece": 3}}}, r"provenance\.metrics\.ece"),
        ({"provenance": {"metrics": {"ece": {"value": "x"}}}}, r"metrics\.ece\.value"),
        ({"provenance": {"configuration": ["a"]}}, r"provenance\.configuration"),
    ],
)
def test_the_record_is_what_a_bundle_has(copied, changed, message):
    with pytest.raises(InputError, match=message):
        load(reseal(copied("sparse"), **changed))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[" * 200_000, "nested too deeply"),
        (" " * (2**24 + 1), "at most"),
        ('{"format": 3, "threshold": NaN}', "not JSON"),
        ('{"format": 1' + "0" * 5000 + "}", "not JSON"),
        ("[]", "does not contain a mapping"),
        ("{}", "format None"),
        ('{"format": 1, "clinadapt": "0.1.0"}', "format 1, this version reads 2, 3, 4 and 5"),
        ("\0", "not JSON"),
    ],
)
def test_json_that_is_none_or_too_much(copied, text, message):
    folder = copied("sparse")
    (folder / "bundle.json").write_text(text)
    with pytest.raises(InputError, match=message):
        load(folder)


@pytest.mark.parametrize(
    "terms",
    [{"words": []}, {"words": "ab"}, {"words": ["a", "a"]}, {"words": [1]}, [], {"other": ["a"]}],
)
def test_terms_are_lists_of_words(copied, terms):
    folder = copied("sparse")
    (folder / "model" / "terms.json").write_text(json.dumps(terms))
    with pytest.raises(InputError, match=r"terms\.json"):
        load(reseal(folder))


def test_an_index_of_weights_stays_in_its_folder(copied):
    folder = copied("frozen")
    path = folder / "model" / "encoder" / "model.safetensors.index.json"
    path.write_text(json.dumps({"weight_map": {"w": "../../../other.safetensors"}}))
    with pytest.raises(InputError, match="outside its folder"):
        load(reseal(folder))


def test_counts_of_the_notes_are_counts(copied):
    folder = copied("sparse")
    path = folder / "reference.json"
    content = json.loads(path.read_text())
    content["readings"]["length"]["counted"]["counts"] = [-1]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"reference\.json is not valid"):
        load(reseal(folder))


def test_a_hub_repositorys_own_code_is_left_behind(encoder, tmp_path):
    encoder = shutil.copytree(encoder, tmp_path / "encoder")
    path = encoder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"auto_map": {"AutoModel": "m.M"}}))
    model = PretrainedModel(str(encoder), epochs=1, max_tokens=12)
    classifier = NoteClassifier(model).fit(TEXTS, Y)
    again = load(classifier.save(tmp_path / "bundle"))
    assert np.array_equal(again.predict_proba(TEXTS), classifier.predict_proba(TEXTS))


NOTHING = {"version": "1.0", "model": {"type": "WordPiece", "unk_token": "[UNK]", "vocab": {}}}
AROUND = {
    "type": "TemplateProcessing",
    "single": [
        {"SpecialToken": {"id": "Z", "type_id": 0}},
        {"Sequence": {"id": "A", "type_id": 0}},
    ],
    "pair": [],
    "special_tokens": {"Z": {"id": "Z", "ids": [99_999], "tokens": ["Z"]}},
}


@pytest.mark.parametrize("kind", ["frozen", "scratch"])
@pytest.mark.parametrize("change", [lambda content: {}, lambda content: NOTHING])
def test_a_tokenizer_that_knows_nothing_is_refused(copied, kind, change):
    folder = copied(kind)
    (path,) = folder.rglob("tokenizer.json")
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError, match="tokenizer"):
        load(reseal(folder)).predict_proba(["enfant"])


@pytest.mark.parametrize("kind", ["frozen", "scratch"])
def test_a_tokenizer_has_no_numbers_beyond_the_embeddings(copied, kind):
    folder = copied(kind)
    (path,) = folder.rglob("tokenizer.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "post_processor": AROUND}))
    with pytest.raises(InputError, match="number 99,999"):
        load(reseal(folder)).predict_proba(["enfant"])
