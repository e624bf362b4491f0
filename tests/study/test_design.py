"""A study file expands into configurations and runs; all its problems are reported at once."""

import time
from collections import Counter

import pytest

from clinadapt.core.errors import InputError
from clinadapt.models import registry
from clinadapt.models.pretrained import PretrainedModel
from clinadapt.models.tfidf_logistic import TfidfLogistic
from clinadapt.study.design import Design, expand, identity, load_design
from clinadapt.study.study_file import BUILT_IN


def design(*configurations, **settings):
    return load_design({"name": "test", "configurations": list(configurations), **settings})


def configurations_of(runs):
    return list({id(run.configuration): run.configuration for run in runs}.values())


def problems_of(*args, **kwargs):
    with pytest.raises(InputError) as caught:
        expand(design(*args, **kwargs))
    return caught.value.problems


# ---------------------------------------------------------------- axes and seeds


def test_lists_are_axes_and_axes_multiply():
    configuration = {
        "model": "tfidf-logistic",
        "C": [0.1, 1, 10],
        "characters": [False, True],
        "words": 1,
    }
    runs = expand(design(configuration))
    found = [
        (run.configuration.settings["C"], run.configuration.settings["characters"]) for run in runs
    ]
    assert found == [(C, characters) for C in (0.1, 1, 10) for characters in (False, True)]
    assert all(run.configuration.settings["words"] == 1 for run in runs)


def test_models_are_an_axis_too():
    configuration = {"model": ["tfidf-mlp", "transformer", "moe"], "dropout": [0.1, 0.2]}
    found = Counter(run.configuration.model for run in expand(design(configuration)))
    assert found == {"tfidf-mlp": 2, "transformer": 2, "moe": 2}


def test_seeds_multiply_what_has_randomness_only():
    runs = expand(design({"model": ["tfidf-logistic", "tfidf-mlp"]}, seeds=[3, 1, 2]))
    assert [(run.configuration.model, run.seed) for run in runs] == [
        ("tfidf-logistic", 3),
        *[("tfidf-mlp", seed) for seed in (3, 1, 2)],
    ]
    assert "seed" not in runs[0].resolved
    assert [run.build().seed for run in runs[1:]] == [3, 1, 2]


def test_a_configuration_given_twice_is_one_configuration():
    twice = design({"model": "tfidf-mlp"}, {"model": ["tfidf-mlp", "moe"]}, {"model": "moe"})
    assert [run.configuration.model for run in expand(twice)] == ["tfidf-mlp", "moe"]
    default = TfidfLogistic().C
    spelled = design({"model": "tfidf-logistic"}, {"model": "tfidf-logistic", "C": default})
    assert len(expand(spelled)) == 1


def test_shared_lengths_are_defaults_of_models_that_have_them():
    runs = expand(
        design(
            {"model": ["tfidf-logistic", "transformer"]},
            {"model": "moe", "max_tokens": 32},
            max_tokens=64,
            truncation="tail",
        )
    )
    logistic, transformer, moe = (run.resolved for run in runs)
    assert "max_tokens" not in logistic
    assert (transformer["max_tokens"], transformer["truncation"]) == (64, "tail")
    assert (moe["max_tokens"], moe["truncation"]) == (32, "tail")


def test_a_run_builds_its_configuration():
    configuration = {
        "model": "pretrained",
        "encoder": "drbert",
        "adapter": "bottleneck",
        "epochs": 2,
    }
    (run,) = expand(design(configuration, seeds=[7]))
    model = run.build()
    assert isinstance(model, PretrainedModel)
    assert (model.encoder, model.adapter, model.epochs, model.seed) == (
        "drbert",
        "bottleneck",
        2,
        7,
    )
    assert run.resolved == model.get_params()


# ---------------------------------------------------------------- problems


