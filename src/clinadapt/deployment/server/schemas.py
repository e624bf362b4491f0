"""What is asked and what is answered, as the OpenAPI document tells it."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from clinadapt.deployment.server.limits import Limits


class Request(BaseModel):
    """Notes to classify."""

    model_config = ConfigDict(extra="forbid", strict=True)

    notes: list[str]
    tasks: list[str] | None = Field(None, description="Default: all.")
    explain: bool = Field(False, description="Tell what each word adds; slow.")


def request_model(limits: Limits, names: Sequence[str]) -> type[Request]:
    """`Request` with the limits and the tasks of a server."""

    def not_blank(text: str) -> str:
        if not text.strip():
            raise ValueError("a note without text")
        return text

    def known(name: str) -> str:
        if name not in names:
            raise ValueError(f"not a task of this server; expected one of {', '.join(names)}")
        return name

    text = Field(max_length=limits.characters, json_schema_extra={"pattern": r"\S"})
    some = Field(min_length=1, max_length=limits.notes, description="Texts.")
    listed = Field(json_schema_extra={"enum": [*names]})

    fewer: dict[str, Any] = {
        "if": {"properties": {"explain": {"const": True}}, "required": ["explain"]},
        "then": {"properties": {"notes": {"maxItems": limits.explained_notes}}},
    }

    class PredictRequest(Request):
        """Notes to classify."""

        model_config = ConfigDict(json_schema_extra=fewer)

        notes: Annotated[list[Annotated[str, text, AfterValidator(not_blank)]], some]
        tasks: (
            Annotated[
                list[Annotated[str, listed, AfterValidator(known)]],
                Field(min_length=1),
            ]
            | None
        ) = Field(None, description="Default: all.")

    return PredictRequest


class Task(BaseModel):
    """A question that a bundle answers of notes."""

    name: str
    version: str = Field(description="Hash of the bundle: another model has another one.")
    kind: Literal["binary", "multiclass", "multilabel"]
    classes: list[str] = Field(description="In a binary task the positive one is the second.")
    threshold: float | None = Field(
        description="Probability from which a class is said; null where the most probable is."
    )
    explains: bool = Field(description="Whether contributions of words can be had.")
    calibration_error: float | None = Field(
        description="Mean distance of probabilities from what came true on the test notes (ECE); "
        "null where it was not measured."
    )
    synthetic: bool = Field(description="Fitted on synthetic notes: not for patients.")


class Tasks(BaseModel):
    """What this server does."""

    tasks: list[Task]
    notes: int = Field(description="Most notes of one request.")
    explained_notes: int = Field(description="Most notes of one request with `explain`.")
    characters: int = Field(description="Most characters of one note.")


class Word(BaseModel):
    """What a word adds to the logit."""

    start: int = Field(description="First character of the word in the note, from 0.")
    end: int = Field(description="The character after its last.")
    contribution: float | None = Field(description="Null where the model did not read it.")


class Explanation(BaseModel):
    """What the words of a note add to the logit of a class."""

    target: str = Field(description="The class.")
    baseline: float = Field(description="Logit without the words.")
    logit: float
    rest: float = Field(description="What is not in words.")
    gap: float = Field(description="Error of the numerical integral.")
    words: list[Word]


class Answer(BaseModel):
    """What one task says of a note."""

    task: str
    probabilities: dict[str, float] = Field(description="Of every class.")
    predicted: list[str] = Field(description="Classes said, at the threshold.")
    explanation: Explanation | None = Field(
        description="Null if not asked for, or not offered by the task."
    )


class NoteAnswers(BaseModel):
    """What the tasks say of a note."""

    answers: list[Answer]


class PredictResponse(BaseModel):
    """Answers, in the order of the notes, and which models gave them."""

    tasks: list[Task]
    notes: list[NoteAnswers]


class Status(BaseModel):
    """How the server is."""

    status: Literal["alive", "ready"]
