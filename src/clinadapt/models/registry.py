"""Registry of models by the name used in study files; packages add theirs by entry point."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from clinadapt.core import param_validation
from clinadapt.core.errors import InputError
from clinadapt.models.contract import Model
from clinadapt.models.from_scratch import ScratchModel
from clinadapt.models.pretrained import PretrainedModel
from clinadapt.models.private import PrivateModel
from clinadapt.models.sklearn_pipeline import SklearnModel
from clinadapt.models.stacked import StackedModel
from clinadapt.models.tfidf_autoencoder import TfidfAutoencoder
from clinadapt.models.tfidf_logistic import TfidfLogistic
from clinadapt.models.tfidf_mlp import TfidfMLP

ENTRY_POINTS = "clinadapt.models"


@dataclass(frozen=True)
class RegisteredModel:
    """An entry of the registry: a model class, and the settings that its name fixes."""

    cls: type[Model]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def build(self, values: Mapping[str, Any]) -> Model:
        """Return an unfitted instance."""
        return self.cls(**self.fixed, **values)


BUILT_IN: dict[str, RegisteredModel] = {
    "tfidf-logistic": RegisteredModel(TfidfLogistic),
    "tfidf-mlp": RegisteredModel(TfidfMLP),
    "tfidf-autoencoder": RegisteredModel(TfidfAutoencoder),
    "transformer": RegisteredModel(ScratchModel, {"encoder": "transformer"}),
    "moe": RegisteredModel(ScratchModel, {"encoder": "moe"}),
    "pretrained": RegisteredModel(PretrainedModel),
    "stacked": RegisteredModel(StackedModel),
    "private": RegisteredModel(PrivateModel),
    "sklearn": RegisteredModel(SklearnModel),
}


@cache
def models() -> dict[str, RegisteredModel]:
    """Return every model by name: the built-in ones, and those of installed packages.

    A package registers a subclass of `clinadapt.models.contract.Model` under the entry-point group
    ``clinadapt.models``.

    Raises
    ------
    InputError
        A package registers something else, or a name that is already taken.
    """
    known = dict(BUILT_IN)
    problems = []
    for point in entry_points(group=ENTRY_POINTS):
        cls = point.load()
        if point.name in known:
            problems.append(f"entry point {point.value}: the name {point.name!r} is already taken")
        elif not (isinstance(cls, type) and issubclass(cls, Model)):
            problems.append(f"entry point {point.value} is not a subclass of clinadapt's Model")
        else:
            known[point.name] = RegisteredModel(cls)
    param_validation.raise_if(problems)
    return known


def build(name: str, values: Mapping[str, Any]) -> Model:
    """Return an unfitted model.

    Raises
    ------
    InputError
        Unknown model, or anything wrong with its settings.
    """
    param_validation.raise_if(problems(name, values))
    return models()[name].build(values)


def problems(name: str, values: Mapping[str, Any]) -> list[str]:
    """Return all problems of a model's settings; empty if they are valid."""
    if name not in models():
        near = difflib.get_close_matches(name, models(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        return [f"unknown model {name!r}{hint}; known: {', '.join(models())}"]
    entry = models()[name]
    fixed = [f"{name}: {key!r} is fixed by the model" for key in values if key in entry.fixed]
    invalid = fixed or param_validation.problems(entry.cls, {**entry.fixed, **values})
    return invalid or entry.build(values).setting_problems()


def file_problems(name: str, values: Mapping[str, Any]) -> list[str]:
    """Return the problems of files named by valid settings; a fitted model needs none of them."""
    return models()[name].build(values).file_problems()


def name_of(model: Model) -> str:
    """Return the name that a model is registered under.

    Raises
    ------
    InputError
        Its class is not registered.
    """
    for name, entry in models().items():
        if type(model) is entry.cls and all(
            getattr(model, key) == value for key, value in entry.fixed.items()
        ):
            return name
    raise InputError(f"{type(model).__name__} is not a registered model")


def settings_of(model: Model) -> dict[str, Any]:
    """Return the settings of a model, without those that its name fixes."""
    fixed = models()[name_of(model)].fixed
    return {name: value for name, value in model.get_params().items() if name not in fixed}


def takes(name: str, setting: str) -> bool:
    """Return whether a model has a setting and its name does not fix it."""
    entry = models().get(name)
    return (
        entry is not None
        and setting not in entry.fixed
        and setting in param_validation.setting_names(entry.cls)
    )