def test_all_problems_of_configurations_are_reported_at_once():
    found = problems_of(
        {"model": "tfidf-forest"},
        {"model": "pretrained", "adaptr": "bottleneck"},
        {"model": "transformer", "epochs": [0, 3], "dropout": "much"},
        {"model": "tfidf-mlp", "seed": 3},
        {"encoder": "minilm"},
        {"model": "pretrained", "adapter": "tiny_attention", "placement": "pooled"},
        {"model": "moe", "encoder": "moe"},
        {"model": "tfidf-logistic"},
    )
    expected = [
        ("configuration 1:", "unknown", "'tfidf-forest'", "tfidf-logistic"),
        ("configuration 2:", "no setting 'adaptr'", "did you mean 'adapter'?"),
        ("configuration 3:", "epochs = 0", "greater than or equal to 1"),
        ("configuration 3:", "dropout = 'much'", "valid number"),
        ("configuration 4:", "'seed'", "'seeds'"),
        ("configuration 5:", "'model' is missing", "pretrained"),
        ("configuration 6:", "tiny_attention", "nothing to attend to"),
        ("configuration 7:", "'encoder' is fixed by"),
    ]
    for parts in expected:
        assert any(all(part in problem for part in parts) for problem in found), parts
    numbers = {problem.partition(":")[0] for problem in found}
    assert numbers == {f"configuration {number}" for number in range(1, 8)}
    assert len(found) == len(set(found))


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"configurations": []}, ["configurations"]),
        ({"seeds": []}, ["seeds"]),
        ({"resamples": 10, "test_fraction": 1.5}, ["resamples", "test_fraction"]),
        (
            {"metrik": "f1", "max_tokens": 1, "truncation": "middle"},
            ["metrik", "max_tokens", "truncation"],
        ),
    ],
)
def test_all_problems_of_a_study_are_reported_at_once(settings, parts):
    with pytest.raises(InputError) as caught:
        load_design({"name": "test", "configurations": [{"model": "moe"}], **settings})
    assert len(caught.value.problems) == len(parts)
    for part in parts:
        assert any(f"the study: {part}: " in problem for problem in caught.value.problems), part


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"seeds": [0, 1, 0]}, "seeds: expected each value once, these are given twice: 0"),
        ({"seeds": [-1]}, "seeds.0: Input should be greater than or equal to 0"),
        ({"seeds": [2**32]}, "seeds.0: "),
        ({"seeds": [True]}, "seeds.0: "),
        ({"seeds": [0.5]}, "seeds.0: "),
        ({"split_seed": -1}, "split_seed: "),
        ({"resamples": 10**11}, "resamples: Input should be less than or equal to 100000"),
        ({"margin": float("nan")}, "margin: "),
        ({"margin": float("inf")}, "margin: "),
        ({"margin": 1}, "margin: "),
        ({"curve": {"shares": []}}, "curve.shares: "),
        ({"curve": {"shares": [0.2, 0.20]}}, "curve.shares: expected each value once"),
        ({"curve": {"shares": [0.2], "draws": 10**6}}, "curve.draws: "),
        (
            {"curve": {"shares": [0.2], "drwas": 2}},
            "curve.drwas: unknown key; did you mean 'draws'",
        ),
        ({"seeeds": [0]}, "seeeds: unknown key; did you mean 'seeds'?"),
        ({"qqq": 1}, "qqq: unknown key; known: name, configurations, seeds"),
    ],
)
def test_numbers_and_keys_that_cannot_be_meant(settings, words):
    with pytest.raises(InputError) as caught:
        design({"model": "moe"}, **settings)
    (problem,) = caught.value.problems
    assert f"the study: {words}" in problem


@pytest.mark.parametrize(
    ("configuration", "words"),
    [
        ({"model": "tfidf-logistic", "characters": []}, "'characters' is an empty list"),
        ({"model": []}, "'model' is an empty list"),
        ({"model": {"name": "moe"}}, "'model' has to be a name"),
        ({"model": [1]}, "'model' has to be a name"),
        ({"model": "tfidf-logistik"}, "did you mean 'tfidf-logistic'?"),
        ({"model": "moe", "epochs": 10**9}, "epochs = 1000000000"),
        ({"model": "moe", "learning_rate": float("inf")}, "learning_rate = inf"),
        ({"model": "tfidf-logistic", "C": float("nan")}, "C = nan"),
    ],
)
def test_settings_that_cannot_be_meant(configuration, words):
    (problem,) = problems_of(configuration)
    assert problem.startswith("configuration 1: ")
    assert words in problem


