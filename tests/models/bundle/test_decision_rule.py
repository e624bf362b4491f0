"""Thresholds on a command line, and the version of predictions that they lead to."""

from pathlib import Path

import pytest

from clinadapt.core.errors import InputError
from clinadapt.models.bundle.decision_rule import DecisionRule, named_thresholds, rules_of

RECORD = {"task": "binary", "classes": ["no", "yes"], "threshold": {"value": 0.4}}
CALIBRATED = RECORD | {
    "calibration": {},
    "calibrated_threshold": {"value": 0.2},
    "scale": "calibrated",
}


def test_a_threshold_is_for_all_tasks_or_for_one():
    assert named_thresholds(["0.3"], ["a", "b"]) == {"a": 0.3, "b": 0.3}
    assert named_thresholds(["0.3", "b=0.5"], ["a", "b"]) == {"a": 0.3, "b": 0.5}
    with pytest.raises(InputError) as error:
        named_thresholds(["x", "c=0.5"], ["a", "b"])
    assert len(error.value.problems) == 2
    assert "expected one of: a, b" in error.value.problems[1]


def test_the_rule_is_the_bundle_s_own_unless_another_is_asked_for():
    own = DecisionRule.of(Path("b"), CALIBRATED)
    assert (own.scale, own.threshold, own.is_own) == ("calibrated", 0.2, True)
    raw = DecisionRule.of(Path("b"), CALIBRATED, "raw")
    assert (raw.threshold, raw.own_threshold) == (0.4, 0.4)
    given = DecisionRule.of(Path("b"), CALIBRATED, None, 0.7)
    assert (given.threshold, given.own_threshold) == (0.7, 0.2)


def test_predictions_by_another_rule_have_another_version():
    rules = [
        DecisionRule.of(Path("b"), CALIBRATED, *asked) for asked in ((), ("raw",), (None, 0.7))
    ]
    versions = {rule.version("0123456789abcdef") for rule in rules}
    assert len(versions) == 3
    assert "0123456789abcdef" in versions


def test_all_problems_are_told_at_once():
    bundles = {"a": Path("a"), "b": Path("b")}
    records = {"a": RECORD, "b": RECORD | {"task": "multiclass"}}
    with pytest.raises(InputError) as error:
        rules_of(bundles, records, "calibrated", {"b": 0.5})
    assert [text.split()[0] for text in error.value.problems] == ["a:", "b:", "b"]
