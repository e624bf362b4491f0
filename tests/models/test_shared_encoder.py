"""Several bundles in one pass: the probabilities of each alone, the encoder run once."""

import numpy as np
import pytest
from fitted_models import TEXTS, build, fitted

from clinadapt import load
from clinadapt.core.errors import InputError
from clinadapt.features import frozen_encoder
from clinadapt.models.bundle.record import named_bundles
from clinadapt.models.shared_encoder import Together

MODELS = {
    "linear": ("pretrained", {}, "binary"),
    "adapter": ("pretrained", {"adapter": "bottleneck"}, "multiclass"),
    "first": ("pretrained", {"pooling": "first"}, "multilabel"),
    "stacked": ("stacked", {}, "multiclass"),
    "shorter": ("pretrained", {"max_tokens": 8}, "binary"),
    "top tuned": ("pretrained", {"tuned_layers": 1}, "binary"),
    "all tuned": ("pretrained", {"tuned_layers": "all"}, "binary"),
    "windows": ("pretrained", {"truncation": "windows", "max_tokens": 6}, "binary"),
    "counts": ("tfidf-logistic", {}, "multilabel"),
}
SHARING = ("linear", "adapter", "first", "stacked")


@pytest.fixture(scope="module")
def bundles(encoder_folders, tmp_path_factory):
    root = tmp_path_factory.mktemp("bundles")
    return {
        name: fitted(build(family, encoder_folders, **values), task).save(root / name)
        for name, (family, values, task) in MODELS.items()
    }


def test_probabilities_are_those_of_each_alone(bundles):
    together = Together.load(bundles)
    probabilities = together.predict_proba(TEXTS)
    assert list(probabilities) == list(MODELS)
    for name, folder in bundles.items():
        assert np.array_equal(probabilities[name], load(folder).predict_proba(TEXTS)), name
    some = together.predict_proba(TEXTS[:3], ["counts", "first"])
    assert list(some) == ["counts", "first"]
    assert np.array_equal(some["first"], load(bundles["first"]).predict_proba(TEXTS[:3]))
    assert {name: p.shape[0] for name, p in together.predict_proba([]).items()} == dict.fromkeys(
        MODELS, 0
    )
    with pytest.raises(InputError, match="empty text at 1 position"):
        together.predict_proba(["fievre", " "])


def test_shared_layers_are_loaded_once_and_read_once_a_note(bundles, monkeypatch):
    loaded, read = [], []
    make = frozen_encoder.make_reader

    def counting(*arguments):
        reader = make(*arguments)
        loaded.append(reader)

        def count(ids, mask):
            read.append(len(ids))
            return reader(ids, mask)

        return count

    monkeypatch.setattr(frozen_encoder, "make_reader", counting)
    together = Together.load({name: bundles[name] for name in SHARING})
    together.predict_proba(TEXTS)
    assert len(loaded) == 1
    assert sum(read) == len(set(TEXTS))
    for name in SHARING:  # by itself, too
        together.classifiers[name].predict_proba(TEXTS[:1])
    assert len(loaded) == 1


def test_what_differs_is_not_shared(bundles, encoder_folders, tmp_path):
    other = build("pretrained", encoder_folders, encoder=str(encoder_folders["camembert"]))
    folder = fitted(other, "binary").save(tmp_path / "other")
    together = Together.load(bundles | {"other": folder})
    prefixes = {
        name: classifier.model_.prefix_
        for name, classifier in together.classifiers.items()
        if name not in ("stacked", "counts")
    }
    shared = [name for name, prefix in prefixes.items() if prefix is prefixes["linear"]]
    assert shared == ["linear", "adapter", "first"]
    assert len({id(prefix) for prefix in prefixes.values()}) == len(prefixes) - 2


def test_names_of_tasks(tmp_path):
    bundles = named_bundles(["OUT/recommended", f"{tmp_path}/smoker", "diabetes=x=y"])
    assert list(bundles) == ["OUT", "smoker", "diabetes"]
    assert str(bundles["diabetes"]) == "x=y"
    with pytest.raises(InputError) as raised:
        named_bundles(["a/model", "b/model", "no good=c"])
    assert "two tasks are called 'model'" in str(raised.value)
    assert "got 'no good'" in str(raised.value)
