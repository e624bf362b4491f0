"""The most confident errors of a study's chosen model, explained and sorted into kinds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import binomtest

from clinadapt.core.errors import InputError
from clinadapt.core.run_context import Progress, no_progress
from clinadapt.data import prediction_tables
from clinadapt.data.labels import Labels
from clinadapt.data.notes import Notes
from clinadapt.data.patients import patients_of
from clinadapt.data.split import read_split
from clinadapt.explain.assertion_status import kinds
from clinadapt.explain.explain import Explanation, explain
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.load import load as load_bundle
from clinadapt.study import result_files
from clinadapt.study.design import load_design
from clinadapt.study.material import Material
from clinadapt.study.read_results import StudyResults, load

TOP = 5  # words that contributed most
TRUNCATED, NONE = "truncated", "none of these"
KINDS = ("negated", "historical", "family", TRUNCATED, NONE)


@dataclass(frozen=True)
class Mistake:
    """A test note with a wrong prediction.

    Attributes
    ----------
    id, label, prediction : str
        Several labels are joined by commas.
    explanation : Explanation
        Explanation of the class about which the model is most confidently wrong.
    kinds : list of str
        One or more of `KINDS`.
    """

    id: str
    label: str
    prediction: str
    explanation: Explanation
    kinds: list[str]


@dataclass(frozen=True)
class Share:
    """Number of notes of a kind among some notes, with Wilson's 95 % interval of their share."""

    count: int
    of: int
    low: float
    high: float


@dataclass(frozen=True)
class Mistakes:
    """Result of `find_mistakes`.

    Attributes
    ----------
    study : StudyResults
    classifier : NoteClassifier
        The study's chosen model.
    shown : list of Mistake
        Errors shown, most confident first.
    wrong, right : int
        Number of test notes with and without an error.
    shares : dict of str to (Share, Share)
        Share of each kind among wrong and among right notes; None if there are no such notes. A
        note may be of several kinds.
    """

    study: StudyResults
    classifier: NoteClassifier
    shown: list[Mistake]
    wrong: int
    right: int
    shares: dict[str, tuple[Share | None, Share | None]]


def find_mistakes(
    folder: Path,
    notes: Notes,
    limit: int = 50,
    sample: int = 200,
    progress: Progress = no_progress,
) -> Mistakes:
    """Explain the test errors of a study's recommended configuration, or of its best one.

    Parameters
    ----------
    folder : Path
        Folder of a finished study.
    notes : Notes
        The notes of the study.
    limit : int
        Largest number of errors shown.
    sample : int
        Largest number of wrong and of right notes in which kinds are counted, drawn at random.
    progress : callable

    Raises
    ------
    InputError
        The folder is not a finished study, or the notes are not those of the study.
    """
    study = _open(folder)
    run = study.handed_over
    assert run is not None
    test = _test_part(study, folder, notes)
    probabilities, predicted = prediction_tables.read_predictions(run.folder, "test", test.labels)
    if len(probabilities) != len(test):
        raise InputError(
            f"{run.folder / prediction_tables.PREDICTIONS} is damaged: run the study again"
        )
    wrong, target, confidence = judge(test.labels, probabilities, predicted)

    ordered = np.flatnonzero(wrong)[np.argsort(-confidence[wrong], kind="stable")][:limit]
    generator = np.random.default_rng(0)
    counted = [
        generator.permutation(np.flatnonzero(of_kind))[:sample] for of_kind in (wrong, ~wrong)
    ]
    chosen = np.unique(np.concatenate([ordered, *counted]))
    name = "recommended" if study.about["recommended"] else "best"
    classifier = load_bundle(folder / name)
    names = [str(name) for name in test.labels.classes]
    targets = [names[column] for column in target[chosen].tolist()]
    explained = explain(classifier, list(test.texts.take(chosen)), targets, progress)
    explanation = dict(zip(chosen.tolist(), explained, strict=True))
    kinds_by_note = {note: kinds_of(one) for note, one in explanation.items()}

    labels = prediction_tables.decode_text(
        test.labels.task, test.labels.classes, test.labels.matrix
    )
    predictions = prediction_tables.decode_text(test.labels.task, test.labels.classes, predicted)
    return Mistakes(
        study=study,
        classifier=classifier,
        shown=[
            Mistake(
                test.ids[note],
                _joined(labels[note]),
                _joined(predictions[note]),
                explanation[note],
                kinds_by_note[note],
            )
            for note in ordered.tolist()
        ],
        wrong=int(wrong.sum()),
        right=int((~wrong).sum()),
        shares={
            kind: (
                share([kind in kinds_by_note[note] for note in counted[0].tolist()]),
                share([kind in kinds_by_note[note] for note in counted[1].tolist()]),
            )
            for kind in KINDS
        },
    )


