"""The interface between models and the rest of the program, with a default for every method.

A model is a class in scikit-learn's style: the constructor only stores its settings, `fit` checks
them, fitted attributes end in ``_``. It must offer `fit`, `predict_proba`, `save` and `load`;
everything else has a default that is valid for any model, and that a model may override. No other
code depends on the class of a model.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from tokenizers import Tokenizer

from clinadapt.core.arrays import Floats
from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels, Task
from clinadapt.data.levels import Aggregation, Level
from clinadapt.features.tfidf import TfidfFeatures
from clinadapt.features.visible_text import has_visible
from clinadapt.models.token_network import TokenNetwork
from clinadapt.neural.training.memory_budget import Footprint

Examples = tuple[Sequence[str], Labels]
Effort = Literal["head", "network", "encoder"]
Kind = Literal["word counts", "from scratch", "encoder", "stacked", "private", "other"]


class Model(BaseEstimator):  # type: ignore[misc]
    """Base class of every model.

    Attributes
    ----------
    display_name : str
        Name on the leaderboard; empty for the name that the model is registered under.
    kind : str
        Kind by which learning curves group models.
    is_baseline : bool
        True if every other configuration is compared with it.
    explained_by : str, optional
        Name of the method in `clinadapt.explain` that attributes its decisions to words; None if
        no method can.
    path_settings : tuple of str
        Settings that may be local paths; a bundle keeps only their last part.
    epoch_settings : tuple of str
        Settings that count epochs, in the order of the trainings of a fit.
    reads_tokens : bool
        True if the model has a network that reads token ids and can be exported.
    level : {"note", "group"}
        What each text that the model is given stands for: a note, or all notes of a patient, as
        joined by `clinadapt.data.patients.documents_of`. A model of patients fits and predicts
        documents, with one label each, and finds their notes by `notes_of`.
    learns_from_validation : bool
        True if validation notes decide something in a fit, such as when training stops.
    refit : bool
        True if the model is fitted again on training and validation notes together once the
        threshold is chosen.
    aggregation : str, optional
        How probabilities of patients come from those of notes, if the model does that; see
        `clinadapt.models.aggregated`.
    history_ : list of dict
        Training history, one entry per epoch.
    trainable_parameters_, total_parameters_ : int
    encoder_fingerprint_, vectors_fingerprint_ : str, optional
        Hash of the files that training started from.
    guarantee_ : optional
        Guarantee of differential privacy.
    decided_ : mapping of str to float
        Decisions of other fits, see `decide`.
    """

    display_name: ClassVar[str] = ""
    kind: ClassVar[Kind] = "other"
    is_baseline: ClassVar[bool] = False
    explained_by: ClassVar[str | None] = "occlusion"
    path_settings: ClassVar[tuple[str, ...]] = ()
    epoch_settings: ClassVar[tuple[str, ...]] = ()
    reads_tokens: ClassVar[bool] = False
    level: ClassVar[Level] = "note"
    learns_from_validation: ClassVar[bool] = False

    refit: bool = False
    aggregation: Aggregation | None = None
    history_: Sequence[dict[str, Any]] = ()
    trainable_parameters_: int = 0
    total_parameters_: int = 0
    encoder_fingerprint_: str | None = None
    vectors_fingerprint_: str | None = None
    guarantee_: Any = None
    decided_: Mapping[str, float] = MappingProxyType({})

    # ------------------------------------------------------------------ required methods

    def fit(
        self,
        texts: Sequence[str],
        labels: Labels,
        validation: Examples | None = None,
        metric: str | None = None,
        context: Context | None = None,
    ) -> Self:
        """Fit on training notes; validation notes serve early stopping by `metric`."""
        raise TypeError(f"{type(self).__name__} must define fit")

    def predict_proba(self, texts: Sequence[str], context: Context | None = None) -> Floats:
        """Return probabilities [note, class]; in a multi-label task each label has its own."""
        raise TypeError(f"{type(self).__name__} must define predict_proba")

    def save(self, folder: Path) -> None:
        """Write all fitted state, without pickles."""
        raise TypeError(f"{type(self).__name__} must define save")

    def load(self, folder: Path, task: Task, classes: int) -> Self:
        """Read what `save` wrote, into an instance with the same settings."""
        raise TypeError(f"{type(self).__name__} must define load")

    # ------------------------------------------------------------------ settings

    def setting_problems(self) -> list[str]:
        """Return problems of settings that are valid one by one; empty if there are none."""
        return []

    def file_problems(self) -> list[str]:
        """Return problems of the files and libraries that fitting needs; empty if none."""
        return []

    def title(self, shown: dict[str, Any]) -> str:
        """Return a configuration's name, and remove the settings it contains from `shown`.

        Parameters
        ----------
        shown : dict
            Settings given in a study file; those that remain are printed after the name.
        """
        return self.display_name

    def starting_files(self) -> tuple[str, str] | None:
        """Return kind ("encoder" or "vectors") and name of the files that training starts from."""
        return None

    def planned_epochs(self) -> list[int]:
        """Return the largest number of epochs of each training of a fit."""
        return [int(getattr(self, name)) for name in self.epoch_settings]

    # ------------------------------------------------------------------ decisions on validation

    def decisions(self) -> dict[str, float]:
        """Return what the last fit decided on its validation notes, by name."""
        return {}

    def decide(self, decisions: Mapping[str, float]) -> Self:
        """Take the decisions of other fits, for a fit without validation notes."""
        self.decided_ = decisions
        return self

    def effort(self) -> Effort:
        """Return how long a fit takes: a "head" seconds, a "network" minutes, an "encoder" hours.

        It follows from the settings alone: what is trained is a head or adapter on features that
        are computed once, a small network with its embeddings, or layers of a pretrained encoder.
        """
        return "network"

    # ------------------------------------------------------------------ parts

    def parts(self) -> tuple["Model", ...]:
        """Return the unfitted models that make up this one, in the order of fitting.

        A stacked model is named after the last of them.
        """
        return (self,)

    def fitted_parts(self) -> tuple["Model", ...]:
        """Return the fitted models that make up this one."""
        return (self,)

    @property
    def network_part(self) -> "Model":
        """The fitted part that reads tokens, which an export replaces; default: the model."""
        return self

    def with_network_part(self, part: "Model") -> "Model":
        """Return a copy of this fitted model with another part in place of `network_part`."""
        return part

    @property
    def configured(self) -> "Model":
        """The model whose settings are written to a bundle's record."""
        return self

    # ------------------------------------------------------------------ reading notes

    @property
    def tokenizer(self) -> Tokenizer | None:
        """Tokenizer of a fitted model; None if it does not read tokens."""
        return None

    @property
    def tfidf(self) -> TfidfFeatures | None:
        """TF-IDF features of a fitted model; None if it has none."""
        return None

    def readable(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether the fitted model finds something that it can read in each note [note]."""
        return has_visible(texts)

    @property
    def trains_on_tokens(self) -> bool:
        """True if the cost of a training step depends on the number of tokens of its notes."""
        return False

    def token_network(self) -> TokenNetwork:
        """Return the fitted network from token ids to class scores, on the CPU.

        Raises
        ------
        InputError
            The model has no such network, or it cannot be exported as a single graph.
        """
        raise InputError(
            "only networks that read tokens can be exported: pretrained, stacked and transformer; "
            "models on TF-IDF would gain nothing from an export"
        )

    def licence_files(self) -> list[Path]:
        """Return the licence files that must accompany the fitted network."""
        return []

    # ------------------------------------------------------------------ frozen layers

    def prepare(self, texts: Sequence[str], context: Context) -> None:
        """Compute the features of frozen layers, if there are any, into the context's cache."""

    @property
    def frozen_part(self) -> Any | None:
        """The fitted part that reads cached features of a frozen encoder; None if there is none.

        It has ``prefix_``, ``network_``, ``pooling_``, ``after_pooling`` and ``task_``; see
        `clinadapt.models.pretrained.PretrainedModel`.
        """
        return None

    def finish(self, frozen: Floats, texts: Sequence[str]) -> Floats:
        """Return the model's probabilities, given those of its frozen part, both [note, class]."""
        return frozen

    def reads_encoder(self) -> bool:
        """Return whether a pass over a pretrained encoder precedes the fit."""
        return False

    def footprint(self, device: torch.device) -> Footprint | None:
        """Return the bytes that training the built network needs; None if they are not known."""
        return None
