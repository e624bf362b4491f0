"""What a study classifies and scores, and what it is called."""

from typing import Literal, NamedTuple

Level = Literal["note", "group"]


class Unit(NamedTuple):
    """The word for one of what is classified, and for several."""

    one: str
    many: str


UNITS: dict[Level, Unit] = {"note": Unit("note", "notes"), "group": Unit("patient", "patients")}
NOTES, PATIENTS = UNITS["note"], UNITS["group"]
