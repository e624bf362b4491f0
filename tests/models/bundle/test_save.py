"""A bundle is self-contained: it opens without network, study or encoder folder."""

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from huggingface_hub import ModelCard
from resealed import reseal
from safetensors.torch import load_file, save_file

from clinadapt import NoteClassifier, PretrainedModel, StackedModel, load
from clinadapt.core.errors import InputError
from clinadapt.models.bundle.integrity import seal
from clinadapt.models.bundle.record import FORMAT, read_record

TEXTS = [
    f"enfant {'fievre' if n % 2 else 'pas de dyspnee'} {'oedeme ' * (n % 3)}" for n in range(40)
]
OPEN = """
import json, sys
import clinadapt
from clinadapt.core.network_guard import no_network
with no_network():
    classifier = clinadapt.load(sys.argv[1])
    print(json.dumps(classifier.predict_proba(json.loads(sys.stdin.read())).tolist()))
"""


@pytest.fixture
def bundle(encoder_folders, tmp_path):
    encoder = tmp_path / "encoder"
    shutil.copytree(encoder_folders["camembert"], encoder)
    model = PretrainedModel(str(encoder), adapter="bottleneck", epochs=1, max_tokens=12)
    classifier = NoteClassifier(model).fit(TEXTS, [n % 2 for n in range(40)])
    expected = classifier.predict_proba(TEXTS)
    folder = classifier.save(tmp_path / "bundle")
    shutil.rmtree(encoder)  # the machine that opens it never saw it
    return expected, folder


def test_opens_in_another_process_bit_equal(bundle):
    expected, folder = bundle
    answer = subprocess.run(
        [sys.executable, "-W", "error", "-c", OPEN, str(folder)],
        input=json.dumps(TEXTS),
        capture_output=True,
        text=True,
        check=True,
    )
    assert np.array_equal(np.array(json.loads(answer.stdout)), expected)


def test_holds_no_pickles_and_no_paths_of_the_machine(bundle, tmp_path):
    _, folder = bundle
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert {path.rpartition(".")[2] for path in names} == {"json", "safetensors", "md"}
    for path in folder.rglob("*.json"):
        assert str(tmp_path) not in path.read_text(encoding="utf-8")


def test_card_names_task_classes_and_settings(bundle):
    _, folder = bundle
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: clinadapt")
    assert "into two classes" in card
    assert '"adapter": "bottleneck"' in card


def test_the_cards_scores_are_the_studys(finished_study):
    folder = finished_study / "best"
    record = json.loads((folder / "bundle.json").read_text())
    scores = record["provenance"]["metrics"]
    card = ModelCard.load(folder / "README.md")
    on_card = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert on_card == {
        name: pytest.approx(score["value"], abs=1e-4)
        for name, score in scores.items()
        if score["value"] is not None
    }
    assert card.data.model_name == record["provenance"]["configuration"]
    f1 = scores["f1"]
    assert f"| f1 | {f1['value']:.3f} | {f1['low']:.3f} to {f1['high']:.3f} |" in card.text
    assert "Fitted on synthetic notes" in card.text


def test_damage_is_reported(bundle, tmp_path):
    _, folder = bundle
    with pytest.raises(InputError, match="not a bundle"):
        load(tmp_path)
    record = json.loads((folder / "bundle.json").read_text())
    (folder / "bundle.json").write_text(json.dumps(record | {"format": 99}))
    with pytest.raises(InputError, match="bundle format 99"):
        load(folder)


def as_version_0_1(folder):
    """Give a bundle the names of format 2, and seal it by hand, as that version did."""
    path = folder / "model" / "model.safetensors"
    weights = load_file(path)
    old = {re.sub(r"(^|\.)adapter\.", r"\1structure.", name): w for name, w in weights.items()}
    assert set(old) != set(weights)
    save_file(old, path, metadata={"format": "pt"})
    record = json.loads((folder / "bundle.json").read_text())
    settings = record["settings"]
    for today, name in (("adapter", "structure"), ("truncation", "cut")):
        settings[name] = settings.pop(today)
    settings["structure_options"] = settings.pop("adapter_options")
    record["family"] = record.pop("model")
    provenance = {"row": "a row", "cell": "0a1b", "data": {"classes": ["row", "cell"]}}
    (folder / "bundle.json").write_text(json.dumps(record))
    return reseal(folder, format=2, provenance=provenance)


