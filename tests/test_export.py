"""An exported bundle says what the native one says, runs by itself, and is only data."""

import json
import shutil
import subprocess
import sys

import numpy as np
import onnx
import polars as pl
import pytest
from test_bundle import OPEN
from test_bundle_checks import reseal
from tokenizers import Tokenizer
from typer.testing import CliRunner

from clinadapt import NoteClassifier, PretrainedModel, ScratchModel, explain, load
from clinadapt.cli import app, main
from clinadapt.drift.readings import readings
from clinadapt.errors import InputError, MissingExtraError
from clinadapt.export import ABOUT_FILE, NETWORK_FILE
from clinadapt.export.agreement import export_bundle, make_candidates, measure
from clinadapt.families.stacked import StackedModel, network_of
from clinadapt.texts import Texts

TEXTS = [
    f"enfant {'fievre' if n % 2 else 'pas de dyspnee'} {'oedeme ' * (n % 7)}" for n in range(60)
]
Y = [n % 2 for n in range(60)]
LABELS = [("a",) if n % 2 else ("a", "b") for n in range(60)]
LEARNT = {"epochs": 6, "learning_rate": 1e-2}  # enough to say more than a constant
FP32 = {"precision": "fp32", "max_tokens": 12, **LEARNT}
# States of frozen layers are rounded to 16 bit between the two parts of the native model.
ROUNDED = 3e-3
KINDS = ["pooled", "windows", "lora", "tuned", "scratch", "stacked"]


@pytest.fixture(scope="module")
def models(encoder_folders):
    bert = str(encoder_folders["bert"])
    camembert = str(encoder_folders["camembert"])
    wide = {"width": 128, "feed_forward": 512, "blocks": 2}
    in_layers = {"structure": "bottleneck", "placement": "layers", "adapted_layers": 1}
    lora = {"structure": "lora", "placement": "layers", "adapted_layers": 2}
    return {
        "pooled": PretrainedModel(bert, structure="gated_residual", placement="pooled", **FP32),
        "windows": PretrainedModel(camembert, cut="windows", **in_layers, **FP32),
        "lora": PretrainedModel(bert, tuned_layers=1, pooling="max", **lora, **FP32),
        "tuned": PretrainedModel(bert, tuned_layers="all", pooling="first", **FP32),
        "scratch": ScratchModel(encoder_options=wide, vocabulary=60, epochs=6, max_tokens=12),
        "stacked": StackedModel(
            bert, max_tokens=12, encoder_options={"precision": "fp32", **LEARNT}
        ),
    }


@pytest.fixture(scope="module")
def exported(models, tmp_path_factory):
    """Of each kind, once: the native classifier, and exported ones in fp32, and of some in int8."""
    made = {}

    def make(kind):
        if kind not in made:
            labels = LABELS if kind == "tuned" else Y
            native = NoteClassifier(models[kind]).fit(TEXTS, labels)
            folder = tmp_path_factory.mktemp(kind)
            weights = ["fp32", "int8"] if kind in ("scratch", "stacked") else ["fp32"]
            made[kind] = native, make_candidates(native, folder, weights, "onnx")
        return made[kind]

    return make


@pytest.fixture(scope="module")
def native_bundle(exported, tmp_path_factory):
    return exported("stacked")[0].save(tmp_path_factory.mktemp("native") / "bundle")


@pytest.fixture(scope="module")
def bundle(exported, tmp_path_factory):
    return exported("stacked")[1][0].save(tmp_path_factory.mktemp("exported") / "bundle")


@pytest.fixture
def copied(bundle, tmp_path):
    return shutil.copytree(bundle, tmp_path / "copy")


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_the_native_ones(exported, kind):
    native, (made, *_) = exported(kind)
    expected = native.predict_proba(TEXTS)
    found = made.predict_proba(TEXTS)
    frozen = kind not in ("tuned", "scratch")
    np.testing.assert_allclose(found, expected, atol=ROUNDED if frozen else 1e-5)
    assert np.ptp(found[:, 0]) > 10 * np.abs(found - expected).max()  # more than a constant
    # Whatever the batch: a note alone, of one word too.
    alone = np.concatenate([made.predict_proba([text]) for text in TEXTS[:8]])
    np.testing.assert_allclose(alone, found[:8], atol=1e-5)
    np.testing.assert_allclose(made.predict_proba(["x"]), native.predict_proba(["x"]), atol=ROUNDED)


@pytest.mark.parametrize("kind", ["scratch", "stacked"])
def test_int8_is_smaller_and_near(exported, kind):
    native, (fp32, int8) = exported(kind)
    bytes_of = [
        (network_of(one.model_).folder / NETWORK_FILE).stat().st_size for one in (fp32, int8)
    ]
    if kind == "scratch":  # the other's weights are fewer than the words about them
        assert bytes_of[1] < 0.4 * bytes_of[0]
    apart = np.abs(int8.predict_proba(TEXTS) - native.predict_proba(TEXTS))
    assert 0 < apart.max() < 0.2


def test_openvino_runs_the_same_file(exported, tmp_path):
    pytest.importorskip("openvino")
    native, _ = exported("scratch")
    (made,) = make_candidates(native, tmp_path, ["fp32"], "openvino")
    folder = made.save(tmp_path / "bundle")
    again = load(folder)
    assert network_of(again.model_).about.runtime == "openvino"
    np.testing.assert_allclose(again.predict_proba(TEXTS), native.predict_proba(TEXTS), atol=1e-4)


