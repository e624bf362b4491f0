"""The most confident errors of a study's chosen model, explained, and the kinds they are of."""

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
from clinadapt.data.split import make_split
from clinadapt.explain.assertion_status import kinds
from clinadapt.explain.explain import Explanation, explain
from clinadapt.models.classifier import NoteClassifier
from clinadapt.models.load import load as load_bundle
from clinadapt.study import result_files
from clinadapt.study.fit_run import Material
from clinadapt.study.read_results import StudyResults, load

TOP = 5  # words that contributed most
TRUNCATED, NONE = "truncated", "none of these"
KINDS = ("negated", "historical", "family", TRUNCATED, NONE)


@dataclass(frozen=True)
class Mistake:
    """A test note of which the model said something wrong.

    Attributes
    ----------
    id, label, prediction : str
        Several labels are joined by a comma.
    explanation : Explanation
        Of the class about which the model is most confidently wrong.
    kinds : list of str
        Of `KINDS`; at least one.
    """

    id: str
    label: str
    prediction: str
    explanation: Explanation
    kinds: list[str]


@dataclass(frozen=True)
class Share:
    """How many of some notes are of a kind, with Wilson's 95 % interval of their share."""

    count: int
    of: int
    low: float
    high: float


@dataclass(frozen=True)
class Mistakes:
    """What `find_mistakes` found.

    Attributes
    ----------
    study : StudyResults
    classifier : NoteClassifier
        The model that the study hands over.
    shown : list of Mistake
        Most confident first.
    wrong, right : int
        Test notes of which the model said something wrong, and nothing wrong.
    shares : dict of str to (Share, Share)
        Of each kind, among wrong and among right notes; None where there are no such notes. A
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
    """Explain the errors on the test part of the row that a study hands over.

    Parameters
    ----------
    folder : Path
        Of a finished study.
    notes : Notes
        The study's own.
    limit : int
        Errors shown.
    sample : int
        Wrong notes, and right notes, in which kinds are counted; drawn at random where there are
        more.
    progress : callable

    Raises
    ------
    InputError
        Not a finished study, or the notes are not its own.
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
    rows = np.unique(np.concatenate([ordered, *counted]))
    name = "recommended" if study.about["recommended"] else "best"
    classifier = load_bundle(folder / name)
    names = [str(name) for name in test.labels.classes]
    asked = [names[column] for column in target[rows].tolist()]
    explained = explain(classifier, list(test.texts.take(rows)), asked, progress)
    explanation = dict(zip(rows.tolist(), explained, strict=True))
    of_row = {row: kinds_of(one) for row, one in explanation.items()}

    labels = prediction_tables.decode_text(
        test.labels.task, test.labels.classes, test.labels.matrix
    )
    said = prediction_tables.decode_text(test.labels.task, test.labels.classes, predicted)
    return Mistakes(
        study=study,
        classifier=classifier,
        shown=[
            Mistake(
                test.ids[row],
                _joined(labels[row]),
                _joined(said[row]),
                explanation[row],
                of_row[row],
            )
            for row in ordered.tolist()
        ],
        wrong=int(wrong.sum()),
        right=int((~wrong).sum()),
        shares={
            kind: (
                share([kind in of_row[row] for row in counted[0].tolist()]),
                share([kind in of_row[row] for row in counted[1].tolist()]),
            )
            for kind in KINDS
        },
    )


def _open(folder: Path) -> StudyResults:
    if not (folder / result_files.LEADERBOARD).is_file():
        raise InputError(f"{folder} holds no finished study (no {result_files.LEADERBOARD})")
    study = load(folder)
    if study.handed_over is None:
        raise InputError(f"{folder}: no row of this study was fitted, so there are no errors")
    return study


def _test_part(study: StudyResults, folder: Path, notes: Notes) -> Notes:
    """The test part of the study's split, made anew from its notes."""
    design = study.about["design"]
    fractions = design["test_fraction"], design["validation_fraction"]
    split = make_split(notes, *fractions, design["split_seed"])
    material = Material(notes, split, study.about["metric"], design["resamples"])
    if material.fingerprint != study.about["data"]["fingerprint"]:
        raise InputError(
            f"these are not the notes of {folder}, or not with its columns: expected the table of "
            f"{study.about['data']['notes']} notes, and the options --text, --label, --separator, "
            "--id, --group, --split, --positive and --leave-out-bad, that `clinadapt study` was "
            f"given; got {len(notes)} notes whose ids, texts, labels, patients or parts differ"
        )
    return material.parts["test"]


def judge(
    labels: Labels, probabilities: NDArray[np.float64], predicted: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.float64]]:
    """Which notes are wrong, about which class, and how confidently; each [note].

    Confidence is the probability of what was said: of the predicted class, or of a label being
    there or not. In a multi-label task it is that of the label about which the model is most
    confidently wrong; a right note's class is its most probable one.
    """
    apart = predicted != labels.matrix
    wrong = apart.any(axis=1)
    said = np.where(predicted, probabilities, 1 - probabilities)
    if labels.task == "binary":
        target = np.ones(len(labels), dtype=np.int64)
    elif labels.task == "multiclass":
        target = predicted.argmax(axis=1)
    else:
        likely = probabilities.argmax(axis=1)
        target = np.where(wrong, np.where(apart, said, -1.0).argmax(axis=1), likely)
    return wrong, target, said[np.arange(len(target)), target]


def kinds_of(explanation: Explanation) -> list[str]:
    """Kinds of a note, by the words that moved the model most towards what it said."""
    strongest = explanation.strongest(TOP)
    found: list[str] = [*kinds(explanation.text, [(word.start, word.end) for word in strongest])]
    if explanation.truncated:
        found.append(TRUNCATED)
    return found or [NONE]


def share(are: Sequence[bool]) -> Share | None:
    """Count, and Wilson's 95 % interval; None of no notes."""
    if not are:
        return None
    interval = binomtest(sum(are), len(are)).proportion_ci(method="wilson")
    return Share(sum(are), len(are), float(interval.low), float(interval.high))


def _joined(label: str | pl.Series) -> str:
    return label if isinstance(label, str) else ", ".join(label)
