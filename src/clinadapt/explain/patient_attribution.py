"""Contributions of words to a decision about a patient: those of the note that speaks most for it.

That is the note that gives the explained class the highest probability when it is the only one of
the patient. The explanation is of this note; what the others added is not divided among words.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from clinadapt.core.arrays import Floats
from clinadapt.data.patients import SEPARATOR, notes_of
from clinadapt.explain.attribution import Attribution
from clinadapt.explain.occlusion import occlusion
from clinadapt.explain.words import Span
from clinadapt.models.aggregated import Aggregated
from clinadapt.models.contract import Model


def of_strongest_note(
    model: Aggregated, texts: Sequence[str], columns: Sequence[int], *, methods: Mapping[str, Any]
) -> Iterator[Attribution]:
    """Attribute the logit of the strongest note of each document to its words.

    Parameters
    ----------
    model : Aggregated
    texts : sequence of str
        Documents of patients.
    columns : sequence of int
        Column of the explained class, for each document.
    methods : mapping
        Methods by name, of which that of the model of notes is used.
    """
    method = methods[str(model.notes.explained_by)]
    for text, column in zip(texts, columns, strict=True):
        start, end = _strongest(text, column, model.notes.predict_proba)
        (one,) = method(model.notes, [text[start:end]], [column])
        yield replace(one, text=text[start:end])


def by_occlusion(
    model: Model, texts: Sequence[str], columns: Sequence[int]
) -> Iterator[Attribution]:
    """Leave out each word of the strongest note of a document, and keep the other notes.

    The parameters are those of `of_strongest_note`, for any model of patients.
    """
    for text, column in zip(texts, columns, strict=True):
        start, end = _strongest(text, column, model.predict_proba)
        (one,) = occlusion(model, [text], [column], (start, end))
        pieces = [(first - start, last - start, value) for first, last, value in one.pieces]
        yield replace(one, pieces=pieces, text=text[start:end])


def _strongest(text: str, column: int, predict: Callable[[list[str]], Floats]) -> Span:
    notes, _ = notes_of([text])
    at = int(predict(notes)[:, column].argmax())
    start = sum(len(note) + len(SEPARATOR) for note in notes[:at])
    return start, start + len(notes[at])
