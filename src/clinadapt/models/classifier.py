"""`NoteClassifier`: any registered model as a scikit-learn classifier of texts."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Context
from clinadapt.data.labels import Labels, Task, decode
from clinadapt.data.python_inputs import as_clusters, as_labels, as_texts, is_indicator
from clinadapt.data.split import carve_validation
from clinadapt.data.text_store import Texts
from clinadapt.evaluation import calibration_maps, metrics, threshold
from clinadapt.evaluation.calibration_maps import Calibration, Scale
from clinadapt.evaluation.threshold import Threshold
from clinadapt.models import registry
from clinadapt.models.bundle.decision_rule import NO_MAP
from clinadapt.models.bundle.reference import Reference, make_reference
from clinadapt.models.bundle.save import save_bundle
from clinadapt.models.tfidf_logistic import TfidfLogistic


class NoteClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Classify notes with any model, at a threshold chosen on validation notes.

    Parameters
    ----------
    model : estimator or str, optional
        A model such as ``PretrainedModel(encoder="camembert-bio", adapter="gated_residual")``,
        or a registered name, with its default settings. Default: TF-IDF and logistic regression.
    metric : str, optional
        Metric that early stopping and the threshold optimise. Default: F1 (binary), macro F1
        (multi-class), weighted F1 (multi-label).
    validation_fraction : float
        Share of the training notes set aside for validation, by patient if `groups` are given to
        `fit`.
    positive : optional
        Positive class of a binary task, which threshold and F1 are about. Default: the class whose
        name suggests it, or else the rarer one, with a warning. The order of `classes_` does not
        depend on it.
    seed : int
        Seed of the choice of validation notes.
    cache : path, optional
        Folder of cached features, shared by all fits that use it. Default: a folder of this
        process, deleted when it ends.

    Attributes
    ----------
    classes_ : ndarray of shape [class]
        Classes in sorted order, which is that of the probability columns.
    positive_ : class, optional
        The positive class of a binary task; None in other tasks.
    label_classes_ : ndarray of shape [class]
        Classes in the order of `Labels`, in which models are trained and metrics computed: in a
        binary task the negative one, then the positive one.
    task_ : {"binary", "multiclass", "multilabel"}
    threshold_ : Threshold
        Of the probabilities that `predict_proba` returns. Assign another one to change it.
    scale_ : {"raw", "calibrated"}
        What `predict_proba` returns: the model's own probabilities, or calibrated ones.
    calibration_ : Calibration, optional
        Map fitted on the validation notes; None where none lowers their log-loss.
    model_ : fitted model
    validation_probabilities_ : ndarray of shape [validation note, class]
        The model's own, whatever `scale_` is.
    truncated_ : dict
        Number of truncated notes, by part ("train", "validation").
    reference_ : Reference, optional
        Counts that describe the validation notes; see `clinadapt.deployment.drift`.

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

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array, tags.input_tags.two_d_array = True, False
        tags.input_tags.string = True
        tags.classifier_tags.multi_label = True
        return tags

    def fit(self, X: Sequence[str], y: ArrayLike, groups: ArrayLike | None = None) -> Self:
        """Fit on texts.

        Parameters
        ----------
        X : sequence of str
        y : array-like
            Classes [note]; collections of classes [note], or a 0/1 indicator [note, class], for
            a multi-label task.
        groups : array-like, optional
            Patient of each note, so that no patient has notes in both training and validation.
            With `cross_validate`, pass them in ``params={"groups": groups}`` too.

        Raises
        ------
        InputError
            Texts, labels, groups or settings are not valid.
        """
        texts = as_texts(X)
        labels = as_labels(y, self.positive)
        clusters = np.arange(len(texts)) if groups is None else as_clusters(groups)
        if not len(texts) == len(labels) == len(clusters):
            raise InputError(
                f"expected as many labels and groups as texts, got {len(texts)} texts, "
                f"{len(labels)} labels, {len(clusters)} groups"
            )
        in_validation = carve_validation(
            labels.matrix, clusters, self.validation_fraction, self.seed
        )
        train, validation = np.flatnonzero(~in_validation), np.flatnonzero(in_validation)
        if not len(validation):
            raise InputError(
                f"{len(texts)} notes are too few to set aside {self.validation_fraction:.0%} "
                "for validation"
            )
        self.indicator_ = is_indicator(y)
        validation_part = texts.take(validation), labels.take(validation)
        self.fit_parts(texts.take(train), labels.take(train), *validation_part)
        self.describe_notes(texts.take(train), *validation_part, clusters[validation])
        held_out = self.in_label_order(self.validation_probabilities_)
        return self.calibrate(validation_part[1], held_out, clusters[validation])

    def describe_notes(
        self,
        texts: Sequence[str],
        validation_texts: Sequence[str],
        validation_labels: Labels,
        clusters: NDArray[np.int64],
    ) -> Self:
        """Store counts that describe the notes of the fit, for `clinadapt.deployment.drift`.

        Parameters
        ----------
        texts, validation_texts : sequence of str
            Training notes, and those of ``validation_probabilities_``; may be the same.
        validation_labels : Labels
        clusters : ndarray of int64, shape [validation note]
            Patient of each validation note.
        """
        self.reference_: Reference | None = make_reference(
            self.model_,
            self.in_label_order(self.validation_probabilities_),
            self.metric_,
            self.thresholds_["raw"],
            texts,
            validation_texts,
            validation_labels,
            clusters,
            fitted_on=self.fitted_on_validation_,
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
            raise InputError(
                f"metric {name!r} is not available for a {labels.task} task; choose one of {known}"
            )
        self.set_classes(labels.task, labels.classes)
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
        self.validation_probabilities_ = self.in_class_order(probabilities)
        self.set_scale(threshold.choose(validation_labels, probabilities, name))
        self.fitted_on_validation_ = bool(self.model_.refit)
        if self.model_.refit:
            both = labels.join(validation_labels)
            self.model_ = self._new_model().fit(Texts.join([texts, validation_texts]), both)
        self._finish_fit()
        return self

    def fit_decided(
        self,
        texts: Sequence[str],
        labels: Labels,
        probabilities: NDArray[np.float64],
        decisions: Mapping[str, float],
        context: Context,
    ) -> Self:
        """Fit on all labelled notes, as models of their folds decided.

        Parameters
        ----------
        texts : sequence of str
        labels : Labels
        probabilities : ndarray of float64, shape [note, class]
            Out-of-fold probabilities of these notes, on which the threshold is chosen. Columns are
            as in ``labels.classes``.
        decisions : mapping of str to float
            See `clinadapt.models.contract.Model.decide`.
        context : Context
        """
        self.set_classes(labels.task, labels.classes)
        self.metric_ = self.metric or metrics.PRIMARY[labels.task]
        before = context.ledger.truncated_notes
        self.model_ = self._new_model().decide(decisions)
        self.model_.fit(texts, labels, None, self.metric_, context)
        self.truncated_ = {"train": context.ledger.truncated_notes - before}
        self.validation_probabilities_ = self.in_class_order(probabilities)
        self.set_scale(threshold.choose(labels, probabilities, self.metric_))
        self.fitted_on_validation_ = True
        self._finish_fit()
        return self

    def _finish_fit(self) -> None:
        self.reference_ = None
        if not hasattr(self, "indicator_"):
            self.indicator_ = False

    # ------------------------------------------------------------------ calibration

    def calibrate(
        self, labels: Labels, probabilities: NDArray[np.float64], clusters: NDArray[np.int64]
    ) -> Self:
        """Fit a map of probabilities, and use it if it surely lowers the log-loss.

        The predicted classes stay the same: the threshold moves with the probabilities.

        Parameters
        ----------
        labels : Labels
            Labels of notes that the model did not learn from.
        probabilities : ndarray of float64, shape [note, class]
            The model's own, with classes in the order of `Labels`.
        clusters : ndarray of int64, shape [note]
            Patient of each note.
        """
        found = calibration_maps.calibrate(labels, probabilities, clusters)
        surely = found is not None and found.surely
        return self.set_scale(self.thresholds_["raw"], found, "calibrated" if surely else "raw")

    def set_scale(
        self,
        raw: Threshold,
        calibration: Calibration | None = None,
        scale: Scale = "raw",
        calibrated: Threshold | None = None,
    ) -> Self:
        """Set thresholds, map and scale of the probabilities.

        Parameters
        ----------
        raw : Threshold
            Of the model's own probabilities.
        calibration : Calibration, optional
        scale : {"raw", "calibrated"}
        calibrated : Threshold, optional
            Of calibrated probabilities; default: the one that predicts the same classes.
        """
        self.calibration_: Calibration | None = calibration
        self.thresholds_: dict[Scale, Threshold] = {"raw": raw}
        if calibration is not None:
            moved = calibration.map.move(raw.value)
            self.thresholds_["calibrated"] = calibrated or replace(raw, value=moved)
        self.scale_: Scale = scale
        return self

    @property
    def threshold_(self) -> Threshold:
        """Threshold of the probabilities that `predict_proba` returns."""
        return self.thresholds_[self.scale_]

    @threshold_.setter
    def threshold_(self, threshold: Threshold) -> None:
        self.thresholds_[self.scale_] = threshold
        if self.calibration_ is None:
            return
        other: Scale = "raw" if self.scale_ == "calibrated" else "calibrated"
        change = self.calibration_.map.undo if other == "raw" else self.calibration_.map.move
        self.thresholds_[other] = replace(threshold, value=change(threshold.value))

    def with_scale(self, scale: Scale) -> Self:
        """Return the same fitted classifier with raw or with calibrated probabilities.

        Raises
        ------
        InputError
            There is no map to calibrate them with.
        """
        if scale == "calibrated" and self.calibration_ is None:
            raise InputError(NO_MAP)
        other = copy.copy(self)
        other.thresholds_ = dict(self.thresholds_)
        other.scale_ = scale
        return other

    def present(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return a model's probabilities as `predict_proba` does.

        Parameters
        ----------
        probabilities : ndarray of float64, shape [note, class]
            The model's own, with classes in the order of `Labels`.
        """
        if self.scale_ == "calibrated":
            assert self.calibration_ is not None
            probabilities = self.calibration_.map.apply(self.task_, probabilities)
        return self.in_class_order(probabilities)

    # ------------------------------------------------------------------ classes

    def set_classes(self, task: Task, classes: NDArray[Any]) -> None:
        """Take the task and the classes, in the order of `Labels`, from labels or a bundle."""
        self.task_, self.label_classes_, self.classes_ = task, classes, np.sort(classes)
        self.positive_ = classes.tolist()[1] if task == "binary" else None

    def in_class_order(self, table: NDArray[Any]) -> NDArray[Any]:
        """Return a table [note, class] with columns as in `label_classes_` as in `classes_`."""
        return table[:, np.argsort(self.label_classes_)]

    def in_label_order(self, table: NDArray[Any]) -> NDArray[Any]:
        """Return a table [note, class] with columns as in `classes_` as in `label_classes_`."""
        return table[:, np.searchsorted(self.classes_, self.label_classes_)]

    def prepare(self, texts: Sequence[str], context: Context) -> None:
        """Compute the features of frozen layers for these notes into the context's cache.

        Models without a frozen encoder have nothing to prepare.
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
        """Return probabilities [note, class], columns as in ``classes_``.

        They sum to 1 over the classes; in a multi-label task each label has its own. They are
        calibrated on the validation notes where that surely lowers the log-loss, see `scale_`.
        """
        check_is_fitted(self, "model_")
        texts = as_texts(X)
        if not texts:
            return np.empty((0, len(self.classes_)))
        return self.present(self.model_.predict_proba(texts, self._context()))

    def predict(self, X: Sequence[str]) -> NDArray[Any]:
        """Return classes [note]; multi-label: tuples, or an indicator if fitted on one."""
        matrix = self.predict_matrix(self.predict_proba(X))
        if self.indicator_:
            return matrix.astype(np.int64)
        return decode(self.task_, self.classes_, matrix)

    def predict_matrix(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return the indicator [note, class] of the classes predicted from probabilities.

        Columns of both are as in ``classes_``.
        """
        ordered = self.in_label_order(probabilities)
        return self.in_class_order(self.threshold_.predict(self.task_, ordered))

    def save(self, folder: str | Path) -> Path:
        """Write a bundle that `clinadapt.load` opens on any machine, offline.

        Raises
        ------
        InputError
            The folder contains something other than a bundle.
        """
        check_is_fitted(self, "model_")
        return save_bundle(self, Path(folder))
