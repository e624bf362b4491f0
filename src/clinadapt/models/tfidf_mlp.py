"""TF-IDF and a multi-layer perceptron (Le et al. 2021, arXiv 2104.03969, on the paper's notes)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import torch
from annotated_types import Ge, Interval
from numpy.typing import NDArray
from torch import Tensor, nn

from clinadapt.core import param_validation, safe_files
from clinadapt.core.device import pick_device
from clinadapt.core.rng import local_randomness
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels, Task
from clinadapt.features.tfidf import TfidfFeatures
from clinadapt.models import neural_base
from clinadapt.models.training_settings import Epochs, StoppedEarly
from clinadapt.neural.adapters.registry import count_parameters
from clinadapt.neural.note_network import Batch
from clinadapt.neural.training.batch_sources import SparseSource
from clinadapt.neural.training.loop import run
from clinadapt.neural.training.recipe import Recipe


class DenseNetwork(nn.Module):
    """Dense, ReLU, dropout and dense layers on one vector per note.

    Parameters
    ----------
    width, classes : int
    inner : int
        Units of the hidden layer; 0 for none.
    dropout : float
        Dropout rate of the hidden layer; the input has none, as TF-IDF vectors are sparse.
    """

    def __init__(self, width: int, classes: int, inner: int, dropout: float) -> None:
        super().__init__()
        hidden = [nn.Linear(width, inner), nn.ReLU(), nn.Dropout(dropout)] if inner else []
        self.layers = nn.Sequential(*hidden, nn.Linear(inner or width, classes))

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return scores [note, class] of vectors [note, 1, width]; the auxiliary loss is zero."""
        scores = self.layers(batch.inputs[:, 0])
        return scores, scores.new_zeros(())


@dataclass(eq=False, repr=False, kw_only=True)
class TfidfMLP(StoppedEarly):
    """One hidden layer on TF-IDF; also has the settings of `StoppedEarly`.

    Parameters
    ----------
    words : int
        Longest word n-gram.
    max_features : int
        Number of terms, the most frequent ones.
    min_notes : int
        Number of notes a term must occur in to be kept.
    inner : int
        Units of the hidden layer.
    dropout : float
    epochs : int

    Examples
    --------
    >>> from clinadapt import NoteClassifier, TfidfMLP
    >>> texts = ["fièvre et toux", "suivi du diabète"] * 20
    >>> classifier = NoteClassifier(TfidfMLP(epochs=5)).fit(texts, [1, 0] * 20)
    >>> classifier.predict(["fièvre et toux"])
    array([1])
    """

    display_name = "TF-IDF + MLP"
    kind = "word counts"
    explained_by = "tfidf-mlp"

    words: Annotated[int, Ge(1)] = 2
    max_features: Annotated[int, Ge(1)] = 20_000
    min_notes: Annotated[int, Ge(1)] = 2
    inner: Annotated[int, Ge(1)] = 64
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.5
    epochs: Epochs = 20

    def fit(
        self,
        texts: Sequence[str],
        labels: Labels,
        validation: tuple[Sequence[str], Labels] | None = None,
        metric: str | None = None,
        context: Context | None = None,
    ) -> Self:
        """Fit on training notes, stopping early by validation notes."""
        param_validation.check(self)
        self.features_ = self._features().fit(texts)
        self._build(labels.task, len(labels.classes))
        validation_part = None
        if validation is not None:
            source = SparseSource(self.features_.transform(validation[0]))
            validation_part = (source, validation[1])
        self.history_ = neural_base.fit_classifier(
            self.network_,
            SparseSource(self.features_.transform(texts)),
            labels,
            validation_part,
            metric,
            self.class_weight,
            self.recipe(),
            pick_device(self.device),
            context or Context(),
        )
        return self

    @property
    def tfidf(self) -> TfidfFeatures:
        """The fitted TF-IDF features."""
        return self.features_

    def readable(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether each note has any of the terms [note]."""
        return self.features_.readable(texts)

    def _features(self) -> TfidfFeatures:
        return TfidfFeatures(self.words, False, self.max_features, self.min_notes)

    def _build(self, task: Task, classes: int) -> None:
        self.task_: Task = task
        with local_randomness(self.seed, stream=2**32):
            self.network_ = DenseNetwork(len(self.features_), classes, self.inner, self.dropout)
        self.history_ = []
        self.trainable_parameters_ = count_parameters(self.network_)
        self.total_parameters_ = self.trainable_parameters_ + len(self.features_)

    def predict_proba(
        self, texts: Sequence[str], context: Context | None = None
    ) -> NDArray[np.float64]:
        """Return probabilities [note, class]."""
        source = SparseSource(self.features_.transform(texts))
        outputs = run(self.network_, source, pick_device(self.device), Recipe.dtype)
        return neural_base.probabilities(self.task_, outputs)

    def save(self, folder: Path) -> None:
        """Write terms, their weights and the network."""
        self.features_.save(folder)
        neural_base.save_weights(self.network_.state_dict(), folder)

    def load(self, folder: Path, task: Task, classes: int) -> Self:
        """Read what `save` wrote."""
        self.features_ = self._features().load(folder)
        with torch.device("meta"):  # checks the size that the settings imply without the memory
            self._build(task, classes)
        safe_files.require(self.network_, folder / neural_base.WEIGHTS_FILE)
        self._build(task, classes)
        neural_base.fill(self.network_, folder)
        return self
