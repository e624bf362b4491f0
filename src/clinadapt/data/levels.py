"""What a study classifies and scores, and what it is called."""

from typing import Literal, NamedTuple

from clinadapt.core.messages import Message

Level = Literal["note", "group"]


class Unit(NamedTuple):
    """The word for one of what is classified, and for several."""

    one: Message
    many: Message


UNITS: dict[Level, Unit] = {
    "note": Unit(Message("note"), Message("notes")),
    "group": Unit(Message("patient"), Message("patients")),
}
NOTES, PATIENTS = UNITS["note"], UNITS["group"]