def test_a_study_of_too_many_runs_is_counted_and_not_expanded():
    axes = ("epochs", "batch_size", "inner", "patience")
    huge = {"model": "tfidf-mlp", **{axis: list(range(1, 1001)) for axis in axes}}
    started = time.process_time()
    (problem,) = problems_of({"model": "moe"}, huge, seeds=[0, 1])
    assert time.process_time() - started < 1
    assert "2,000,000,000,002 runs" in problem
    assert "configuration 2 alone stands for 1,000,000,000,000" in problem
    curve = {"shares": [0.1, 0.5], "draws": 1000}
    (problem,) = problems_of({"model": "tfidf-mlp", "epochs": [1, 2]}, curve=curve, seeds=[1, 2, 3])
    assert "12,006 runs, and at most 10,000" in problem


def test_a_study_without_name_or_configurations():
    with pytest.raises(InputError) as caught:
        load_design({})
    assert len(caught.value.problems) == 2


# ---------------------------------------------------------------- encoders, labels, identity


def test_encoders_replace_those_of_the_design():
    first = {"model": "pretrained", "encoder": ["drbert", "alibert"], "tuned_layers": [0, 1]}
    runs = expand(design(first, {"model": "moe"}), encoders=["minilm", "folder/other"])
    configurations = [run.configuration for run in runs if run.configuration.model == "pretrained"]
    assert [
        (configuration.settings["encoder"], configuration.settings["tuned_layers"])
        for configuration in configurations
    ] == [
        ("minilm", 0),
        ("folder/other", 0),
        ("minilm", 1),
        ("folder/other", 1),
    ]
    assert [run.configuration.model for run in runs].count("moe") == 1


@pytest.mark.parametrize(
    "configuration",
    [
        {"model": [name for name in registry.BUILT_IN if name != "sklearn"]},
        {"model": "tfidf-logistic", "C": [1, 10], "characters": [False, True]},
        {"model": "transformer", "max_tokens": [32, 64], "truncation": ["head", "windows"]},
        {"model": "pretrained", "encoder": ["drbert", "alibert"], "tuned_layers": [0, 1, "all"]},
        {"model": "pretrained", "adapter": ["none", "bottleneck"], "epochs": [2, 3]},
        {"model": "pretrained", "adapter": "bottleneck", "placement": ["final", "pooled"]},
        {
            "model": "pretrained",
            "adapter": ["lora", "dora", "ia3"],
            "placement": "layers",
            "adapted_layers": [1, 2, "all"],
        },
        {
            "model": "stacked",
            "encoder": ["drbert", "alibert"],
            "encoder_options": [{}, {"tuned_layers": 1}, {"adapter": "bottleneck"}],
            "tfidf_options": [{}, {"characters": True}],
        },
    ],
)
@pytest.mark.parametrize("shared", [{}, {"max_tokens": 32, "truncation": "head"}])
def test_different_configurations_have_different_labels(configuration, shared):
    configurations = configurations_of(expand(design(configuration, level="group", **shared)))
    assert len(configurations) > 1
    assert len({configuration.label for configuration in configurations}) == len(configurations)


@pytest.mark.parametrize(
    ("configuration", "label"),
    [
        ({"model": "tfidf-logistic"}, "TF-IDF + logistic regression"),
        ({"model": "moe", "epochs": 3}, "MoE-Transformer from scratch (epochs=3)"),
        ({"model": "pretrained"}, "camembert-bio · none · frozen"),
        (
            {"model": "pretrained", "encoder": "hospital/mine", "adapter": "bottleneck"},
            "mine · bottleneck · frozen",
        ),
        (
            {
                "model": "pretrained",
                "encoder": "minilm",
                "adapter": "lora",
                "placement": "layers",
                "adapted_layers": 2,
                "tuned_layers": "all",
            },
            "minilm · lora in top 2 layers · all tuned",
        ),
        (
            {
                "model": "stacked",
                "encoder": "minilm",
                "encoder_options": {"tuned_layers": 1, "epochs": 3},
                "tfidf_options": {"characters": True},
            },
            "TF-IDF + minilm · none · top 1 tuned (epochs=3, tfidf characters=True)",
        ),
    ],
)
def test_labels_in_words(configuration, label):
    (run,) = expand(design(configuration, max_tokens=64))
    assert run.configuration.label == label


def test_axes_of_a_configuration():
    first = {"model": "pretrained", "encoder": "minilm", "adapter": ["none", "bottleneck"]}
    configurations = configurations_of(expand(design(first, {"model": "tfidf-logistic"})))
    none, bottleneck, logistic = (configuration.axes for configuration in configurations)
    assert none["placement"] is None
    assert bottleneck == {
        "model": "pretrained",
        "encoder": "minilm",
        "adapter": "bottleneck",
        "placement": "final",
        "tuned_layers": 0,
    }
    assert logistic == {**dict.fromkeys(bottleneck), "model": "tfidf-logistic"}


