"""Cross-validation of a run: predictions by models that saw neither a note nor its patient.

One validation part of few patients decides by chance which configuration leads, where the threshold
lies and when training stops. On folds all labelled notes decide: each fold is predicted by a model
fitted on the others, which stops early on a validation part of its own. The run's model is then
fitted on all labelled notes with what the folds decided. Where no test part is set aside, the whole
of this is done anew for each fold of an outer division ("nested" cross-validation: Varma & Simon
2006, "Bias in error estimation when using cross-validation for model selection").
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from clinadapt.core.arrays import Floats
from clinadapt.core.atomic_files import atomic_path
from clinadapt.core.permissions import private_folder
from clinadapt.core.run_context import Context, Ledger
from clinadapt.data.notes import Notes
from clinadapt.data.split import Split
from clinadapt.evaluation import metrics
from clinadapt.evaluation.paired_comparison import Predictions
from clinadapt.models.classifier import NoteClassifier
from clinadapt.neural.training.loop import forget
from clinadapt.study.design import Run
from clinadapt.study.material import Material
from clinadapt.study.patient_runs import to_patients


@dataclass(frozen=True, eq=False)
class OutOfFold:
    """What the model of a fold gave, or the models of all folds together.

    Attributes
    ----------
    probabilities : ndarray of float64, shape [note, class]
        Of the fold's notes, or of all labelled notes in the order of their row numbers.
    decisions : mapping of str to float
        What the model decided on its validation notes, or the mean over the folds. See
        `clinadapt.models.contract.Model.decisions`.
    history : list of dict
        Training history, one entry per epoch; the mean over the folds that trained that long.
    """

    probabilities: Floats
    decisions: Mapping[str, float]
    history: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class OuterFold:
    """Answers of a run that was cross-validated and fitted without the notes of an outer fold.

    Attributes
    ----------
    validation : float, optional
        Score out of the inner folds; None if it is not defined.
    answers : (probabilities, predicted), both [note or patient of the fold, class]
    """

    validation: float | None
    answers: Predictions


def fit(
    classifier: NoteClassifier, material: Material, outside: OutOfFold | None, context: Context
) -> None:
    """Fit a classifier on the labelled notes as its folds decided, or on one validation part."""
    if outside is None:
        train, validation = material.parts["train"], material.parts["validation"]
        classifier.fit_parts(
            train.texts, train.labels, validation.texts, validation.labels, context
        )
        return
    labelled = material.labelled
    classifier.fit_decided(
        labelled.texts, labelled.labels, outside.probabilities, outside.decisions, context
    )


def cross_validate(
    material: Material, run: Run, folder: Path, context: Context
) -> OutOfFold | None:
    """Fit a run's model once per fold, on the other folds, and predict the fold.

    Parameters
    ----------
    material : Material
    run : Run
    folder : Path
        Folder for what each fold gave; a fold found there is not fitted again.
    context : Context

    Returns
    -------
    OutOfFold or None
        None if the material has no folds.
    """
    folds, notes = material.folds, material.notes
    if not folds:
        return None
    private_folder(folder)
    rows = material.labelled_rows
    probabilities = np.empty((len(rows), len(notes.labels.classes)))
    results = []
    for number, fold in enumerate(folds, start=1):
        named = _named(context, f"fold {number}/{len(folds)}", folder / f"{number}.pt")
        result = _kept(folder / f"{number}.npz", len(fold.test), probabilities.shape[1])
        if result is None:
            result = _fit_fold(notes, fold, run, material.metric, named)
            _keep(folder / f"{number}.npz", result)
        forget(folder / f"{number}.pt")
        probabilities[np.searchsorted(rows, fold.test)] = result.probabilities
        results.append(result)
    decisions = _mean([result.decisions for result in results])
    longest = max((result.history for result in results), key=len)
    history = [
        _mean([result.history[epoch] for result in results if epoch < len(result.history)])
        for epoch in range(len(longest))
    ]
    return OutOfFold(probabilities, decisions, history)


def fit_outer_fold(outer: Material, run: Run, folder: Path, context: Context) -> OuterFold:
    """Cross-validate and fit a run on all notes but those of an outer fold, and predict these."""
    outside = cross_validate(outer, run, folder, context)
    classifier = NoteClassifier(run.build(), metric=outer.metric)
    own = replace(context, checkpoint=folder / "whole.pt", ledger=Ledger())
    fit(classifier, outer, outside, own)
    to_patients(classifier, outer)
    forget(folder / "whole.pt")
    validation = outer.scored["validation"]
    held = classifier.in_label_order(classifier.validation_probabilities_)
    whole = np.ones((1, len(validation)))
    chosen_on = answers_of(classifier, held)
    scores = metrics.values(validation.labels, *chosen_on, whole, [outer.metric])
    score = float(scores[outer.metric][0])
    tested = classifier.model_.predict_proba(outer.scored["test"].texts, own)
    return OuterFold(None if np.isnan(score) else score, answers_of(classifier, tested))


def answers_of(classifier: NoteClassifier, probabilities: Floats) -> Predictions:
    """Return probabilities [note, class] with the classes that a classifier predicts from them."""
    return probabilities, classifier.threshold_.predict(classifier.task_, probabilities)


def joined(material: Material, folds: Sequence[OuterFold]) -> Predictions:
    """Return the answers of all outer folds in the order of the labelled notes, or patients."""
    labelled = material.units.labelled_rows
    shape = len(labelled), len(material.notes.labels.classes)
    probabilities, predicted = np.empty(shape), np.empty(shape, dtype=np.bool_)
    for outer, fold in zip(material.outer, folds, strict=True):
        rows = np.searchsorted(labelled, outer.units.split.test)
        probabilities[rows], predicted[rows] = fold.answers
    return probabilities, predicted


def _fit_fold(notes: Notes, fold: Split, run: Run, metric: str, context: Context) -> OutOfFold:
    model = run.build()
    train, validation = fold.train, fold.validation
    if not model.learns_from_validation:
        train, validation = np.union1d(train, validation), validation[:0]
    texts, labels = notes.texts, notes.labels
    held = (texts.take(validation), labels.take(validation)) if len(validation) else None
    model.fit(texts.take(train), labels.take(train), held, metric, context)
    probabilities = model.predict_proba(texts.take(fold.test), context)
    return OutOfFold(probabilities, model.decisions(), model.history_)


def _named(context: Context, name: str, checkpoint: Path) -> Context:
    """Return the context of a fold: its name before each stage, its own checkpoint and ledger."""
    progress = context.progress
    return replace(
        context,
        checkpoint=checkpoint,
        progress=lambda stage, done, total: progress(f"{name}, {stage}", done, total),
        ledger=Ledger(),
    )


def _mean(several: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of each number, or list of numbers, that all have."""
    shared = [name for name in several[0] if all(name in one for one in several)]
    return {name: np.mean([one[name] for one in several], axis=0).tolist() for name in shared}


def _keep(path: Path, result: OutOfFold) -> None:
    about = json.dumps({"decisions": dict(result.decisions), "history": list(result.history)})
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, probabilities=result.probabilities, about=about)


def _kept(path: Path, notes: int, classes: int) -> OutOfFold | None:
    """Return what a fold gave, or None if it was not fitted yet or its file is damaged."""
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as saved:
            probabilities, about = saved["probabilities"], json.loads(str(saved["about"]))
        result = OutOfFold(probabilities, about["decisions"], about["history"])
    except Exception:  # a damaged archive raises errors of many kinds; the fold is fitted again
        return None
    return result if probabilities.shape == (notes, classes) else None
