"""A study file becomes rows and cells; whatever is wrong with it is told at once."""

from collections import Counter

import pytest

from clinadapt.core.errors import InputError
from clinadapt.models import registry
from clinadapt.models.pretrained import PretrainedModel
from clinadapt.models.tfidf_logistic import TfidfLogistic
from clinadapt.study.design import BUILT_IN, Design, expand, identity, load_design


def design(*rows, **settings):
    return load_design({"name": "test", "configurations": list(rows), **settings})


def rows_of(cells):
    return list({id(cell.configuration): cell.configuration for cell in cells}.values())


def problems_of(*args, **kwargs):
    with pytest.raises(InputError) as caught:
        expand(design(*args, **kwargs))
    return caught.value.problems


# ---------------------------------------------------------------- axes and seeds


def test_lists_are_axes_and_axes_multiply():
    row = {"model": "tfidf-logistic", "C": [0.1, 1, 10], "characters": [False, True], "words": 1}
    cells = expand(design(row))
    found = [
        (cell.configuration.settings["C"], cell.configuration.settings["characters"])
        for cell in cells
    ]
    assert found == [(C, characters) for C in (0.1, 1, 10) for characters in (False, True)]
    assert all(cell.configuration.settings["words"] == 1 for cell in cells)


def test_families_are_an_axis_too():
    row = {"model": ["tfidf-mlp", "transformer", "moe"], "dropout": [0.1, 0.2]}
    found = Counter(cell.configuration.model for cell in expand(design(row)))
    assert found == {"tfidf-mlp": 2, "transformer": 2, "moe": 2}


def test_seeds_multiply_what_has_randomness_only():
    cells = expand(design({"model": ["tfidf-logistic", "tfidf-mlp"]}, seeds=[3, 1, 2]))
    assert [(cell.configuration.model, cell.seed) for cell in cells] == [
        ("tfidf-logistic", 3),
        *[("tfidf-mlp", seed) for seed in (3, 1, 2)],
    ]
    assert "seed" not in cells[0].resolved
    assert [cell.build().seed for cell in cells[1:]] == [3, 1, 2]


def test_a_row_that_stands_twice_is_one_row():
    twice = design({"model": "tfidf-mlp"}, {"model": ["tfidf-mlp", "moe"]}, {"model": "moe"})
    assert [cell.configuration.model for cell in expand(twice)] == ["tfidf-mlp", "moe"]
    default = TfidfLogistic().C
    spelled = design({"model": "tfidf-logistic"}, {"model": "tfidf-logistic", "C": default})
    assert len(expand(spelled)) == 1


def test_shared_lengths_go_to_rows_that_know_them_and_set_none():
    cells = expand(
        design(
            {"model": ["tfidf-logistic", "transformer"]},
            {"model": "moe", "max_tokens": 32},
            max_tokens=64,
            truncation="tail",
        )
    )
    logistic, transformer, moe = (cell.resolved for cell in cells)
    assert "max_tokens" not in logistic
    assert (transformer["max_tokens"], transformer["truncation"]) == (64, "tail")
    assert (moe["max_tokens"], moe["truncation"]) == (32, "tail")


def test_a_cell_builds_what_its_row_says():
    row = {"model": "pretrained", "encoder": "drbert", "adapter": "bottleneck", "epochs": 2}
    (cell,) = expand(design(row, seeds=[7]))
    model = cell.build()
    assert isinstance(model, PretrainedModel)
    assert (model.encoder, model.adapter, model.epochs, model.seed) == (
        "drbert",
        "bottleneck",
        2,
        7,
    )
    assert cell.resolved == model.get_params()


# ---------------------------------------------------------------- problems


def test_everything_wrong_with_the_rows_is_told_at_once():
    found = problems_of(
        {"model": "tfidf-forest"},
        {"model": "pretrained", "structur": "bottleneck"},
        {"model": "transformer", "epochs": [0, 3], "dropout": "much"},
        {"model": "tfidf-mlp", "seed": 3},
        {"encoder": "minilm"},
        {"model": "pretrained", "adapter": "tiny_attention", "placement": "pooled"},
        {"model": "moe", "encoder": "moe"},
        {"model": "tfidf-logistic"},
    )
    expected = [
        ("row 1:", "unknown model 'tfidf-forest'", "tfidf-logistic"),
        ("row 2:", "no setting 'structur'", "did you mean 'adapter'?"),
        ("row 3:", "epochs = 0", "greater than or equal to 1"),
        ("row 3:", "dropout = 'much'", "valid number"),
        ("row 4:", "seeds are set for the whole study", "'seeds'"),
        ("row 5:", "no family", "pretrained"),
        ("row 6:", "tiny_attention", "nothing to attend to"),
        ("row 7:", "'encoder' is fixed by the model", ""),
    ]
    for parts in expected:
        assert any(all(part in problem for part in parts) for problem in found), parts
    assert {problem[:5] for problem in found} == {f"row {number}" for number in range(1, 8)}
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
def test_everything_wrong_with_the_study_is_told_at_once(settings, parts):
    with pytest.raises(InputError) as caught:
        load_design({"name": "test", "configurations": [{"model": "moe"}], **settings})
    assert len(caught.value.problems) == len(parts)
    for part in parts:
        assert any(f"the study: {part}: " in problem for problem in caught.value.problems), part


