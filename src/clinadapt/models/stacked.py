r"""TF-IDF and a pretrained encoder, stacked: a weighted sum of the logits of both.

$$ z = a\,z_{\text{sparse}} + b\,z_{\text{encoder}}, \qquad a, b \ge 0 $$

Stacked generalisation (Wolpert 1992; non-negative weights after Breiman 1996, "Stacked
Regressions"), with two weights shared by all classes, fitted by log-loss on the validation notes:
these stop the encoder's training early, but neither part is fitted on them. The weights' ratio sets
the trust in each part, their size the overall confidence. They need not sum to one: a head trained
with balanced class weights is overconfident, which a mean could not correct without discarding the
head.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file
from scipy.optimize import minimize
from scipy.special import expit, log_expit, log_softmax, logit, softmax

from clinadapt.core import param_validation, safe_files
from clinadapt.core.arrays import Floats
from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Context, Ledger
from clinadapt.data.labels import Labels, Task
from clinadapt.models.contract import Effort, Model
from clinadapt.models.onnx_model import load_fitted
from clinadapt.models.pretrained import PretrainedModel
from clinadapt.models.tfidf_logistic import TfidfLogistic
from clinadapt.models.training_settings import ReadsTokens, Seed

SPARSE_FOLDER, ENCODER_FOLDER = "sparse", "encoder"
BLEND_FILE = "blend.safetensors"
OWN = ("encoder", "max_tokens", "truncation", "seed")
EQUAL = np.array([0.5, 0.5])
WEIGHTS = ("weight of TF-IDF", "weight of the encoder")
SMALLEST = 2.0**-52  # logits of probabilities nearer to 0 or 1 are rounding errors


@dataclass(eq=False, repr=False, kw_only=True)
class StackedModel(ReadsTokens):
    """TF-IDF + logistic regression and a pretrained encoder, their logits added.

    Parameters
    ----------
    encoder : str
        Known name, hub id or folder.
    max_tokens, truncation
        Truncation of notes for the encoder; TF-IDF reads all of them. See `ReadsTokens`.
    encoder_options : dict, optional
        Further settings of `PretrainedModel`, such as adapter and tuned_layers.
    tfidf_options : dict, optional
        Settings of `TfidfLogistic`, such as characters and C.
    seed : int
        Seed of the encoder's head.

    Attributes
    ----------
    weights_ : ndarray of float64, shape [2]
        Weights of the logits of TF-IDF and of the encoder; those decided in other
        fits, or 0.5, without validation notes.
    sparse_ : TfidfLogistic
    encoder_ : PretrainedModel
        Fitted.

    Examples
    --------
    >>> from clinadapt import NoteClassifier, StackedModel
    >>> texts = ["fièvre et toux", "suivi du diabète"] * 20
    >>> model = StackedModel("clinadapt-mini-fr", max_tokens=16)
    >>> classifier = NoteClassifier(model).fit(texts, [1, 0] * 20)
    >>> classifier.model_.weights_.shape
    (2,)
    """

    kind = "stacked"
    explained_by = "stacked"
    path_settings = ("encoder",)
    learns_from_validation = True

    encoder: str = field(default="camembert-bio", kw_only=False)
    encoder_options: dict[str, Any] | None = None
    tfidf_options: dict[str, Any] | None = None
    seed: Seed = 0

    def setting_problems(self) -> list[str]:
        """Return problems of the settings of the two parts."""
        tfidf, encoder = self.tfidf_options or {}, self.encoder_options or {}
        problems = [
            f"encoder_options: {name!r} is a setting of {type(self).__name__} itself"
            for name in OWN
            if name in encoder
        ]
        if "refit" in tfidf:
            problems.append(
                "tfidf_options: 'refit' would fit on the validation notes, which weight the parts"
            )
        problems += [
            f"tfidf_options: {text}" for text in param_validation.problems(TfidfLogistic, tfidf)
        ]
        of_encoder = param_validation.problems(PretrainedModel, encoder)
        if not of_encoder:
            of_encoder = PretrainedModel(**encoder).setting_problems()
        return problems + [f"encoder_options: {text}" for text in of_encoder]

    def title(self, shown: dict[str, Any]) -> str:
        """Return "TF-IDF + " and the title of the encoder's part."""
        options = shown.pop("tfidf_options", None) or {}
        shown |= {f"tfidf {name}": value for name, value in options.items()}
        shown |= shown.pop("encoder_options", None) or {}
        return f"TF-IDF + {self.parts()[1].title(shown)}"

    def file_problems(self) -> list[str]:
        """Return problems of the encoder and of settings for it; see `PretrainedModel`."""
        return self.parts()[1].file_problems()

    def starting_files(self) -> tuple[str, str]:
        """Return the encoder's folder."""
        return "encoder", self.encoder

    def parts(self) -> tuple[TfidfLogistic, PretrainedModel]:
        """Return the two models, unfitted."""
        own = {name: getattr(self, name) for name in OWN}
        return (
            TfidfLogistic(**(self.tfidf_options or {})),
            PretrainedModel(**own, **(self.encoder_options or {})),
        )

    # ------------------------------------------------------------------ fitting

    def fit(
        self,
        texts: Sequence[str],
        labels: Labels,
        validation: tuple[Sequence[str], Labels] | None = None,
        metric: str | None = None,
        context: Context | None = None,
    ) -> Self:
        """Fit both parts on training notes, and their weights on validation notes.

        Without validation notes the weights are those decided in other fits, or else equal: on the
        training notes the part that overfits more would get the larger one.

        Raises
        ------
        EncoderNotFoundError
            The encoder is not on this machine.
        InputError
            Settings are not compatible with each other or with the encoder.
        """
        self._check()
        context = context or Context()
        self.task_: Task = labels.task
        self.sparse_, encoder = self.parts()
        self.encoder_: Model = encoder.decide(self.decided_)
        self.encoder_.fit(texts, labels, validation, metric, context)
        self.encoder_fingerprint_ = self.encoder_.encoder_fingerprint_
        self.sparse_.fit(texts, labels)
        self.weights_ = np.array([self.decided_.get(name, 0.5) for name in WEIGHTS])
        if validation is not None:
            validation_texts, validation_labels = validation
            # The classifier scores these notes again, and counts their truncation then.
            uncounted = replace(context, ledger=Ledger())
            parts = self._logits(validation_texts, uncounted)
            self.weights_ = fit_weights(validation_labels, *parts)
        self._finish()
        return self

    def _check(self) -> None:
        param_validation.check(self)
        param_validation.raise_if(self.setting_problems())

    def _finish(self) -> None:
        self.history_ = self.encoder_.history_
        parts = (self.sparse_, self.encoder_)
        self.trainable_parameters_ = sum(part.trainable_parameters_ for part in parts) + 2
        self.total_parameters_ = sum(part.total_parameters_ for part in parts) + 2

    def decisions(self) -> dict[str, float]:
        """Return the weights of both parts, and what the encoder's part decided."""
        return dict(zip(WEIGHTS, self.weights_.tolist(), strict=True)) | self.encoder_.decisions()

    def effort(self) -> Effort:
        """Return the effort of the encoder's part."""
        return self.parts()[1].effort()

    def prepare(self, texts: Sequence[str], context: Context) -> None:
        """Compute the features of the encoder's frozen layers, if it has any, into the cache."""
        self._check()
        self.parts()[1].prepare(texts, context)

    # ------------------------------------------------------------------ prediction

    def predict_proba(self, texts: Sequence[str], context: Context | None = None) -> Floats:
        """Return probabilities [note, class]."""
        sparse, encoder = self._logits(texts, context or Context())
        return blend(self.task_, self.weights_, sparse, encoder)

    def _logits(self, texts: Sequence[str], context: Context) -> tuple[Floats, Floats]:
        """Return logits [note, class] of both parts."""
        sparse = self.sparse_.predict_proba(texts, context)
        encoder = self.encoder_.predict_proba(texts, context)
        return logits(self.task_, sparse), logits(self.task_, encoder)

    # ------------------------------------------------------------------ parts

    def fitted_parts(self) -> tuple[Model, ...]:
        """Return the two models, fitted."""
        return self.sparse_, self.encoder_

    @property
    def network_part(self) -> Model:
        """The encoder's part."""
        return self.encoder_

    def with_network_part(self, part: Model) -> Self:
        """Return a copy of this fitted model with another encoder part."""
        changed = copy.copy(self)
        changed.encoder_ = part
        return changed

    @property
    def frozen_part(self) -> Any | None:
        """The encoder's part if it reads cached features of a frozen encoder, else None."""
        return self.encoder_.frozen_part

    def finish(self, frozen: Floats, texts: Sequence[str]) -> Floats:
        """Return the model's probabilities, given those of the encoder, both [note, class]."""
        sparse = logits(self.task_, self.sparse_.predict_proba(texts))
        return blend(self.task_, self.weights_, sparse, logits(self.task_, frozen))

    def readable(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Return whether either part finds something that it can read in each note [note]."""
        return self.sparse_.readable(texts) | self.encoder_.readable(texts)

    # ------------------------------------------------------------------ bundle

    def save(self, folder: Path) -> None:
        """Write both parts, each to its own folder, and their weights."""
        self.sparse_.save(folder / SPARSE_FOLDER)
        self.encoder_.save(folder / ENCODER_FOLDER)
        save_file({"weights": self.weights_}, folder / BLEND_FILE)

    def load(self, folder: Path, task: Task, classes: int) -> Self:
        """Read what `save` wrote."""
        self.task_ = task
        sparse, encoder = self.parts()
        self.sparse_ = sparse.load(folder / SPARSE_FOLDER, task, classes)
        self.encoder_ = load_fitted(encoder, folder / ENCODER_FOLDER, task, classes)
        self.weights_ = safe_files.read_arrays(folder / BLEND_FILE, {"weights": (2,)})["weights"]
        if (self.weights_ < 0).any():
            raise InputError(f"{BLEND_FILE}: a weight is negative")
        self._finish()
        return self


def logits(task: Task, probabilities: Floats) -> Floats:
    """Return logits [note, class]: log-odds (multi-label), else log-probabilities."""
    inside = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    return np.asarray(logit(inside) if task == "multilabel" else np.log(inside))


def blend(task: Task, weights: Floats, sparse: Floats, encoder: Floats) -> Floats:
    """Return probabilities of the weighted sum of two parts' logits, all [note, class]."""
    summed = weights[0] * sparse + weights[1] * encoder
    return np.asarray(expit(summed) if task == "multilabel" else softmax(summed, axis=1))


def fit_weights(labels: Labels, sparse: Floats, encoder: Floats) -> Floats:
    """Fit non-negative weights of two parts' logits, by log-loss with an L2 penalty.

    The penalty pulls the weights towards equal ones; about ten notes outweigh it. Every class also
    has an offset, which is fitted and then discarded: without it, classes that are more or less
    common among these notes than the parts predict would pull both weights towards zero.

    Parameters
    ----------
    labels : Labels
    sparse, encoder : ndarray of float64, shape [note, class]
    """
    carried = labels.matrix

    def loss(values: Floats) -> float:
        weights, offsets = values[:2], values[2:]
        summed = weights[0] * sparse + weights[1] * encoder + offsets
        if labels.task == "multilabel":
            likelihood = log_expit(np.where(carried, summed, -summed))
        else:
            likelihood = log_softmax(summed, axis=1)[carried]
        return float(-likelihood.sum() + 0.5 * np.square(weights - EQUAL).sum())

    start = np.concatenate([EQUAL, np.zeros(carried.shape[1])])
    bounds = [(0, None)] * 2 + [(None, None)] * carried.shape[1]
    optimum = minimize(loss, start, method="L-BFGS-B", bounds=bounds)
    return np.asarray(optimum.x[:2], dtype=np.float64)
