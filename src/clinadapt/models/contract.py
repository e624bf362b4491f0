"""What the rest of the program asks of a model, with a default for each question.

A model is a class in scikit-learn's manner: the constructor only stores its settings, `fit` checks
them, fitted attributes end in ``_``. It must offer `fit`, `predict_proba`, `save` and `load`;
everything else has an answer here that holds for any model, and is overridden by those that know
better. Nobody asks what class a model is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from tokenizers import Tokenizer

from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels, Task
from clinadapt.features.tfidf import TfidfFeatures
from clinadapt.models.token_network import TokenNetwork
from clinadapt.neural.training.memory_budget import Footprint

Examples = tuple[Sequence[str], Labels]
Floats = NDArray[np.float64]
Kind = Literal["word counts", "from scratch", "encoder", "stacked", "private", "other"]


class Model(BaseEstimator):  # type: ignore[misc]
    """Base of every model.

    Attributes
    ----------
    display_name : str
        What the leaderboard calls it; empty for the name that it is registered under.
    kind : str
        Models of one kind stand together in learning curves.
    is_baseline : bool
        Whether every other configuration is compared with it.
    explained_by : str, optional
        Name of the method in `clinadapt.explain` that attributes its decisions to words; None if
        none can.
    path_settings : tuple of str
        Settings that may be paths of the machine at hand; a bundle keeps their last part only.
    epoch_settings : tuple of str
        Settings that count epochs, in the order in which a fit goes through its trainings.
    reads_tokens : bool
        Whether the model has a network that reads token ids, which can be exported.
    refit : bool
        Whether the model is fitted again on training and validation notes together, once the
        threshold is chosen.
    history_ : list of dict
        What training reported, an entry an epoch.
    trainable_parameters_, total_parameters_ : int
    encoder_fingerprint_, vectors_fingerprint_ : str, optional
        Hash of the files that training started from.
    guarantee_ : optional
        Of differential privacy.
    """

    display_name: ClassVar[str] = ""
    kind: ClassVar[Kind] = "other"
    is_baseline: ClassVar[bool] = False
    explained_by: ClassVar[str | None] = "occlusion"
    path_settings: ClassVar[tuple[str, ...]] = ()
    epoch_settings: ClassVar[tuple[str, ...]] = ()
    reads_tokens: ClassVar[bool] = False

    refit: bool = False
    history_: Sequence[dict[str, Any]] = ()
    trainable_parameters_: int = 0
    total_parameters_: int = 0
    encoder_fingerprint_: str | None = None
    vectors_fingerprint_: str | None = None
    guarantee_: Any = None

    # ------------------------------------------------------------------ what every model must offer

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
        """Probabilities [note, class]; of each label by itself in a multi-label task."""
        raise TypeError(f"{type(self).__name__} must define predict_proba")

    def save(self, folder: Path) -> None:
        """Write everything fitted, without pickles."""
        raise TypeError(f"{type(self).__name__} must define save")

    def load(self, folder: Path, task: Task, classes: int) -> Self:
        """Read what `save` wrote, into an instance with the same settings."""
        raise TypeError(f"{type(self).__name__} must define load")

    # ------------------------------------------------------------------ settings

    def setting_problems(self) -> list[str]:
        """Problems of settings that are valid one by one; empty if there are none."""
        return []

    def file_problems(self) -> list[str]:
        """Problems of the files and libraries that fitting needs; a fitted model needs none."""
        return []

    def title(self, shown: dict[str, Any]) -> str:
        """Name of a configuration, taking out of `shown` the settings that the name tells.

        Parameters
        ----------
        shown : dict
            Settings that a study file gives; those that stay are printed behind the name.
        """
        return self.display_name

    def starting_files(self) -> tuple[str, str] | None:
        """Kind ("encoder" or "vectors") and name of the files that training starts from."""
        return None

    def planned_epochs(self) -> list[int]:
        """Epochs of each training of a fit, at most."""
        return [int(getattr(self, name)) for name in self.epoch_settings]

    # ------------------------------------------------------------------ parts

    def parts(self) -> tuple["Model", ...]:
        """Models that this one is made of, unfitted, in the order in which they are fitted.

        The last is the one that a stacked model is named after.
        """
        return (self,)

    def fitted_parts(self) -> tuple["Model", ...]:
        """Models that this one is made of, fitted."""
        return (self,)

    @property
    def network_part(self) -> "Model":
        """The fitted part that reads tokens, which an export replaces; default the whole."""
        return self

    def with_network_part(self, part: "Model") -> "Model":
        """Return this fitted model with another part in that place; itself it stays as it is."""
        return part

    @property
    def configured(self) -> "Model":
        """The model whose settings stand in a bundle's record."""
        return self

    # ------------------------------------------------------------------ how notes are read

    @property
    def tokenizer(self) -> Tokenizer | None:
        """Tokenizer of a fitted model; None if it reads no tokens."""
        return None

    @property
    def tfidf(self) -> TfidfFeatures | None:
        """TF-IDF features of a fitted model; None if it counts no words."""
        return None

    @property
    def trains_on_tokens(self) -> bool:
        """Whether the cost of a training step depends on the tokens of its notes."""
        return False

    def token_network(self) -> TokenNetwork:
        """Return the fitted network from token ids to class scores, on the CPU.

        Raises
        ------
        InputError
            There is none, or it cannot be given away as one graph.
        """
        raise InputError(
            "only networks that read tokens can be exported: pretrained, stacked and transformer; "
            "TF-IDF and what stands on it gains nothing by it"
        )

    def licence_files(self) -> list[Path]:
        """Licences that must go with the fitted network wherever it goes."""
        return []

    # ------------------------------------------------------------------ frozen layers

    def prepare(self, texts: Sequence[str], context: Context) -> None:
        """Compute the features of frozen layers into the context's cache, if there are any."""

    @property
    def frozen_part(self) -> Any | None:
        """The fitted part that reads cached features of a frozen encoder; None if there is none.

        It has ``prefix_``, ``network_``, ``pooling_``, ``after_pooling`` and ``task_``; see
        `clinadapt.models.pretrained.PretrainedModel`.
        """
        return None

    def finish(self, frozen: Floats, texts: Sequence[str]) -> Floats:
        """Probabilities of the whole model, given those of its frozen part, both [note, class]."""
        return frozen

    def reads_encoder(self) -> bool:
        """Whether a pass over a pretrained encoder precedes the fit, to be planned for."""
        return False

    def footprint(self, device: torch.device) -> Footprint | None:
        """Bytes that training the built network needs; None where they are not counted."""
        return None
