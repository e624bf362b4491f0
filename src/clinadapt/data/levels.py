"""What a study classifies and scores, what it is called, and how notes stand for patients."""

from typing import Literal, NamedTuple, get_args

from clinadapt.core.messages import Message

Level = Literal["note", "group"]
GroupLabel = Literal["any"]  # see `clinadapt.data.patients.patient_labels`
Aggregation = Literal["mean", "maximum", "noisy-or"]  # see `clinadapt.evaluation.patient_level`
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)


class Unit(NamedTuple):
    """The word for one of what is classified, and for several."""

    one: Message
    many: Message


UNITS: dict[Level, Unit] = {
    "note": Unit(Message("note"), Message("notes")),
    "group": Unit(Message("patient"), Message("patients")),
}
NOTES, PATIENTS = UNITS["note"], UNITS["group"]
