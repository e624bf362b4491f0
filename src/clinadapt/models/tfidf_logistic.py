"""TF-IDF and logistic regression: the baseline of every comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from annotated_types import Ge, Gt
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.special import expit, softmax
from sklearn.linear_model import LogisticRegression

from clinadapt.core import param_validation, safe_files
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels, Task
from clinadapt.features.tfidf import TfidfFeatures
from clinadapt.models.contract import Effort, Model
from clinadapt.neural.training.losses import ClassWeight

LINEAR_FILE = "linear.safetensors"


@dataclass(eq=False, repr=False, kw_only=True)
class TfidfLogistic(Model):
    """Logistic regression on TF-IDF; in a multi-label task one regression per label.

    Parameters
    ----------
    words : int
        Longest word n-gram.
    characters : bool
        True to add character n-grams.
    C : float
        Inverse strength of the L2 penalty.
    class_weight : {"balanced", "none"}
    max_features : int, optional
        Number of terms, the most frequent ones; default: all.
    min_notes : int
        Number of notes a term must occur in to be kept.
    refit : bool
        True to fit again on training and validation notes together once the threshold is chosen,
        which uses all labels. Scores on validation notes remain those of the first fit.

    Examples
    --------
    >>> from clinadapt import NoteClassifier, TfidfLogistic
    >>> texts = ["fièvre et toux", "suivi du diabète"] * 20
    >>> classifier = NoteClassifier(TfidfLogistic(C=1.0)).fit(texts, [1, 0] * 20)
    >>> classifier.predict(["fièvre et toux"])
    array([1])
    """

    display_name = "TF-IDF + logistic regression"
    kind = "word counts"
    is_baseline = True
    explained_by = "tfidf-linear"

    words: Annotated[int, Ge(1)] = 2
    characters: bool = False
    C: Annotated[float, Gt(0)] = 10.0
    class_weight: ClassWeight = "balanced"
    max_features: Annotated[int, Ge(1)] | None = None
    min_notes: Annotated[int, Ge(1)] = 2
    refit: bool = False

    def fit(
        self,
        texts: Sequence[str],
        labels: Labels,
        validation: tuple[Sequence[str], Labels] | None = None,
        metric: str | None = None,
        context: Context | None = None,
    ) -> Self:
        """Fit on training notes; validation notes are not needed."""
        param_validation.check(self)
        self.features_ = self._features().fit(texts)
        matrix = self.features_.transform(texts)
        self.task_ = labels.task
        columns = [labels.target] if labels.task != "multilabel" else list(labels.target.T)
        fitted = [self._fit_one(matrix, column) for column in columns]
        self.coefficients_ = np.vstack([coefficients for coefficients, _ in fitted])
        self.intercepts_ = np.concatenate([intercepts for _, intercepts in fitted])
        self._finish()
        return self

    def effort(self) -> Effort:
        """Return "head"."""
        return "head"

    @property
    def tfidf(self) -> TfidfFeatures:
        """The fitted TF-IDF features."""
        return self.features_

    def readable(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether each note has any of the terms [note]."""
        return self.features_.readable(texts)

    def _features(self) -> TfidfFeatures:
        return TfidfFeatures(self.words, self.characters, self.max_features, self.min_notes)

    def _fit_one(self, matrix: Any, target: NDArray[np.int64]) -> tuple[Any, Any]:
        if len(np.unique(target)) == 1:  # a label of none or all of the training notes
            rate = np.clip(target.mean(), 0.5 / len(target), 1 - 0.5 / len(target))
            return np.zeros((1, matrix.shape[1])), np.array([np.log(rate / (1 - rate))])
        weight = None if self.class_weight == "none" else self.class_weight
        regression = LogisticRegression(C=self.C, class_weight=weight, max_iter=2000)
        regression.fit(matrix, target)
        return regression.coef_, regression.intercept_

    def _finish(self) -> None:
        self.trainable_parameters_ = self.coefficients_.size + self.intercepts_.size
        self.total_parameters_ = self.trainable_parameters_ + len(self.features_)

    def predict_proba(
        self, texts: Sequence[str], context: Context | None = None
    ) -> NDArray[np.float64]:
        """Return probabilities [note, class]."""
        scores = self.features_.transform(texts) @ self.coefficients_.T + self.intercepts_
        if self.task_ == "multiclass":
            return softmax(scores, axis=1)
        odds = expit(scores)
        return np.column_stack([1 - odds, odds]) if self.task_ == "binary" else odds

    def save(self, folder: Path) -> None:
        """Write terms, their weights and the coefficients."""
        self.features_.save(folder)
        save_file(
            {
                "coefficients": np.ascontiguousarray(self.coefficients_),
                "intercepts": self.intercepts_,
            },
            folder / LINEAR_FILE,
        )

    def load(self, folder: Path, task: Task, classes: int) -> Self:
        """Read what `save` wrote."""
        self.features_ = self._features().load(folder)
        rows = 1 if task == "binary" else classes
        shapes = {"coefficients": (rows, len(self.features_)), "intercepts": (rows,)}
        saved = safe_files.read_arrays(folder / LINEAR_FILE, shapes)
        self.coefficients_, self.intercepts_ = saved["coefficients"], saved["intercepts"]
        self.task_ = task
        self._finish()
        return self
