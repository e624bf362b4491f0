"""Labels to look at again: a model that learned something confidently says another class.

The probabilities are those of the validation notes, or of all notes outside the test part where a
study has folds: of models that saw neither the note nor its patient.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from clinadapt.core.arrays import Floats
from clinadapt.core.errors import InputError
from clinadapt.core.messages import Message
from clinadapt.data.notes import Notes
from clinadapt.evaluation.confident_learning import confident_labels
from clinadapt.study.checks.contract import Subject
from clinadapt.study.read_results import RunResult, StudyResults

PART = "validation"
SUREST = 0.25  # share of the notes that the model is surest about
LEAST_WRONG = 0.05  # of them, with another label
STANDARD_ERRORS = 2.0
COLUMNS = ("id", "label", "likely", "probability of label", "probability of likely")


@dataclass(frozen=True, eq=False)
class Doubted:
    """Labels that a run confidently doubts.

    Attributes
    ----------
    run : RunResult
    notes : int
        Notes that were looked at.
    table : polars.DataFrame
        A line for each doubted label: id, label, the class that is likely instead, and the
        probabilities of both; the most doubtful first.
    surest, wrong : int
        Answers of which the run is surest, and those of them that differ from the label.
    """

    run: RunResult
    notes: int
    table: pl.DataFrame
    surest: int
    wrong: int


def look_again(subject: Subject) -> str | None:
    """Return what is found where even the surest answers often differ from the label."""
    assert subject.results is not None
    found = doubted_labels(subject.results)
    if found is None or not found.surest:
        return None
    share = found.wrong / found.surest
    error = np.sqrt(LEAST_WRONG * (1 - LEAST_WRONG) / found.surest)
    if share < LEAST_WRONG + STANDARD_ERRORS * error:
        return None
    return Message(
        "{name} confidently doubts {labels:,} labels of {notes:,} notes that it was not fitted on; "
        "of the {surest:,} answers that it is surest about, {wrong:,} ({share:.0%}) differ from "
        "the label.",
        name=found.run.configuration,
        labels=len(found.table),
        notes=found.notes,
        surest=found.surest,
        wrong=found.wrong,
        share=share,
    )


def doubted_labels(results: StudyResults) -> Doubted | None:
    """Return the labels that the run handed over doubts; None if it has not learned anything."""
    run = results.handed_over
    if run is None or not _useful(results, run):
        return None
    frame = results.answers[PART]
    names = results.about["classes"]
    probabilities = frame.select([f"prob_{name}" for name in names]).to_numpy()
    if results.about["task"] == "multilabel":
        lines, surest, wrong = [], 0, 0
        for number, name in enumerate(names):  # each label is a question of its own
            one = probabilities[:, number]
            carried = frame["label"].list.contains(name).to_numpy().astype(np.int64)
            both = np.column_stack([1 - one, one])
            lines.append(_lines(frame, carried, both, [f"not {name}", name]))
            of, differ = _surest(carried, both)
            surest, wrong = surest + of, wrong + differ
        table = pl.concat(lines)
    else:
        number_of = {name: number for number, name in enumerate(names)}
        labels = np.array([number_of[name] for name in frame["label"]], dtype=np.int64)
        table = _lines(frame, labels, probabilities, names)
        surest, wrong = _surest(labels, probabilities)
    return Doubted(run, len(frame), table.sort("probability of label"), surest, wrong)


def with_texts(table: pl.DataFrame, notes: Notes) -> pl.DataFrame:
    """Return a table of doubted labels with the text of each note in a last column.

    Parameters
    ----------
    table : polars.DataFrame
        See `Doubted`.
    notes : Notes
        Notes of the study.

    Raises
    ------
    InputError
        Some of the notes are missing.
    """
    rows = {name: row for row, name in enumerate(notes.ids)}
    if absent := sum(name not in rows for name in table["id"]):
        raise InputError(
            Message(
                "{absent:,} of the {n:,} notes whose labels are doubted are not in this table: "
                "give the notes of the study, with its column of ids",
                absent=absent,
                n=len(table),
            )
        )
    chosen = notes.texts.take(np.array([rows[name] for name in table["id"]], dtype=np.int64))
    return table.with_columns(pl.Series("text", list(chosen), dtype=pl.String))


def _useful(results: StudyResults, run: RunResult) -> bool:
    """Return whether a run's configuration is better than the same answer to every note."""
    return any(
        entry["configuration_id"] == run.configuration_id and entry["useful"]
        for entry in (results.evidence or {}).get("configurations", [])
    )


def _lines(
    frame: pl.DataFrame, labels: NDArray[np.int64], probabilities: Floats, names: list[str]
) -> pl.DataFrame:
    found = confident_labels(labels, probabilities)
    rows = np.flatnonzero(found.doubted)
    given, likely = labels[rows], found.likely[rows]
    return pl.DataFrame(
        {
            "id": frame["id"].gather(rows),
            "label": [names[number] for number in given],
            "likely": [names[number] for number in likely],
            "probability of label": probabilities[rows, given],
            "probability of likely": probabilities[rows, likely],
        },
        schema_overrides={"label": pl.String, "likely": pl.String},
    )


def _surest(labels: NDArray[np.int64], probabilities: Floats) -> tuple[int, int]:
    """Return how many answers are the surest, and how many of them differ from the label.

    Of each answer the same share is taken, or else only those of the most frequent class would be.
    """
    answers = probabilities.argmax(axis=1)
    surest = wrong = 0
    for number in range(probabilities.shape[1]):
        given = np.flatnonzero(answers == number)
        kept = given[np.argsort(-probabilities[given, number])][: int(SUREST * len(given))]
        surest += len(kept)
        wrong += int((labels[kept] != number).sum())
    return surest, wrong
