"""Requests and responses, as documented by the OpenAPI document."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from clinadapt.data.levels import Level
from clinadapt.deployment.server.limits import Limits


class Request(BaseModel):
    """Notes to classify."""

    model_config = ConfigDict(extra="forbid", strict=True)

    notes: Sequence[str | list[str]]
    tasks: list[str] | None = Field(None, description="Task names. Default: all.")
    explain: bool = Field(False, description="Return the contribution of each word; slow.")


def request_model(limits: Limits, names: Sequence[str], level: Level = "note") -> type[Request]:
    """Return a `Request` model with the limits and the tasks of a server.

    Where the tasks are about patients (`level` is "group"), an item of ``notes`` may be a list: the
    notes of one patient.
    """

    def not_blank(text: str) -> str:
        if not text.strip():
            raise ValueError("the note is empty")
        return text

    def known(name: str) -> str:
        if name not in names:
            raise ValueError(f"not a task of this server; expected one of: {', '.join(names)}")
        return name

    text = Field(max_length=limits.characters, json_schema_extra={"pattern": r"\S"})
    some = Field(min_length=1, max_length=limits.notes, description="Texts of the notes.")
    note = Annotated[str, text, AfterValidator(not_blank)]
    item: Any = note
    if level == "group":
        some.description = "Patients: the notes of each, in a list; a text alone is one note."
        item = note | Annotated[list[note], Field(min_length=1, max_length=limits.notes)]
    listed = Field(json_schema_extra={"enum": [*names]})

    fewer: dict[str, Any] = {
        "if": {"properties": {"explain": {"const": True}}, "required": ["explain"]},
        "then": {"properties": {"notes": {"maxItems": limits.explained_notes}}},
    }

    class PredictRequest(Request):
        """Notes to classify."""

        model_config = ConfigDict(json_schema_extra=fewer)

        notes: Annotated[list[item], some]
        tasks: (
            Annotated[
                list[Annotated[str, listed, AfterValidator(known)]],
                Field(min_length=1),
            ]
            | None
        ) = Field(None, description="Task names. Default: all.")

    return PredictRequest


class Task(BaseModel):
    """A task and the bundle that serves it."""

    name: str
    version: str = Field(description="Hash of the bundle; changes with the model.")
    kind: Literal["binary", "multiclass", "multilabel"]
    level: Level = Field(
        "note", description="What is classified: a note, or a patient (group) by all their notes."
    )
    classes: list[str] = Field(
        description="Class names; in a binary task the positive class is the second."
    )
    threshold: float | None = Field(
        description="Probability from which a class is predicted; null if the most probable one is."
    )
    probabilities: Literal["raw", "calibrated"] = Field(
        description="The model's own probabilities, or calibrated ones."
    )
    explains: bool = Field(description="True if `explain` is supported.")
    calibration_error: float | None = Field(
        description="Expected calibration error (ECE) on the test notes; null if not measured."
    )
    risk: float | None = Field(
        None,
        description="Largest share of wrong answers among those that are given; null if every "
        "note is answered.",
    )
    coverage: float | None = Field(
        None,
        description="Probability that the right class is in the prediction set; null like `risk`.",
    )
    synthetic: bool = Field(description="True if trained on synthetic notes: not for patients.")


class Tasks(BaseModel):
    """The tasks and limits of this server."""

    tasks: list[Task]
    notes: int = Field(description="Maximum number of notes per request.")
    explained_notes: int = Field(description="Maximum number of notes per request with `explain`.")
    characters: int = Field(description="Maximum number of characters per note.")


class Word(BaseModel):
    """Contribution of a word to the logit."""

    start: int = Field(description="Index of the first character of the word in the note, from 0.")
    end: int = Field(description="Index after its last character.")
    contribution: float | None = Field(description="Null if the model did not read the word.")


class Explanation(BaseModel):
    """Contributions of the words of a note to the logit of a class."""

    target: str = Field(description="Name of the explained class.")
    baseline: float = Field(description="Logit without any words.")
    logit: float
    rest: float = Field(description="Contribution of everything that is not a word.")
    gap: float = Field(description="Error of the numerical integration.")
    words: list[Word]


class Answer(BaseModel):
    """Prediction of one task for a note."""

    task: str
    probabilities: dict[str, float] = Field(description="Probability of each class.")
    predicted: list[str] = Field(description="Predicted classes.")
    undecided: list[str] | None = Field(
        None,
        description="Classes left to a person: all, or in a multi-label task some; empty if the "
        "answer is given. Null if every note is answered.",
    )
    prediction_set: list[str] | None = Field(
        None, description="Classes that may be right. Null like `undecided`."
    )
    explanation: Explanation | None = Field(
        description="Null if not requested, or not supported by the task."
    )


class NoteAnswers(BaseModel):
    """Predictions of all requested tasks for a note."""

    answers: list[Answer]


class PredictResponse(BaseModel):
    """Predictions in the order of the notes, and the tasks that made them."""

    tasks: list[Task]
    notes: list[NoteAnswers]


class Status(BaseModel):
    """State of the server."""

    status: Literal["alive", "ready"]