def test_opens_in_another_process_without_the_native_weights(exported, bundle):
    expected = exported("stacked")[1][0].predict_proba(TEXTS)
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", OPEN, str(bundle)],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        check=True,
    )
    assert np.array_equal(np.array(json.loads(answer.stdout)), expected)
    encoder = {path.name for path in (bundle / "model" / "encoder").iterdir()}
    assert encoder == {NETWORK_FILE, ABOUT_FILE, "tokenizer.json"}
    # It can be saved again, and says where in whose code it was made to nobody.
    again = load(load(bundle).save(bundle.with_name("again")))
    assert np.array_equal(again.predict_proba(TEXTS), expected)
    content = (bundle / "model" / "encoder" / NETWORK_FILE).read_bytes()
    assert b".py" not in content
    assert b"site-packages" not in content


def test_what_was_measured_is_so(exported):
    native, made = exported("stacked")
    seconds, (fp32, int8) = measure(native, made, Texts.of(TEXTS))
    apart = np.abs(made[1].predict_proba(TEXTS) - native.predict_proba(TEXTS))
    assert int8.largest == pytest.approx(apart.max())
    assert int8.mean == pytest.approx(apart.mean())
    assert int8.changed == int((made[1].predict(TEXTS) != native.predict(TEXTS)).sum())
    assert fp32.speed == pytest.approx(seconds / fp32.seconds)
    assert (fp32.weights, int8.weights, fp32.notes) == ("fp32", "int8", len(TEXTS))


# ---------------------------------------------------------------- the command


@pytest.fixture
def table(tmp_path):
    path = tmp_path / "notes.csv"
    pl.DataFrame({"text": TEXTS}).write_csv(path)
    return path


def test_export_then_predict_drift_and_no_explanation(native_bundle, table, tmp_path):
    out = tmp_path / "small"
    command = ["export", str(native_bundle), str(table), "--to", "onnx", "--out", str(out)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert "onnx (kept)" in done.output
    record = json.loads((out / "bundle.json").read_text())
    told = record["provenance"]["export"]
    assert (told["runtime"], told["weights"], told["notes"]) == ("onnx", "fp32", 60)
    assert told["largest"] <= told["bound"] == 0.02
    assert "## Exported" in (out / "README.md").read_text()
    predictions = tmp_path / "p.csv"
    command = ["predict", str(out), str(table), "--out", str(predictions)]
    assert CliRunner().invoke(app, command).exit_code == 0
    expected = load(native_bundle).predict_proba(TEXTS)[:, 1]
    np.testing.assert_allclose(pl.read_csv(predictions)["prob_1"], expected, atol=ROUNDED)
    again = load(out)
    native_readings = readings(load(native_bundle), TEXTS)
    for name, values in readings(again, TEXTS).items():
        assert np.array_equal(values, native_readings[name]), name
    with pytest.raises(InputError, match="the bundle that it was made from"):
        explain(again, TEXTS[:1])
    with pytest.raises(InputError, match="exported before"):
        export_bundle(out, table, tmp_path / "twice")


def test_beyond_the_bound_nothing_is_written(native_bundle, table, tmp_path, capsys):
    out = tmp_path / "small"
    command = ["export", str(native_bundle), str(table), "--out", str(out)]
    with pytest.raises(SystemExit):
        main([*command, "--bound", "0", "--int8", "--to", "onnx"])
    told = capsys.readouterr().err
    assert "onnx, int8: probabilities differ" in told
    assert "allowed is 0" in told
    assert not out.exists()
    assert "enfant" not in told


def test_what_cannot_be_exported_is_told(native_bundle, table, tmp_path, exported):
    with pytest.raises(InputError, match="is the bundle itself"):
        export_bundle(native_bundle, table, native_bundle)
    with pytest.raises(InputError, match="is no bundle"):
        export_bundle(native_bundle, table, tmp_path)
    few = pl.DataFrame({"text": TEXTS[:5]})
    with pytest.raises(InputError, match="expected 20 notes at least"):
        export_bundle(native_bundle, few, tmp_path / "out")
    with pytest.raises(InputError, match="gains nothing"):
        make_candidates(NoteClassifier().fit(TEXTS, Y), tmp_path, ["fp32"])
    experts = ScratchModel(encoder="moe", vocabulary=60, epochs=1, max_tokens=12)
    with pytest.raises(InputError, match="a mixture of experts cannot be exported"):
        make_candidates(NoteClassifier(experts).fit(TEXTS, Y), tmp_path, ["fp32"])


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
    ("change", "told"),
    [
        (_external, "weights in another file"),
        (_not_finite, "not a finite number"),
        (_loop, "loops or branches"),
        (_foreign, "operators of another library"),
        (_output, "expected the inputs"),
        (_functions, "more than one plain graph"),
    ],
)
def test_a_hostile_network_is_refused(copied, change, told):
    path = copied / "model" / "encoder" / NETWORK_FILE
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)
    with pytest.raises(InputError, match=rf"{NETWORK_FILE} is not as it was saved"):
        load(copied)
    with pytest.raises(InputError, match=rf"{NETWORK_FILE}: .*{told}"):
        load(reseal(copied))


def test_files_that_do_not_fit_each_other_are_refused(copied, tmp_path):
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
    with pytest.raises(InputError, match="not what an export writes"):
        load(reseal(copied))
    three = NoteClassifier("tfidf-logistic").fit(TEXTS, Y).save(tmp_path / "sparse")
    (three / "model" / ABOUT_FILE).write_text(json.dumps(about))
    with pytest.raises(InputError, match="no network in a model of this family"):
        load(reseal(three))


def test_a_network_of_other_classes_is_refused(exported, tmp_path):
    folder = exported("tuned")[1][0].save(tmp_path / "bundle")
    record = json.loads((folder / "bundle.json").read_text())
    with pytest.raises(InputError, match="expected 3 finite scores"):
        load(reseal(folder, classes=["a", "b", "c"], threshold=record["threshold"]))