def _open(folder: Path) -> StudyResults:
    if not (folder / result_files.LEADERBOARD).is_file():
        raise InputError(f"{folder} holds no finished study (no {result_files.LEADERBOARD})")
    study = load(folder)
    if study.handed_over is None:
        raise InputError(
            f"{folder}: no configuration of this study was fitted, so there are no errors"
        )
    return study


def _test_part(study: StudyResults, folder: Path, notes: Notes) -> Notes:
    """Return the test part of the study's split: notes, or patients with their documents."""
    split = read_split(folder / "split.json", notes.ids)
    material = None
    if split is not None:
        # Studies of earlier versions have no folds.
        design = load_design({"folds": 1, **study.about["design"]})
        patients = None if design.level == "note" else patients_of(notes, design.group_label)
        material = Material(notes, split, study.about["metric"], design, patients)
    if material is None or material.fingerprint != study.about["data"]["fingerprint"]:
        raise InputError(
            f"these are not the notes of {folder}, or they were read with other columns: expected "
            f"the table of {study.about['data']['notes']} notes, and the options --text, --label, "
            "--separator, --id, --group, --split, --positive and --leave-out-bad, as given to "
            f"`clinadapt study`; got {len(notes)} notes whose ids, texts, labels, patients or "
            "parts differ"
        )
    return material.scored["test"]


def judge(
    labels: Labels, probabilities: NDArray[np.float64], predicted: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.float64]]:
    """Return which notes are wrong, about which class, and with what confidence; each [note].

    Confidence is the probability of the prediction: of the predicted class, or of a label's
    presence or absence. In a multi-label task the class is the label about which the model is most
    confidently wrong; for a right note it is the most probable label.
    """
    differs = predicted != labels.matrix
    wrong = differs.any(axis=1)
    confidence = np.where(predicted, probabilities, 1 - probabilities)
    if labels.task == "binary":
        target = np.ones(len(labels), dtype=np.int64)
    elif labels.task == "multiclass":
        target = predicted.argmax(axis=1)
    else:
        likely = probabilities.argmax(axis=1)
        target = np.where(wrong, np.where(differs, confidence, -1.0).argmax(axis=1), likely)
    return wrong, target, confidence[np.arange(len(target)), target]


def kinds_of(explanation: Explanation) -> list[str]:
    """Return the kinds of a note, by the words that contributed most to the prediction."""
    words = [(word.start, word.end) for word in explanation.strongest(TOP)]
    matching: list[str] = [*kinds(explanation.text, words)]
    if explanation.truncated:
        matching.append(TRUNCATED)
    return matching or [NONE]


def share(are: Sequence[bool]) -> Share | None:
    """Return the share of true values with Wilson's 95 % interval; None for no values."""
    if not are:
        return None
    interval = binomtest(sum(are), len(are)).proportion_ci(method="wilson")
    return Share(sum(are), len(are), float(interval.low), float(interval.high))


def _joined(label: str | pl.Series) -> str:
    return label if isinstance(label, str) else ", ".join(label)
