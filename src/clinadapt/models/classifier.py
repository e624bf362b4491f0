"""`NoteClassifier`: any model family as a scikit-learn classifier of texts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Context
from clinadapt.data import labels as labelling
from clinadapt.data.labels import Labels
from clinadapt.data.split import carve_validation
from clinadapt.data.text_store import Texts
from clinadapt.evaluation import metrics, threshold
from clinadapt.models import registry
from clinadapt.models.bundle.integrity import RECORD
from clinadapt.models.bundle.reference import Reference, make_reference
from clinadapt.models.bundle.save import save_bundle
from clinadapt.models.tfidf_logistic import TfidfLogistic


class NoteClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify notes with a model family, at a threshold chosen on validation notes.

    Parameters
    ----------
    model : estimator or str, optional
        A model such as ``PretrainedModel(encoder="camembert-bio", adapter="gated_residual")``,
        or the name of a family with its defaults. Default: TF-IDF and logistic regression.
    metric : str, optional
        What early stopping and threshold aim at. Default: F1 (binary), macro F1 (multi-class),
        weighted F1 (multi-label).
    validation_fraction : float
        Share of the training notes that is carved out for validation, by patient if `groups` are
        given to `fit`.
    positive : optional
        Positive class of a binary task; default the one that is named like one, or the second.
    seed : int
        Of the carving.
    cache : path, optional
        Folder of cached features, shared by every fit that names it. Default: one of this process,
        deleted at its end.

    Attributes
    ----------
    classes_ : ndarray of shape [class]
        In a binary task the positive class is the second.
    task_ : {"binary", "multiclass", "multilabel"}
    threshold_ : Threshold
    model_ : fitted model
    validation_probabilities_ : ndarray of shape [validation note, class]
    truncated_ : dict
        Notes of the training and the validation part that were longer than allowed.
    reference_ : Reference, optional
        What the validation notes were like, as counts; see `clinadapt.deployment.drift`.

    Examples
    --------
    >>> from clinadapt import NoteClassifier
    >>> notes = ["pas de fièvre", "fièvre à 39", "apyrétique", "fièvre et toux"] * 10
    >>> classifier = NoteClassifier().fit(notes, [0, 1, 0, 1] * 10)
    >>> classifier.predict(["fièvre et toux"])
    array([1])
    """

    def __init__(
        self,
        model: Any = None,
        metric: str | None = None,
        validation_fraction: float = 0.15,
        positive: Any = None,
        seed: int = 0,
        cache: str | Path | None = None,
    ) -> None:
        self.model = model
        self.metric = metric
        self.validation_fraction = validation_fraction
        self.positive = positive
        self.seed = seed
        self.cache = cache

    def fit(self, X: Sequence[str], y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Fit on texts.

        Parameters
        ----------
        X : sequence of str
        y : array-like
            Classes [note]; collections of classes [note], or a 0/1 indicator [note, class], for
            a multi-label task.
        groups : array-like, optional
            Patient of each note, so that the validation notes are of other patients. With
            `cross_validate`, pass them in ``params={"groups": groups}`` too.

        Raises
        ------
        InputError
            Texts, labels, groups or settings that do not do.
        """
        texts = as_texts(X)
        found = labelling.from_target(y, self.positive)
        clusters = np.arange(len(texts))
        if groups is not None:
            units = [str(unit) for unit in np.asarray(groups, dtype=object)]
            clusters = np.unique(np.array(units), return_inverse=True)[1]
        if not len(texts) == len(found) == len(clusters):
            raise InputError(
                f"expected as many labels and groups as texts, got {len(texts)} texts, "
                f"{len(found)} labels, {len(clusters)} groups"
            )
        carved = carve_validation(found.matrix, clusters, self.validation_fraction, self.seed)
        train, validation = np.flatnonzero(~carved), np.flatnonzero(carved)
        if not len(validation):
            raise InputError(
                f"{len(texts)} notes are too few to carve out {self.validation_fraction:.0%} "
                "for validation"
            )
        self.indicator_ = labelling.is_indicator(y)
        held = texts.take(validation), found.take(validation)
        self.fit_parts(texts.take(train), found.take(train), *held)
        return self.describe_notes(texts.take(train), *held, clusters[validation])

    def describe_notes(
        self,
        texts: Sequence[str],
        validation_texts: Sequence[str],
        validation_labels: Labels,
        clusters: NDArray[np.int64],
    ) -> Self:
        """Count what the notes of the fit are like, for `clinadapt.deployment.drift`.

        Parameters
        ----------
        texts, validation_texts : sequence of str
        validation_labels : Labels
        clusters : ndarray of int64, shape [validation note]
            Patient of each.
        """
        self.reference_: Reference | None = make_reference(
            self.model_,
            self.validation_probabilities_,
            self.metric_,
            self.threshold_,
            texts,
            validation_texts,
            validation_labels,
            clusters,
        )
        return self

    def fit_parts(
        self,
        texts: Sequence[str],
        labels: Labels,
        validation_texts: Sequence[str],
        validation_labels: Labels,
        context: Context | None = None,
    ) -> Self:
        """Fit on a training part, with early stopping and threshold on a validation part."""
        context = context or self._context()
        name = self.metric or metrics.PRIMARY[labels.task]
        if name not in metrics.metric_names(labels.task):
            known = ", ".join(metrics.metric_names(labels.task))
            raise InputError(f"metric {name!r} is not one of a {labels.task} task: {known}")
        self.classes_ = labels.classes
        self.task_ = labels.task
        self.metric_ = name
        ledger = context.ledger
        truncated_before = ledger.truncated_notes
        self.model_ = self._new_model().fit(
            texts, labels, (validation_texts, validation_labels), name, context
        )
        truncated_in_fit = ledger.truncated_notes - truncated_before
        probabilities = self.model_.predict_proba(validation_texts, context)
        truncated_in_validation = ledger.truncated_notes - truncated_before - truncated_in_fit
        self.truncated_ = {
            "train": truncated_in_fit - truncated_in_validation,
            "validation": truncated_in_validation,
        }
        self.validation_probabilities_ = probabilities
        self.reference_ = None
        self.threshold_ = threshold.choose(validation_labels, probabilities, name)
        if self.model_.refit:
            both = labels.join(validation_labels)
            self.model_ = self._new_model().fit(Texts.join([texts, validation_texts]), both)
        if not hasattr(self, "indicator_"):
            self.indicator_ = False
        return self

    def prepare(self, texts: Sequence[str], context: Context) -> None:
        """Compute whatever is frozen for these notes into the context's cache.

        Only models with a frozen encoder have anything to prepare.
        """
        self._new_model().prepare(texts, context)

    def _new_model(self) -> Any:
        if self.model is None:
            return TfidfLogistic()
        if isinstance(self.model, str):
            return registry.build(self.model, {})
        registry.name_of(self.model)
        return clone(self.model)

    def _context(self) -> Context:
        return Context(cache=None if self.cache is None else Path(self.cache))

    def predict_proba(self, X: Sequence[str]) -> NDArray[np.float64]:
        """Probabilities [note, class], columns as in ``classes_``.

        They sum to 1 over classes, or are each label's own in a multi-label task.
        """
        check_is_fitted(self, "model_")
        texts = as_texts(X)
        if not texts:
            return np.empty((0, len(self.classes_)))
        result: NDArray[np.float64] = self.model_.predict_proba(texts, self._context())
        return result

    def predict(self, X: Sequence[str]) -> NDArray[Any]:
        """Classes [note]; tuples of classes, or an indicator if fitted on one (multi-label)."""
        matrix = self.predict_matrix(self.predict_proba(X))
        if self.indicator_:
            return matrix.astype(np.int64)
        return labelling.decode(self.task_, self.classes_, matrix)

    def predict_matrix(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Indicator [note, class] of the classes that probabilities amount to."""
        return self.threshold_.predict(self.task_, probabilities)

    def save(self, folder: str | Path) -> Path:
        """Write a bundle that `clinadapt.load` opens on any machine, offline.

        Raises
        ------
        InputError
            The folder holds something else than a bundle.
        """
        check_is_fitted(self, "model_")
        folder = Path(folder)
        is_free = not folder.exists() or (folder.is_dir() and not any(folder.iterdir()))
        if not is_free and not (folder / RECORD).is_file():
            raise InputError(
                f"{folder} is there and is no bundle: what it holds would be lost. Choose another "
                "folder"
            )
        return save_bundle(self, folder)


def as_texts(X: Any) -> Texts:
    """Texts as a column, or an error that says which rows are not text."""
    if isinstance(X, str):
        raise InputError("expected a sequence of texts, got one string: put it in a list")
    rows = X if isinstance(X, Texts) else X.tolist() if hasattr(X, "tolist") else list(X)
    bad, blank = [], []
    for number, text in enumerate(rows):
        if not isinstance(text, str):
            bad.append((number, type(text).__name__))
        elif not text.strip():
            blank.append(number)
    if bad:
        raise InputError(
            f"expected texts, got other things at {len(bad)} position(s), first {bad[0][0]} "
            f"({bad[0][1]})"
        )
    if blank:
        raise InputError(
            f"empty text at {len(blank)} position(s), first {blank[0]}: leave these out"
        )
    return Texts.of(rows)
