"""Model families: everything that a row of the leaderboard can be.

A family is a class in scikit-learn's manner: the constructor only stores its settings, `fit`
checks them, fitted attributes end in ``_``. All offer what `Family` lists, so that thresholds,
metrics, studies and bundles do not know which one they hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from clinadapt.core import param_validation
from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels, Task
from clinadapt.models.from_scratch import ScratchModel
from clinadapt.models.pretrained import PretrainedModel
from clinadapt.models.private import PrivateModel
from clinadapt.models.stacked import StackedModel
from clinadapt.models.tfidf_autoencoder import TfidfAutoencoder
from clinadapt.models.tfidf_logistic import TfidfLogistic
from clinadapt.models.tfidf_mlp import TfidfMLP

Examples = tuple[Sequence[str], Labels]


class Family(Protocol):
    """What every model family offers."""

    history_: list[dict[str, Any]]
    trainable_parameters_: int
    total_parameters_: int

    def fit(
        self,
        texts: Sequence[str],
        labels: Labels,
        validation: Examples | None = None,
        metric: str | None = None,
        context: Context | None = None,
    ) -> Self:
        """Fit on training notes; validation notes serve early stopping by `metric`."""
        ...

    def predict_proba(
        self, texts: Sequence[str], context: Context | None = None
    ) -> NDArray[np.float64]:
        """Probabilities [note, class]; of each label by itself in a multi-label task."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything fitted, without pickles."""
        ...

    def load(self, folder: Path, task: Task, classes: int) -> Self:
        """Read what `save` wrote, into an instance with the same settings."""
        ...


@dataclass(frozen=True)
class Entry:
    """A family of the registry: a class, and the settings that make it this family."""

    cls: type
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def build(self, values: Mapping[str, Any]) -> Any:
        """Return an unfitted instance."""
        return self.cls(**self.fixed, **values)


FAMILIES: dict[str, Entry] = {
    "tfidf-logistic": Entry(TfidfLogistic),
    "tfidf-mlp": Entry(TfidfMLP),
    "tfidf-autoencoder": Entry(TfidfAutoencoder),
    "transformer": Entry(ScratchModel, {"encoder": "transformer"}),
    "moe": Entry(ScratchModel, {"encoder": "moe"}),
    "pretrained": Entry(PretrainedModel),
    "stacked": Entry(StackedModel),
    "private": Entry(PrivateModel),
}


def build(family: str, values: Mapping[str, Any]) -> Any:
    """Return an unfitted model of a family.

    Raises
    ------
    InputError
        Unknown family, or anything wrong with its settings.
    """
    found = problems(family, values)
    if found:
        raise InputError(found)
    return FAMILIES[family].build(values)


def problems(family: str, values: Mapping[str, Any]) -> list[str]:
    """Say everything that is wrong with a family's settings."""
    if family not in FAMILIES:
        return [f"unknown family {family!r}; known: {', '.join(FAMILIES)}"]
    entry = FAMILIES[family]
    taken = [f"{family}: {name!r} is fixed by the family" for name in values if name in entry.fixed]
    found = taken or param_validation.problems(entry.cls, {**entry.fixed, **values})
    if found:
        return found
    further = getattr(entry.build(values), "setting_problems", None)
    return further() if further else []


def file_problems(family: str, values: Mapping[str, Any]) -> list[str]:
    """Say what is wrong with the files that valid settings name; a fitted model needs none."""
    found = getattr(FAMILIES[family].build(values), "file_problems", None)
    return found() if found else []


def family_of(model: Any) -> str:
    """Name of the family that a model belongs to."""
    for name, entry in FAMILIES.items():
        if type(model) is entry.cls and all(
            getattr(model, key) == value for key, value in entry.fixed.items()
        ):
            return name
    raise InputError(f"{type(model).__name__} is not a model of a known family")


def settings_of(model: Any) -> dict[str, Any]:
    """Settings of a model, without those that its family fixes."""
    fixed = FAMILIES[family_of(model)].fixed
    return {name: value for name, value in model.get_params().items() if name not in fixed}