def test_a_bundle_of_version_0_1_opens_with_the_same_probabilities(bundle):
    expected, folder = bundle
    as_version_0_1(folder)
    stored = (folder / "bundle.json").read_bytes()
    assert b'"structure": "bottleneck"' in stored
    assert b'"adapter' not in stored
    again = load(folder)
    assert np.array_equal(again.predict_proba(TEXTS), expected)
    assert again.model_.adapter == "bottleneck"
    record = read_record(folder)
    assert record["model"] == "pretrained"
    assert record["provenance"] == {
        "configuration": "a row",
        "run": "0a1b",
        "data": {"classes": ["row", "cell"]},
    }
    assert (folder / "bundle.json").read_bytes() == stored  # opening changes nothing
    saved = again.save(folder.parent / "saved")
    assert json.loads((saved / "bundle.json").read_text())["format"] == FORMAT
    assert np.array_equal(load(saved).predict_proba(TEXTS), expected)


@pytest.mark.parametrize("nested", [False, True])
def test_a_bundle_keeps_the_defaults_of_its_format(minilm, tmp_path, nested):
    """Until format 3, tiny attention had one head of 32."""
    earlier = {"inner": 32, "heads": 1}
    options = {"adapter": "tiny_attention", "adapter_options": earlier, "epochs": 1}
    if nested:
        model = StackedModel(str(minilm), max_tokens=8, encoder_options=options)
    else:
        model = PretrainedModel(str(minilm), max_tokens=8, **options)
    classifier = NoteClassifier(model).fit(TEXTS, [n % 2 for n in range(40)])
    folder = classifier.save(tmp_path / "bundle")
    expected = classifier.predict_proba(TEXTS)
    settings = json.loads((folder / "bundle.json").read_text())["settings"]
    del (settings["encoder_options"] if nested else settings)["adapter_options"]
    reseal(folder, format=3, settings=settings)
    assert np.array_equal(load(folder).predict_proba(TEXTS), expected)
    with pytest.raises(InputError):
        load(reseal(folder, format=FORMAT))  # four heads of width 1 are of another shape


def test_names_of_version_0_1_do_not_bypass_the_checks(bundle):
    _, folder = bundle
    as_version_0_1(folder)
    path = folder / "bundle.json"
    sealed = path.read_text()
    path.write_text(sealed.replace("a row", "another row"))
    with pytest.raises(InputError, match="has changed since it was saved"):
        load(folder)
    path.write_text(sealed)
    with pytest.raises(InputError, match="family and model are the same setting"):
        load(reseal(folder, model="pretrained"))


def test_a_lost_head_is_an_error_not_a_random_one(bundle):
    _, folder = bundle
    path = folder / "model" / "model.safetensors"
    weights = {key: value for key, value in load_file(path).items() if "head" not in key}
    save_file(weights, path, metadata={"format": "pt"})
    seal(folder, json.loads((folder / "bundle.json").read_text()))
    with pytest.raises(InputError, match="do not fit this model"):
        load(folder)


def test_saving_replaces_nothing_but_bundles(bundle, tmp_path):
    classifier = load(bundle[1])
    (tmp_path / "models").mkdir()
    classifier.save(tmp_path / "models")  # empty
    (tmp_path / "mine").mkdir()
    kept = tmp_path / "mine" / "kept.txt"
    kept.write_text("kept")
    for place in (kept, kept.parent):
        with pytest.raises(InputError, match="exists and is not a bundle"):
            classifier.save(place)
    assert kept.read_text() == "kept"


def test_saving_replaces_at_once(bundle):
    _, folder = bundle
    old = folder / "model" / "LICENSE.old"
    old.write_text("old")
    second = NoteClassifier().fit(TEXTS, [n % 2 for n in range(40)])
    second.save(folder)
    assert not old.exists()
    assert np.array_equal(load(folder).predict_proba(TEXTS), second.predict_proba(TEXTS))


def test_saving_keeps_what_is_no_bundle(bundle, tmp_path):
    _, folder = bundle
    classifier = NoteClassifier().fit(TEXTS, [n % 2 for n in range(40)])
    (folder / "thesis.txt").write_text("mine")
    (tmp_path / "mine" / "model").mkdir(parents=True)
    (tmp_path / "mine" / "README.md").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for taken in (folder, tmp_path / "mine", tmp_path / "file"):
        with pytest.raises(InputError, match="exists and is not a bundle"):
            classifier.save(taken)
    assert (folder / "thesis.txt").read_text() == "mine"
    assert (tmp_path / "mine" / "README.md").read_text() == "mine"
