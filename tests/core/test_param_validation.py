"""Settings are checked against the constructor's annotations, and none is ignored."""

from typing import Annotated, Literal

import pytest
from annotated_types import Ge, Interval

from clinadapt.core import param_validation
from clinadapt.core.errors import InputError


class Kettle:
    def __init__(
        self,
        litres: Annotated[float, Interval(gt=0, le=3)],
        cups: Annotated[int, Ge(1)] | None = None,
        mode: Literal["boil", "keep warm"] = "boil",
        layers: Annotated[int, Ge(0)] | Literal["all"] = 0,
        whistle: bool = False,
        label: str = "kettle",
    ) -> None:
        self.litres = litres
        self.cups = cups
        self.mode = mode
        self.layers = layers
        self.whistle = whistle
        self.label = label


def test_names_stand_in_the_order_of_the_constructor():
    expected = ["litres", "cups", "mode", "layers", "whistle", "label"]
    assert param_validation.setting_names(Kettle) == expected


@pytest.mark.parametrize(
    "values",
    [
        {"litres": 1.5},
        {"litres": 3},
        {"litres": 1.0, "cups": None, "mode": "keep warm", "layers": "all", "whistle": True},
        {"litres": 1.0, "cups": 1, "layers": 0},
    ],
)
def test_good_settings_have_no_problems(values):
    assert param_validation.problems(Kettle, values) == []
    param_validation.check(Kettle(**values))


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"litre": 1.0}, ["no setting 'litre'", "did you mean 'litres'?"]),
        ({"colour": "red"}, ["no setting 'colour'", "it has: litres, cups, mode"]),
        ({"litres": "1"}, ["litres = '1'", "number"]),
        ({"litres": 0}, ["litres = 0", "greater than 0"]),
        ({"litres": 3.5}, ["litres = 3.5", "less than or equal to 3"]),
        ({"litres": float("nan")}, ["litres = nan"]),
        ({"cups": 0}, ["cups = 0", "greater than or equal to 1"]),
        ({"cups": 1.0}, ["cups = 1.0", "integer"]),
        ({"cups": True}, ["cups = True", "integer"]),
        ({"mode": "Boil"}, ["mode = 'Boil'", "'boil' or 'keep warm'"]),
        ({"layers": "some"}, ["layers = 'some'", "'all'"]),
        ({"layers": -1}, ["layers = -1", "greater than or equal to 0"]),
        ({"whistle": 1}, ["whistle = 1", "boolean"]),
        ({"whistle": "no"}, ["whistle = 'no'", "boolean"]),
        ({"label": None}, ["label = None", "string"]),
    ],
)
def test_a_problem_says_what_was_expected_and_what_came(values, parts):
    problems = param_validation.problems(Kettle, {"litres": 1.0, **values})
    for part in ["Kettle", *parts]:
        assert any(part in problem for problem in problems), (part, problems)


def test_a_setting_without_default_is_needed():
    assert param_validation.problems(Kettle, {}) == ["Kettle needs a value for 'litres'"]


def test_all_problems_are_reported_at_once():
    problems = param_validation.problems(Kettle, {"cups": 0, "mode": 3, "moode": 1})
    assert len(problems) == 4
    for name in ("'litres'", "cups", "mode", "'moode'"):
        assert any(name in problem for problem in problems)


def test_an_instance_is_checked_by_what_it_holds_now():
    kettle = Kettle(litres=1.0)
    param_validation.check(kettle)
    kettle.litres, kettle.mode = -1.0, "grill"
    with pytest.raises(InputError) as caught:
        param_validation.check(kettle)
    assert len(caught.value.problems) == 2
    assert "litres = -1.0" in str(caught.value)
    assert "mode = 'grill'" in str(caught.value)


def test_no_problem_is_no_error():
    param_validation.raise_if([])
    with pytest.raises(InputError, match="broken"):
        param_validation.raise_if(["broken"])