def test_a_stacked_configuration_has_the_axes_of_its_encoder():
    configuration = {
        "model": "stacked",
        "encoder_options": {"adapter": "bottleneck", "tuned_layers": 1},
    }
    (run,) = expand(design(configuration, max_tokens=32, seeds=[7]), encoders=["minilm"])
    assert run.configuration.axes == {
        "model": "stacked",
        "encoder": "minilm",
        "adapter": "bottleneck",
        "placement": "final",
        "tuned_layers": 1,
    }
    _, encoder = run.build().parts()
    assert (encoder.encoder, encoder.max_tokens, encoder.seed) == ("minilm", 32, 7)
    (alone,) = expand(design({"model": "pretrained", "encoder": "minilm"}))
    assert run.start_fingerprint == alone.start_fingerprint is not None


def run_ids(runs):
    return [identity(run.configuration.model, run.resolved) for run in runs]


def test_a_design_gives_the_same_ids_every_time_and_each_run_its_own():
    first = {"model": "pretrained", "adapter": ["none", "bottleneck"], "tuned_layers": [0, 1]}
    turned = dict(reversed(first.items()))
    ids = run_ids(expand(design(first, seeds=[0, 1])))
    assert ids == run_ids(expand(design(first, seeds=[0, 1])))
    assert set(ids) == set(run_ids(expand(design(turned, seeds=[1, 0]))))
    assert len(set(ids)) == len(ids) == 8
    assert not set(ids) & set(run_ids(expand(design(first, max_tokens=99))))


def test_identity_is_of_content():
    assert identity({"a": 1, "b": [2]}) == identity({"b": [2], "a": 1})
    values = [{"a": 1}, {"a": 2}, {"a": "1"}, {"a": None}, {"b": 1}, [1], 1, "é", "e"]
    assert len({identity(value) for value in values}) == len(values)
    assert len(identity()) == 16


# ---------------------------------------------------------------- files


def test_a_study_file(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(
        'name = "é"\nmetric = "auroc"\n[[configurations]]\nmodel = "moe"\n', encoding="utf-8"
    )
    expected = Design(name="é", metric="auroc", configurations=[{"model": "moe"}])
    for source in (path, str(path)):
        assert load_design(source) == expected


def test_a_file_that_is_no_toml(tmp_path):
    (tmp_path / "mine.toml").write_text("name = \n")
    with pytest.raises(InputError, match="not valid TOML"):
        load_design(tmp_path / "mine.toml")


@pytest.mark.parametrize("source", ["papre", "absent.toml", "folder/absent"])
def test_a_study_that_is_not_there(source):
    with pytest.raises(InputError, match=r"expected one of .*paper, quick.*or a TOML file"):
        load_design(source)


@pytest.mark.parametrize("name", sorted(path.stem for path in BUILT_IN.glob("*.toml")))
def test_built_in_studies_expand(name):
    runs = expand(load_design(name))
    assert load_design(name).name == name
    configurations = configurations_of(runs)
    assert len({configuration.label for configuration in configurations}) == len(configurations)
    assert len(set(run_ids(runs))) == len(runs)


def test_the_papers_grid():
    runs = expand(load_design("paper"))
    pretrained = [run for run in runs if run.configuration.model == "pretrained"]
    axes = ("encoder", "adapter", "tuned_layers")
    found = {(*(run.resolved[axis] for axis in axes), run.seed) for run in pretrained}
    assert found == {
        (encoder, adapter, tuned, seed)
        for encoder in ("camembert-bio", "drbert", "alibert")
        for adapter in (
            *("none", "bottleneck", "lightweight"),
            *("tiny_attention", "gated_residual"),
        )
        for tuned in (0, "all")
        for seed in (0, 1, 2)
    }
    assert Counter(run.configuration.model for run in runs) == {
        "pretrained": 90,
        "transformer": 3,
        "moe": 3,
        "tfidf-logistic": 1,
        "tfidf-mlp": 3,
        "tfidf-autoencoder": 3,
    }
    assert all(run.resolved["max_tokens"] == 256 for run in pretrained)
    assert len(runs) == 103