def test_a_study_without_name_or_rows():
    with pytest.raises(InputError) as caught:
        load_design({})
    assert len(caught.value.problems) == 2


# ---------------------------------------------------------------- encoders, labels, identity


def test_encoders_replace_those_of_the_design():
    first = {"model": "pretrained", "encoder": ["drbert", "alibert"], "tuned_layers": [0, 1]}
    cells = expand(design(first, {"model": "moe"}), encoders=["minilm", "folder/other"])
    rows = [cell.configuration for cell in cells if cell.configuration.model == "pretrained"]
    assert [(row.settings["encoder"], row.settings["tuned_layers"]) for row in rows] == [
        ("minilm", 0),
        ("folder/other", 0),
        ("minilm", 1),
        ("folder/other", 1),
    ]
    assert [cell.configuration.model for cell in cells].count("moe") == 1


@pytest.mark.parametrize(
    "row",
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
def test_rows_that_differ_are_labelled_differently(row, shared):
    rows = rows_of(expand(design(row, **shared)))
    assert len(rows) > 1
    assert len({row.label for row in rows}) == len(rows)


@pytest.mark.parametrize(
    ("row", "label"),
    [
        ({"model": "tfidf-logistic"}, "TF-IDF + logistic regression"),
        ({"model": "moe", "epochs": 3}, "MoE-Transformer from scratch (epochs=3)"),
        ({"model": "pretrained"}, "camembert-bio · none · frozen"),
        (
            {"model": "pretrained", "encoder": "/data/mine", "adapter": "bottleneck"},
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
def test_labels_in_words(row, label):
    (cell,) = expand(design(row, max_tokens=64))
    assert cell.configuration.label == label


def test_place_of_a_row_in_the_comparison():
    first = {"model": "pretrained", "encoder": "minilm", "adapter": ["none", "bottleneck"]}
    rows = rows_of(expand(design(first, {"model": "tfidf-logistic"})))
    none, bottleneck, logistic = (row.model for row in rows)
    assert none["placement"] is None
    assert bottleneck == {
        "model": "pretrained",
        "encoder": "minilm",
        "adapter": "bottleneck",
        "placement": "final",
        "tuned_layers": 0,
    }
    assert logistic == {**dict.fromkeys(bottleneck), "model": "tfidf-logistic"}


def test_a_stacked_row_is_placed_by_its_encoder():
    row = {"model": "stacked", "encoder_options": {"adapter": "bottleneck", "tuned_layers": 1}}
    (cell,) = expand(design(row, max_tokens=32, seeds=[7]), encoders=["minilm"])
    assert cell.configuration.axes == {
        "model": "stacked",
        "encoder": "minilm",
        "adapter": "bottleneck",
        "placement": "final",
        "tuned_layers": 1,
    }
    _, encoder = cell.build().parts()
    assert (encoder.encoder, encoder.max_tokens, encoder.seed) == ("minilm", 32, 7)
    (alone,) = expand(design({"model": "pretrained", "encoder": "minilm"}))
    assert cell.start_fingerprint == alone.start_fingerprint is not None


def cell_ids(cells):
    return [identity(cell.configuration.model, cell.resolved) for cell in cells]


def test_a_design_gives_the_same_ids_every_time_and_each_cell_its_own():
    first = {"model": "pretrained", "adapter": ["none", "bottleneck"], "tuned_layers": [0, 1]}
    turned = dict(reversed(first.items()))
    ids = cell_ids(expand(design(first, seeds=[0, 1])))
    assert ids == cell_ids(expand(design(first, seeds=[0, 1])))
    assert set(ids) == set(cell_ids(expand(design(turned, seeds=[1, 0]))))
    assert len(set(ids)) == len(ids) == 8
    assert not set(ids) & set(cell_ids(expand(design(first, max_tokens=99))))


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
    for source in (path, str(path)):
        assert load_design(source) == Design(name="é", metric="auroc", rows=[{"model": "moe"}])


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
    cells = expand(load_design(name))
    assert load_design(name).name == name
    rows = rows_of(cells)
    assert len({row.label for row in rows}) == len(rows)
    assert len(set(cell_ids(cells))) == len(cells)


def test_the_papers_grid():
    cells = expand(load_design("paper"))
    pretrained = [cell for cell in cells if cell.configuration.model == "pretrained"]
    axes = ("encoder", "adapter", "tuned_layers")
    found = {(*(cell.resolved[axis] for axis in axes), cell.seed) for cell in pretrained}
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
    assert Counter(cell.configuration.model for cell in cells) == {
        "pretrained": 90,
        "transformer": 3,
        "moe": 3,
        "tfidf-logistic": 1,
        "tfidf-mlp": 3,
        "tfidf-autoencoder": 3,
    }
    assert all(cell.resolved["max_tokens"] == 256 for cell in pretrained)
    assert len(cells) == 103
