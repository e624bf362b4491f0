"""Exported bundles agree with native ones, need no native weights, and contain only data."""

import json
import shutil
import sys
from functools import cache

import folders
import numpy as np
import onnx
import polars as pl
import pytest
from resealed import reseal
from tokenizers import Tokenizer
from typer.testing import CliRunner

from clinadapt import NoteClassifier, PretrainedModel, ScratchModel, load
from clinadapt.cli.main import app, main
from clinadapt.core.errors import InputError, MissingExtraError
from clinadapt.data.text_store import Texts
from clinadapt.deployment.onnx_export import export
from clinadapt.deployment.onnx_export.export import export_bundle, make_candidates, measure
from clinadapt.deployment.server.models import Models
from clinadapt.explain.explain import explain
from clinadapt.models.bundle.note_statistics import readings
from clinadapt.models.files import ABOUT_FILE, NETWORK_FILE
from clinadapt.models.private import PrivateModel
from clinadapt.models.stacked import StackedModel

TEXTS = [
    f"enfant {'fievre' if n % 2 else 'pas de dyspnee'} {'oedeme ' * (n % 7)}" for n in range(60)
]
Y = [n % 2 for n in range(60)]
LABELS = [("a",) if n % 2 else ("a", "b") for n in range(60)]
LEARNT = {"epochs": 6, "learning_rate": 1e-2}  # enough for predictions that are not constant
FP32 = {"precision": "fp32", **LEARNT}
# The native model rounds features of frozen layers to 16 bits.
ROUNDED = 3e-3
NEAR = 5e-3  # measured: 0.0014
FIRST = ("onnx", "fp32")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Models with few layers, because an export takes seconds per model and layer."""
    root = tmp_path_factory.mktemp("encoders")
    one = str(folders.bert(root / "one", num_hidden_layers=1))
    two = str(folders.camembert(root / "two", num_hidden_layers=2))
    on_pooled = {"adapter": "gated_residual", "placement": "pooled", **FP32}
    in_layers = {"adapter": "bottleneck", "placement": "layers", "adapted_layers": 1}
    lora = {"adapter": "lora", "placement": "layers", "adapted_layers": 1}
    wide = {"width": 128, "feed_forward": 512}
    return {
        "stacked": StackedModel(one, max_tokens=12, encoder_options=on_pooled),
        "windows": PretrainedModel(
            two, max_tokens=12, truncation="windows", pooling="max", **in_layers, **FP32
        ),
        "tuned": PretrainedModel(
            one, max_tokens=12, tuned_layers="all", pooling="first", **lora, **FP32
        ),
        "scratch": ScratchModel(encoder_options=wide, vocabulary=60, epochs=6, max_tokens=12),
    }


@pytest.fixture(scope="module")
def exported(models, tmp_path_factory):
    """Return the native classifier of a kind, and exported ones by runtime and weights; cached."""

    @cache
    def make(kind):
        native = NoteClassifier(models[kind]).fit(TEXTS, LABELS if kind == "tuned" else Y)
        folder = tmp_path_factory.mktemp(kind)
        runtime = None if kind == "scratch" else "onnx"
        weights = ["fp32", "int8"] if kind in ("scratch", "stacked") else ["fp32"]
        candidates = make_candidates(native, folder, weights, runtime)
        about = [one.model_.network_part.about for one in candidates]
        by = {(a.runtime, a.weights): one for a, one in zip(about, candidates, strict=True)}
        return native, by

    return make


@pytest.fixture(scope="module")
def native_bundle(exported, tmp_path_factory):
    return exported("scratch")[0].save(tmp_path_factory.mktemp("native") / "bundle")


@pytest.fixture(scope="module")
def bundle(exported, tmp_path_factory):
    return exported("stacked")[1][FIRST].save(tmp_path_factory.mktemp("exported") / "bundle")


@pytest.fixture
def copied(bundle, tmp_path):
    return shutil.copytree(bundle, tmp_path / "copy")


@pytest.mark.parametrize("kind", ["stacked", "windows", "tuned", "scratch"])
def test_probabilities_are_the_native_ones(exported, kind):
    native, by = exported(kind)
    candidate = by[FIRST]
    expected = native.predict_proba(TEXTS)
    probabilities = candidate.predict_proba(TEXTS)
    frozen = kind in ("stacked", "windows")
    np.testing.assert_allclose(probabilities, expected, atol=ROUNDED if frozen else 1e-5)
    difference = np.abs(probabilities - expected).max()
    assert np.ptp(probabilities[:, 0]) > 10 * difference  # not constant
    # For any batch, including single notes and single words.
    alone = np.concatenate([candidate.predict_proba([text]) for text in TEXTS[:8]])
    np.testing.assert_allclose(alone, probabilities[:8], atol=1e-5)
    np.testing.assert_allclose(
        candidate.predict_proba(["x"]), native.predict_proba(["x"]), atol=ROUNDED
    )


def graph_of(classifier):
    return onnx.load(classifier.model_.network_part.folder / NETWORK_FILE).graph


def initializers(classifier):
    tensors = graph_of(classifier).initializer
    return {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in tensors}


@pytest.mark.parametrize("kind", ["scratch", "stacked"])
def test_int8_weights_are_the_nearest_of_their_scale(exported, kind):
    _, by = exported(kind)
    exact, rounded = initializers(by[FIRST]), initializers(by["onnx", "int8"])
    exact |= {f"{name}_Transposed": values.T for name, values in exact.items()}
    names = [name.removesuffix("_quantized") for name in rounded if name.endswith("_quantized")]
    for name in names:
        scale = rounded[f"{name}_scale"].astype(np.float64)
        steps = rounded[f"{name}_quantized"].astype(np.int64) - rounded[f"{name}_zero_point"]
        assert rounded[f"{name}_quantized"].dtype.itemsize == 1
        assert (np.abs(scale * steps - exact[name]) <= scale * 0.501).all(), name
    weights = sum(exact[name].size for name in names)
    matrices = sum(values.size for values in initializers(by[FIRST]).values() if values.ndim > 1)
    assert weights > 0.9 * matrices


@pytest.mark.parametrize("kind", ["scratch", "stacked"])
def test_int8_products_are_exact_on_any_processor(exported, kind):
    """AVX2 adds two products of u8 and s8 in 16 bits and saturates: no sum may exceed them."""
    candidate = exported(kind)[1]["onnx", "int8"]
    values = initializers(candidate)
    products = [node for node in graph_of(candidate).node if node.op_type == "MatMulInteger"]
    assert products
    largest_activation = np.iinfo(np.uint8).max
    for node in products:
        weights = values[node.input[1]]
        assert weights.dtype == np.int8
        largest_weight = np.abs(weights.astype(np.int64)).max()
        assert 2 * largest_activation * largest_weight <= np.iinfo(np.int16).max, node.input[1]


def test_int8_is_smaller_and_near(exported):
    native, by = exported("scratch")
    size = {
        key: (one.model_.network_part.folder / NETWORK_FILE).stat().st_size
        for key, one in by.items()
    }
    assert size["onnx", "int8"] < 0.4 * size[FIRST]
    for key in [key for key in by if key[1] == "int8"]:
        difference = np.abs(by[key].predict_proba(TEXTS) - native.predict_proba(TEXTS))
        assert 0 < difference.max() < NEAR


def test_openvino_runs_the_same_file(exported, tmp_path):
    pytest.importorskip("openvino")
    native, by = exported("scratch")
    candidate = by["openvino", "fp32"]
    assert candidate.model_.network_part.folder == by[FIRST].model_.network_part.folder
    again = load(candidate.save(tmp_path / "bundle"))
    assert again.model_.network_part.about.runtime == "openvino"
    np.testing.assert_allclose(again.predict_proba(TEXTS), native.predict_proba(TEXTS), atol=1e-4)


def test_opens_without_the_native_weights(exported, bundle):
    expected = exported("stacked")[1][FIRST].predict_proba(TEXTS)
    encoder = bundle / "model" / "encoder"
    assert {path.name for path in encoder.iterdir()} == {NETWORK_FILE, ABOUT_FILE, "tokenizer.json"}
    assert np.array_equal(load(bundle).predict_proba(TEXTS), expected)
    again = load(load(bundle).save(bundle.with_name("again")))
    assert np.array_equal(again.predict_proba(TEXTS), expected)
    content = (encoder / NETWORK_FILE).read_bytes()  # no paths of this machine
    assert b".py" not in content
    assert b"site-packages" not in content


def test_measurements_by_hand(exported):
    native, by = exported("stacked")
    seconds, (fp32, int8), probabilities = measure(native, list(by.values()), Texts.of(TEXTS))
    difference = np.abs(by["onnx", "int8"].predict_proba(TEXTS) - native.predict_proba(TEXTS))
    changed = by["onnx", "int8"].predict(TEXTS) != native.predict(TEXTS)
    assert int8.largest == pytest.approx(difference.max())
    assert int8.mean == pytest.approx(difference.mean())
    assert int8.changed == int(changed.sum())
    assert fp32.speed == pytest.approx(seconds / fp32.seconds)
    assert (fp32.weights, int8.weights, fp32.notes) == ("fp32", "int8", len(TEXTS))
    np.testing.assert_allclose(np.abs(probabilities[2] - probabilities[0]), difference, atol=1e-12)


def test_drift_reads_it_as_the_native_one(exported, bundle):
    again = load(bundle)
    native = readings(exported("stacked")[0].model_, TEXTS)
    exported_readings = readings(again.model_, TEXTS)
    assert exported_readings.keys() == native.keys()
    for name, values in exported_readings.items():
        assert np.array_equal(values, native[name]), name


def test_no_gradient_no_explanation(bundle):
    with pytest.raises(InputError, match="the bundle it was made from"):
        explain(load(bundle), TEXTS[:1])
    (task,) = Models({"fever": bundle}).tasks
    assert not task.explains


# ---------------------------------------------------------------- the command


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "notes.csv"
    pl.DataFrame({"text": TEXTS}).write_csv(path)
    return path


def test_export_then_predict(native_bundle, table, tmp_path):
    out = tmp_path / "small"
    command = ["export", str(native_bundle), str(table), "--to", "onnx", "--out", str(out)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "onnx (kept)" in done.output
    record = json.loads((out / "bundle.json").read_text())
    about = record["provenance"]["export"]
    assert (about["runtime"], about["weights"], about["notes"]) == ("onnx", "fp32", 60)
    assert about["largest"] <= about["bound"] == 0.03
    assert "## Exported" in (out / "README.md").read_text()
    predictions = tmp_path / "p.csv"
    command = ["predict", str(out), str(table), "--out", str(predictions)]
    assert CliRunner().invoke(app, command).exit_code == 0
    expected = load(native_bundle).predict_proba(TEXTS)[:, 1]
    np.testing.assert_allclose(pl.read_csv(predictions)["prob_1"], expected, atol=1e-5)
    with pytest.raises(InputError, match="already an export"):
        export_bundle(out, table, tmp_path / "twice")


def test_beyond_the_bound_nothing_is_written(
    exported, native_bundle, table, tmp_path, capsys, monkeypatch
):
    candidates = [exported("scratch")[1]["onnx", "int8"]]  # a new export would take seconds
    monkeypatch.setattr(export, "make_candidates", lambda *_: candidates)
    out = tmp_path / "small"
    command = ["export", str(native_bundle), str(table), "--out", str(out)]
    with pytest.raises(SystemExit):
        main([*command, "--bound", "0", "--int8", "--to", "onnx"])
    err = capsys.readouterr().err
    assert "onnx, int8: probabilities differ" in err
    assert "the bound is 0" in err
    assert not out.exists()
    assert "enfant" not in err


def test_refused_exports(native_bundle, table, tmp_path, tfidf_bundle):
    for taken in (native_bundle, tfidf_bundle.folder, tmp_path):
        with pytest.raises(InputError, match=r"not written by clinadapt|command reads"):
            export_bundle(native_bundle, table, taken)
    few = pl.DataFrame({"text": TEXTS[:5]})
    with pytest.raises(InputError, match="expected at least 20 notes"):
        export_bundle(native_bundle, few, tmp_path / "out")
    with pytest.raises(InputError, match="would gain nothing"):
        make_candidates(tfidf_bundle.classifier, tmp_path, ["fp32"])
    experts = ScratchModel(encoder="moe", vocabulary=60, epochs=1, max_tokens=12)
    with pytest.raises(InputError, match="a mixture of experts cannot be exported"):
        make_candidates(NoteClassifier(experts).fit(TEXTS, Y), tmp_path, ["fp32"])
    private = NoteClassifier(PrivateModel())
    private.model_ = private.model  # refused whether fitted or not
    with pytest.raises(InputError, match="would not carry its guarantee"):
        make_candidates(private, tmp_path, ["fp32"])


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
def test_a_missing_library_is_named(copied, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(MissingExtraError, match=rf"needs {library}, .*clinadapt\[onnx\]"):
        load(copied)


# ---------------------------------------------------------------- hostile files


def _external(model):
    tensor = max(model.graph.initializer, key=lambda one: len(one.raw_data))
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../../../etc/passwd")


def _not_finite(model):
    tensor = max(
        (one for one in model.graph.initializer if one.data_type == onnx.TensorProto.FLOAT),
        key=lambda one: len(one.raw_data),
    )
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[3] = np.nan
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def _loop(model):
    body = onnx.helper.make_graph([], "body", [], [])
    model.graph.node.append(onnx.helper.make_node("Loop", ["", ""], ["z"], body=body))


def _foreign(model):
    model.graph.node.append(onnx.helper.make_node("Anything", [], ["z"], domain="elsewhere"))


def _output(model):
    model.graph.output.append(model.graph.output[0])


def _functions(model):
    model.functions.append(onnx.helper.make_function("here", "f", ["a"], ["a"], [], []))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_external, "weights in another file"),
        (_not_finite, "not a finite number"),
        (_loop, "loops or branches"),
        (_foreign, "operators of another library"),
        (_output, "expected the inputs"),
        (_functions, "more than one plain graph"),
    ],
)
def test_a_hostile_network_is_refused(copied, change, message):
    path = copied / "model" / "encoder" / NETWORK_FILE
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    with pytest.raises(InputError, match=rf"{NETWORK_FILE} has changed since it was saved"):
        load(copied)
    with pytest.raises(InputError, match=rf"{NETWORK_FILE}: .*{message}"):
        load(reseal(copied))


def test_a_changed_network_never_ends_in_a_crash(copied):
    """Even with correct checksums, it is refused or runs."""
    path = copied / "model" / "encoder" / NETWORK_FILE
    content, generator = path.read_bytes(), np.random.default_rng(1)
    places = generator.integers(0, [len(content)] * 30).tolist()
    refused = 0
    for place in places:
        path.write_bytes(content[:place] + generator.bytes(1) + content[place + 1 :])
        try:
            assert load(reseal(copied)).task_ == "binary"
        except InputError:
            refused += 1
    assert 0 < refused < len(places)


def test_files_that_do_not_fit_each_other_are_refused(copied, tmp_path, tfidf_bundle):
    place = copied / "model" / "encoder"
    content = (place / NETWORK_FILE).read_bytes()
    (place / NETWORK_FILE).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"not an ONNX file|does not run"):
        load(reseal(copied))
    (place / NETWORK_FILE).write_bytes(content)
    tokenizer = Tokenizer.from_file(str(place / "tokenizer.json"))
    before = tokenizer.to_str()
    tokenizer.add_tokens([f"beyond{n}" for n in range(1000)])
    tokenizer.save(str(place / "tokenizer.json"))
    with pytest.raises(InputError, match="does not run"):
        load(reseal(copied))
    (place / "tokenizer.json").write_text(before)
    about = json.loads((place / ABOUT_FILE).read_text())
    (place / ABOUT_FILE).write_text(json.dumps(about | {"runtime": "shell"}))
    with pytest.raises(InputError, match="not the description of an export"):
        load(reseal(copied))
    sparse = shutil.copytree(tfidf_bundle.folder, tmp_path / "sparse")
    (sparse / "model" / ABOUT_FILE).write_text(json.dumps(about))
    with pytest.raises(InputError, match="a model of this kind has no network"):
        load(reseal(sparse))


def test_a_network_of_other_classes_is_refused(exported, tmp_path):
    folder = exported("tuned")[1][FIRST].save(tmp_path / "bundle")
    record = json.loads((folder / "bundle.json").read_text())
    with pytest.raises(InputError, match="expected 3 finite scores"):
        load(
            reseal(folder, classes=["a", "b", "c"], threshold=record["threshold"], abstention=None)
        )
