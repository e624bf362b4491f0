"""A model on each architecture reads a batch as it reads single notes, tuned in every way."""

import numpy as np
import pytest
from fitted_models import PLACES, TEXTS, build, fitted

from clinadapt import load
from clinadapt.core.errors import InputError
from clinadapt.models import registry

SPLIT = ("longformer", "electra", "mpnet", "opt", "deberta", "distilbert")
WAYS = ("frozen, adapter", "top layer tuned", "all tuned", "in layers, tuned", "lora", "ia3")
# Of several lengths, and in a batch of a length that is no multiple of Longformer's windows.
NOTES = [" ".join(TEXTS[:count]) for count in (1, 2, 7)]


def assert_reads_alike(classifier):
    together = classifier.predict_proba(NOTES)
    alone = np.concatenate([classifier.predict_proba([note]) for note in NOTES])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert np.ptp(together[:, 0]) > 1e-4  # the notes are not all the same to it


@pytest.mark.parametrize("name", SPLIT)
@pytest.mark.parametrize("way", WAYS)
def test_a_batch_is_read_like_single_notes(encoder_folders, name, way):
    settings = PLACES[way] | {"max_tokens": 50, "precision": "fp32"}
    model = build("pretrained", encoder_folders, encoder=str(encoder_folders[name]), **settings)
    assert_reads_alike(fitted(model, "binary"))


@pytest.mark.parametrize("name", ["albert", "xlnet"])
@pytest.mark.parametrize("way", ["frozen, adapter", "pooled"])
def test_layers_that_are_not_a_list_are_used_frozen(encoder_folders, name, way):
    settings = PLACES[way] | {"max_tokens": 50, "precision": "fp32"}
    model = build("pretrained", encoder_folders, encoder=str(encoder_folders[name]), **settings)
    assert_reads_alike(fitted(model, "binary"))


@pytest.mark.parametrize("name", ["longformer", "electra", "opt", "albert"])
def test_a_bundle_gives_the_same_probabilities(encoder_folders, tmp_path, name):
    way = "frozen" if name == "albert" else "in layers, tuned"
    folder = str(encoder_folders[name])
    classifier = fitted(
        build("pretrained", encoder_folders, encoder=folder, **PLACES[way]), "binary"
    )
    again = load(classifier.save(tmp_path / "bundle"))
    np.testing.assert_array_equal(again.predict_proba(NOTES), classifier.predict_proba(NOTES))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("albert", {"tuned_layers": 1}, "share their weights"),
        ("albert", {"tuned_layers": "all"}, "tuned_layers = 0"),
        ("xlnet", {"adapter": "lora", "placement": "layers"}, "Use it frozen"),
        ("mpnet", {"max_tokens": 65}, "at most 64 tokens"),
        ("longformer", {"max_tokens": 97}, "at most 96 tokens"),
        ("bert", {"tuned_layers": 4}, "has 3 layers"),
    ],
)
def test_settings_that_an_encoder_cannot_serve_are_known_before_a_fit(
    encoder_folders, name, settings, message
):
    values = {"encoder": str(encoder_folders[name]), "max_tokens": 16, **settings}
    (problem,) = registry.file_problems("pretrained", values)
    assert message in problem
    with pytest.raises(InputError, match=message):
        registry.build("pretrained", values).fit(["note"], None)


def test_a_stacked_model_names_the_problems_of_its_encoder(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (problem,) = registry.file_problems("stacked", {"encoder": str(tmp_path)})
    assert "no safetensors weights" in problem


def test_an_absent_encoder_is_no_problem_yet_and_a_misspelt_one_is(monkeypatch, tmp_path):
    monkeypatch.setenv("CLINADAPT_ENCODERS", str(tmp_path))
    assert registry.file_problems("pretrained", {"encoder": "drbert"}) == []
    assert registry.file_problems("pretrained", {"encoder": "owner/name"}) == []
    (problem,) = registry.file_problems("pretrained", {"encoder": "drbret"})
    assert "did you mean drbert" in problem
