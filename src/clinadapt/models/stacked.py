r"""Word counts and a pretrained encoder, stacked: the logits of the two are added, weighted.

$$ z = a\,z_{\text{sparse}} + b\,z_{\text{encoder}}, \qquad a, b \ge 0 $$

Stacked generalisation (Wolpert 1992; non-negative weights after Breiman 1996, "Stacked
Regressions"), with two weights that all classes share, fitted by log-loss on the validation notes:
these stop the encoder's training early, but neither part is fitted on them. The weights' ratio says
whom to believe, their size how far. They need not sum to one: a head trained with
balanced class weights says too much, and a mean would have to believe that or leave the head out.
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
from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Context, Ledger
from clinadapt.data.labels import Labels, Task
from clinadapt.models.contract import Model
from clinadapt.models.onnx_model import load_fitted
from clinadapt.models.pretrained import PretrainedModel
from clinadapt.models.tfidf_logistic import TfidfLogistic
from clinadapt.models.training_settings import ReadsTokens

SPARSE_FOLDER, ENCODER_FOLDER = "sparse", "encoder"
BLEND_FILE = "blend.safetensors"
OWN = ("encoder", "max_tokens", "truncation", "seed")
EQUAL = np.array([0.5, 0.5])
SMALLEST = 2.0**-52  # a probability nearer to 0 or 1 has no logit worth the name
Floats = NDArray[np.float64]


@dataclass(eq=False, repr=False, kw_only=True)
class StackedModel(ReadsTokens):
    """TF-IDF + logistic regression and a pretrained encoder, their logits added.

    Parameters
    ----------
    encoder : str
        Known name, hub id or folder.
    max_tokens, truncation
        What the encoder gets of longer notes; TF-IDF reads all of them. See `ReadsTokens`.
    encoder_options : dict, optional
        Further settings of `PretrainedModel`, such as adapter and tuned_layers.
    tfidf_options : dict, optional
        Settings of `TfidfLogistic`, such as characters and C.
    seed : int
        Of the encoder's head.

    Attributes
    ----------
    weights_ : ndarray of float64, shape [2]
        Of the logits of TF-IDF, and of the encoder. Both 0.5 if there were no validation notes.
    sparse_ : TfidfLogistic
    encoder_ : PretrainedModel
        Fitted.
    """

    kind = "stacked"
    explained_by = "stacked"
    path_settings = ("encoder",)

    encoder: str = field(default="camembert-bio", kw_only=False)
    encoder_options: dict[str, Any] | None = None
    tfidf_options: dict[str, Any] | None = None
    seed: int = 0

    def setting_problems(self) -> list[str]:
        """Say what is wrong with the settings of the two parts."""
        tfidf, encoder = self.tfidf_options or {}, self.encoder_options or {}
        found = [
            f"encoder_options: {name!r} is a setting of {type(self).__name__} itself"
            for name in OWN
            if name in encoder
        ]
        if "refit" in tfidf:
            found.append("tfidf_options: 'refit' would fit on the notes that weigh the two parts")
        found += [
            f"tfidf_options: {text}" for text in param_validation.problems(TfidfLogistic, tfidf)
        ]
        unfit = param_validation.problems(PretrainedModel, encoder)
        if not unfit:
            unfit = PretrainedModel(**encoder).setting_problems()
        return found + [f"encoder_options: {text}" for text in unfit]

    def title(self, shown: dict[str, Any]) -> str:
        """TF-IDF and what the encoder's part is called."""
        options = shown.pop("tfidf_options", None) or {}
        shown |= {f"tfidf {name}": value for name, value in options.items()}
        shown |= shown.pop("encoder_options", None) or {}
        return f"TF-IDF + {self.parts()[1].title(shown)}"

    def starting_files(self) -> tuple[str, str]:
        """The encoder's folder."""
        return "encoder", self.encoder

    def parts(self) -> tuple[TfidfLogistic, PretrainedModel]:
        """The two models, unfitted."""
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

        Without validation notes both weigh the same: on the training notes themselves the part
        that overfits more would win.

        Raises
        ------
        EncoderNotFoundError
            The encoder is not on this machine.
        InputError
            Settings that do not fit each other or the encoder.
        """
        self._check()
        context = context or Context()
        self.task_: Task = labels.task
        self.sparse_, encoder = self.parts()
        self.encoder_: Model = encoder
        self.encoder_.fit(texts, labels, validation, metric, context)
        self.encoder_fingerprint_ = self.encoder_.encoder_fingerprint_
        self.sparse_.fit(texts, labels)
        self.weights_ = EQUAL
        if validation is not None:
            held_texts, held = validation
            # The classifier scores these notes again, and counts what was cut of them.
            uncounted = replace(context, ledger=Ledger())
            self.weights_ = fit_weights(held, *self._logits(held_texts, uncounted))
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

    def prepare(self, texts: Sequence[str], context: Context) -> None:
        """Compute the encoder's cached features of notes into the cache, if it has any."""
        self._check()
        self.parts()[1].prepare(texts, context)

    # ------------------------------------------------------------------ prediction

    def predict_proba(self, texts: Sequence[str], context: Context | None = None) -> Floats:
        """Probabilities [note, class]."""
        sparse, encoder = self._logits(texts, context or Context())
        return blend(self.task_, self.weights_, sparse, encoder)

    def _logits(self, texts: Sequence[str], context: Context) -> tuple[Floats, Floats]:
        """Logits [note, class] of both parts."""
        sparse = self.sparse_.predict_proba(texts, context)
        encoder = self.encoder_.predict_proba(texts, context)
        return logits(self.task_, sparse), logits(self.task_, encoder)

    # ------------------------------------------------------------------ parts

    def fitted_parts(self) -> tuple[Model, ...]:
        """The two models, fitted."""
        return self.sparse_, self.encoder_

    @property
    def network_part(self) -> Model:
        """The encoder's part."""
        return self.encoder_

    def with_network_part(self, part: Model) -> Self:
        """Return this fitted model with another encoder's part; itself it stays as it is."""
        changed = copy.copy(self)
        changed.encoder_ = part
        return changed

    @property
    def frozen_part(self) -> Any | None:
        """The encoder's part, if it reads cached features of a frozen encoder."""
        return self.encoder_.frozen_part

    def finish(self, frozen: Floats, texts: Sequence[str]) -> Floats:
        """Probabilities of the whole, given those of the encoder's part, both [note, class]."""
        sparse = logits(self.task_, self.sparse_.predict_proba(texts))
        return blend(self.task_, self.weights_, sparse, logits(self.task_, frozen))

    # ------------------------------------------------------------------ bundle

    def save(self, folder: Path) -> None:
        """Write both parts, each into a folder of its own, and their weights."""
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
            raise InputError(f"{BLEND_FILE}: a weight is below zero")
        self._finish()
        return self


