"""Names of version 0.1 are read as those of today, and nothing else is renamed."""

import importlib.util
import logging

import pytest

from clinadapt.core import old_names
from clinadapt.core.errors import InputError

OLD_SETTINGS = {
    "encoder": "camembert-bio",
    "structure": "bottleneck",
    "structure_options": {"inner": 8},
    "cut": "windows",
    "encoder_options": {"structure": "lora", "structure_options": {"rank": 2}, "epochs": 1},
}
SETTINGS = {
    "encoder": "camembert-bio",
    "adapter": "bottleneck",
    "adapter_options": {"inner": 8},
    "truncation": "windows",
    "encoder_options": {"adapter": "lora", "adapter_options": {"rank": 2}, "epochs": 1},
}


@pytest.fixture
def fresh():
    """The module as a new process has it: nothing has been reported yet."""
    spec = importlib.util.spec_from_file_location("fresh_old_names", old_names.__file__)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------- settings


def test_settings_get_the_names_of_today():
    before = {**OLD_SETTINGS, "encoder_options": dict(OLD_SETTINGS["encoder_options"])}
    assert old_names.settings(OLD_SETTINGS, "s") == SETTINGS
    assert before == OLD_SETTINGS  # what was given stays as it is


def test_settings_of_today_stay():
    assert old_names.settings(SETTINGS, "s") == SETTINGS


def test_options_of_an_encoder_may_be_an_axis():
    axis = [{"structure": "lora"}, {"adapter": "ia3"}, 7]
    renamed = old_names.settings({"encoder_options": axis}, "s")
    assert renamed == {"encoder_options": [{"adapter": "lora"}, {"adapter": "ia3"}, 7]}


@pytest.mark.parametrize(
    "content",
    [
        {"structure": "lora", "adapter": "lora"},
        {"structure_options": {}, "adapter_options": {}},
        {"cut": "head", "truncation": "tail"},
        {"encoder_options": {"structure": "lora", "adapter": "ia3"}},
        {"encoder_options": [{"structure": "lora", "adapter": "ia3"}]},
    ],
)
def test_a_setting_under_both_names_is_refused(content):
    with pytest.raises(InputError, match="the place: ") as raised:
        old_names.settings(content, "the place")
    (problem,) = raised.value.problems
    pairs = old_names.SETTINGS.items()
    assert any(old in problem and new in problem for old, new in pairs)


# ---------------------------------------------------------------- study files


def test_a_study_file_gets_the_names_of_today():
    old = {
        "name": "x",
        "cut": "tail",
        "rows": [
            {"family": "pretrained", **OLD_SETTINGS},
            {"family": "stacked", "encoder_options": [{"structure": ["none", "lora"]}]},
            {"model": "private", "structure": ["bottleneck", "none"]},
            "not a table",
        ],
    }
    assert old_names.design(old, "s") == {
        "name": "x",
        "truncation": "tail",
        "configurations": [
            {"model": "pretrained", **SETTINGS},
            {"model": "stacked", "encoder_options": [{"adapter": ["none", "lora"]}]},
            {"model": "private", "adapter": ["bottleneck", "none"]},
            "not a table",
        ],
    }


def test_a_study_file_of_today_stays():
    today = {"truncation": "tail", "configurations": [{"model": "pretrained", **SETTINGS}]}
    assert old_names.design(today, "s") == today
    assert old_names.design({"configurations": 3}, "s") == {"configurations": 3}


@pytest.mark.parametrize(
    ("content", "pair"),
    [
        ({"rows": [], "configurations": []}, ("rows", "configurations")),
        ({"cut": "head", "truncation": "head"}, ("cut", "truncation")),
        ({"rows": [{"family": "a", "model": "a"}]}, ("family", "model")),
        ({"configurations": [{"model": "a", "structure": "x", "adapter": "x"}]},
         ("structure", "adapter")),
    ],
)  # fmt: skip
def test_a_study_file_with_both_names_is_refused(content, pair):
    with pytest.raises(InputError, match=r"study\.toml: ") as raised:
        old_names.design(content, "study.toml")
    (problem,) = raised.value.problems
    assert all(name in problem for name in pair)


# ---------------------------------------------------------------- results


def test_a_result_gets_the_names_of_today_at_every_depth():
    old = {
        "row_id": "0a",
        "rows": [{"row": "r", "cell": {"family": "private", "cut": {"test": 3}}}],
        "cost": {"economies": ["x"], "seconds": 1.5},
        "deep": [[{"structure": "lora", "structure_options": None}]],
    }
    assert old_names.result(old) == {
        "configuration_id": "0a",
        "configurations": [
            {"configuration": "r", "run": {"model": "private", "truncated": {"test": 3}}}
        ],
        "cost": {"memory_savings": ["x"], "seconds": 1.5},
        "deep": [[{"adapter": "lora", "adapter_options": None}]],
    }


@pytest.mark.parametrize("name", old_names.NOT_OURS)
def test_names_of_users_are_not_renamed(name):
    theirs = {"family": 3, "row": {"cell": 1}, "cut": [{"structure": 2}]}
    content = {"row": "r", "data": {name: theirs}}
    assert old_names.result(content) == {"configuration": "r", "data": {name: theirs}}


def test_values_are_not_renamed():
    assert old_names.result({"metric": "row", "ids": ["cell", "family"]}) == {
        "metric": "row",
        "ids": ["cell", "family"],
    }
    assert old_names.result("row") == "row"


def test_truncation_is_a_setting_and_truncated_a_count():
    old = {"settings": {"cut": "tail", "structure": "none"}, "data": {"cut": {"test": 4}}}
    assert old_names.result(old) == {
        "settings": {"truncation": "tail", "adapter": "none"},
        "data": {"truncated": {"test": 4}},
    }


def test_what_was_called_model_in_a_run_is_its_axes():
    old = {"row_id": "0a", "row": "r", "model": {"family": "pretrained", "structure": "lora"}}
    assert old_names.result(old) == {
        "configuration_id": "0a",
        "configuration": "r",
        "axes": {"model": "pretrained", "adapter": "lora"},
    }
    assert old_names.result({"model": {"cell": 1}}) == {"model": {"run": 1}}


# ---------------------------------------------------------------- ids and weights


def test_ids_hash_the_names_of_old():
    assert old_names.as_hashed(SETTINGS) == OLD_SETTINGS
    assert old_names.settings(old_names.as_hashed(SETTINGS), "s") == SETTINGS
    assert old_names.as_hashed({"C": 1.0, "encoder_options": None}) == {
        "C": 1.0,
        "encoder_options": None,
    }


@pytest.mark.parametrize(
    ("old", "today"),
    [
        ("structure.down.weight", "adapter.down.weight"),
        ("encoder.model.layer.3.structure.up.bias", "encoder.model.layer.3.adapter.up.bias"),
        ("adapter.down.weight", "adapter.down.weight"),
        ("infrastructure.weight", "infrastructure.weight"),
        ("head.structure", "head.structure"),
    ],
)
def test_weights_get_the_names_of_today(old, today):
    assert old_names.weight(old) == today


# ---------------------------------------------------------------- the notice


def test_old_names_are_reported_once_a_process(fresh, caplog):
    with caplog.at_level(logging.WARNING, logger="clinadapt"):
        fresh.settings(SETTINGS, "today.toml")
        fresh.design({"configurations": [{"model": "private"}]}, "today.toml")
        assert not caplog.records
        fresh.settings({"structure": "none"}, "first.toml")
        fresh.design({"rows": [{"family": "private", "cut": "head"}]}, "second.toml")
        fresh.tell_once("third.json")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "first.toml" in record.getMessage()
