"""`NoteClassifier`: any registered model as a scikit-learn classifier of texts."""

from collections.abc import Mapping, Sequence
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
from clinadapt.evaluation import abstention, metrics, threshold
from clinadapt.models import registry
from clinadapt.models.abstaining_answers import AbstainingAnswers
from clinadapt.models.bundle.reference import Reference, make_reference
from clinadapt.models.bundle.save import save_bundle
from clinadapt.models.tfidf_logistic import TfidfLogistic


class NoteClassifier(AbstainingAnswers, ClassifierMixin, BaseEstimator):  # type: ignore[misc]
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
    abstention_ : Abstention, optional
        Reject bands and prediction sets from the validation notes; None in a bundle of before.

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
        held_out = self.in_label_order(self.validation_probabilities_)
        self.calibrate(validation_part[1], held_out, clusters[validation])
        self.learn_abstention(validation_part[1], clusters[validation])
        return self.describe_notes(texts.take(train), *validation_part, clusters[validation])

    def describe_notes(
        self,
        texts: Sequence[str],
        validation_texts: Sequence[str],
        validation_labels: Labels,
        clusters: NDArray[np.int64],
    ) -> Self:
        """Store what the validation notes tell: counts, reject bands, prediction sets.

        The counts are for `clinadapt.deployment.drift`, the rest for `decide` and `predict_set`.

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
        self.keep_abstention(None)
        if not hasattr(self, "indicator_"):
            self.indicator_ = False

    def set_classes(self, task: Task, classes: NDArray[Any]) -> None:
        """Take the task and the classes, in the order of `Labels`, from labels or a bundle."""
        self.task_, self.label_classes_, self.classes_ = task, classes, np.sort(classes)
        self.positive_ = classes.tolist()[1] if task == "binary" else None

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

    def decide(self, X: Sequence[str], risk: float = abstention.RISK) -> NDArray[Any]:
        """Return classes [note], or None where a note should be left to a person.

        At most a share `risk` of the answers with the positive class is wrong, and of the positive
        notes at most that share is answered with the other class; in a multi-class task at most
        that share of all answers is wrong; in a multi-label task the first two hold for all labels
        together, and a note is left if one of its labels is. Each holds for new patients like those
        of the fit with the confidence of ``abstention_``.

        Parameters
        ----------
        X : sequence of str
        risk : float
            One of `clinadapt.evaluation.abstention.RISKS`.

        Raises
        ------
        InputError
            There is no band for this risk, or none at all in a bundle of before.
        """
        band = self.abstaining.band(risk)
        probabilities = self.in_label_order(self.predict_proba(X))
        answered, left = band.answer(self.task_, probabilities)
        decided = decode(self.task_, self.label_classes_, answered).astype(object)
        decided[left.any(axis=1)] = None
        return decided

    def predict_set(
        self, X: Sequence[str], coverage: float = abstention.COVERAGE
    ) -> NDArray[np.bool_]:
        """Return which classes may be right, shape [note, class], columns as in ``classes_``.

        For a note of a new patient, the set contains the right class with probability `coverage`;
        in binary and multi-label tasks that holds for the notes of each class. A set may be empty:
        no class is as probable as it is in most notes that have it.

        Parameters
        ----------
        X : sequence of str
        coverage : float
            One of `clinadapt.evaluation.abstention.COVERAGES`.

        Raises
        ------
        InputError
            There are no sets of this coverage, or none at all in a bundle of before.
        """
        sets = self.abstaining.sets_of(coverage)
        return self.in_class_order(sets.of(self.in_label_order(self.predict_proba(X))))

    def save(self, folder: str | Path) -> Path:
        """Write a bundle that `clinadapt.load` opens on any machine, offline.

        Raises
        ------
        InputError
            The folder contains something other than a bundle.
        """
        check_is_fitted(self, "model_")
        return save_bundle(self, Path(folder))
