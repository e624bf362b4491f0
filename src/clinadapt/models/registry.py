"""Registry of models by the name used in study files; packages add theirs by entry point.

A model's module is imported when its class is first asked for, so that names can be checked before
torch and scikit-learn are loaded.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from clinadapt.core import param_validation
from clinadapt.core.errors import InputError

if TYPE_CHECKING:
    from clinadapt.models.contract import Model

ENTRY_POINTS = "clinadapt.models"


@dataclass(frozen=True)
class RegisteredModel:
    """An entry of the registry: a model class, and the settings that its name fixes.

    Attributes
    ----------
    place : EntryPoint
        Where the class is defined.
    fixed : mapping
    """

    place: EntryPoint
    fixed: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def cls(self) -> type[Model]:
        """The model class; the first access imports its module."""
        cls: type[Model] = self.place.load()
        return cls

    def build(self, values: Mapping[str, Any]) -> Model:
        """Return an unfitted instance."""
        return self.cls(**self.fixed, **values)


def _built_in(name: str, place: str, **fixed: Any) -> RegisteredModel:
    return RegisteredModel(EntryPoint(name, f"clinadapt.models.{place}", ENTRY_POINTS), fixed)


BUILT_IN: dict[str, RegisteredModel] = {
    model.place.name: model
    for model in (
        _built_in("tfidf-logistic", "tfidf_logistic:TfidfLogistic"),
        _built_in("tfidf-mlp", "tfidf_mlp:TfidfMLP"),
        _built_in("tfidf-autoencoder", "tfidf_autoencoder:TfidfAutoencoder"),
        _built_in("transformer", "from_scratch:ScratchModel", encoder="transformer"),
        _built_in("moe", "from_scratch:ScratchModel", encoder="moe"),
        _built_in("pretrained", "pretrained:PretrainedModel"),
        _built_in("stacked", "stacked:StackedModel"),
        _built_in("attention", "attention:AttentionModel"),
        _built_in("private", "private:PrivateModel"),
        _built_in("sklearn", "sklearn_pipeline:SklearnModel"),
    )
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
        if point.name in known:
            problems.append(f"entry point {point.value}: the name {point.name!r} is already taken")
        elif not _is_model(point.load()):
            problems.append(f"entry point {point.value} is not a subclass of clinadapt's Model")
        else:
            known[point.name] = RegisteredModel(point)
    param_validation.raise_if(problems)
    return known


def _is_model(loaded: Any) -> bool:
    from clinadapt.models.contract import Model

    return isinstance(loaded, type) and issubclass(loaded, Model)


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