def logits(task: Task, probabilities: Floats) -> Floats:
    """Log-odds of each label (multi-label), else log-probabilities; [note, class]."""
    inside = np.clip(probabilities, SMALLEST, 1 - SMALLEST)
    return np.asarray(logit(inside) if task == "multilabel" else np.log(inside))


def blend(task: Task, weights: Floats, sparse: Floats, encoder: Floats) -> Floats:
    """Probabilities of the weighted sum of two parts' logits, all [note, class]."""
    summed = weights[0] * sparse + weights[1] * encoder
    return np.asarray(expit(summed) if task == "multilabel" else softmax(summed, axis=1))


def fit_weights(labels: Labels, sparse: Floats, encoder: Floats) -> Floats:
    """Weights of two parts' logits, by log-loss with an L2 penalty, neither below zero.

    The penalty draws them to equal weights, from which some ten notes lead away. Beside them every
    class has an offset, free and then left out: without it, classes that are more or less common
    among these notes than the parts say would draw both weights to zero.

    Parameters
    ----------
    labels : Labels
    sparse, encoder : ndarray of float64, shape [note, class]
    """
    carried = labels.matrix

    def loss(found: Floats) -> float:
        weights, offsets = found[:2], found[2:]
        summed = weights[0] * sparse + weights[1] * encoder + offsets
        if labels.task == "multilabel":
            told = log_expit(np.where(carried, summed, -summed))
        else:
            told = log_softmax(summed, axis=1)[carried]
        return float(-told.sum() + 0.5 * np.square(weights - EQUAL).sum())

    start = np.concatenate([EQUAL, np.zeros(carried.shape[1])])
    bounds = [(0, None)] * 2 + [(None, None)] * carried.shape[1]
    found = minimize(loss, start, method="L-BFGS-B", bounds=bounds)
    return np.asarray(found.x[:2], dtype=np.float64)
