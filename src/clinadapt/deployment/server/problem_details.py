"""What is said when there is no answer: never a word of the request."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from clinadapt.core.errors import InputError
from clinadapt.deployment.server.batching import QueueFullError, StoppingError, TimeLimitError

Code = Literal[
    "bad_request",
    "unauthorized",
    "not_found",
    "method_not_allowed",
    "too_slow",
    "too_large",
    "misdirected",
    "invalid",
    "too_many_requests",
    "failed",
    "busy",
    "stopping",
    "time_limit",
]
CODES: Mapping[int, tuple[Code, str]] = {
    400: ("bad_request", "the body could not be read as JSON"),
    401: ("unauthorized", "a valid token is needed: Authorization: Bearer TOKEN"),
    404: ("not_found", "there is nothing here"),
    405: ("method_not_allowed", "this method is not offered here"),
    408: ("too_slow", "the request did not arrive in time"),
    413: ("too_large", "the body is larger than this server takes"),
    421: ("misdirected", "without tokens, this server answers to addresses and localhost only"),
    422: ("invalid", "the request is not as expected"),
    429: ("too_many_requests", "more requests a minute than this token may make"),
    500: ("failed", "the model failed on this request; the server's log says where"),
    503: ("busy", "too many notes are waiting: try again soon"),
    504: ("time_limit", "no answer within the time limit"),
}
STOPPING = "the server is stopping"
WHOLE = "a JSON object with notes, sent as Content-Type: application/json"
# Messages of these kinds of errors are fixed, or name a limit; none repeats what came.
SAID = {
    *("missing", "list_type", "string_type", "bool_type", "too_short", "too_long"),
    *("string_too_short", "string_too_long", "string_unicode", "value_error"),
}


class Place(BaseModel):
    """Something that is wrong with a request."""

    where: str = Field(description="Field and number, such as notes.3.")
    what: str = Field(description="What was expected. Never what came.")


class Problem(BaseModel):
    """Why there is no answer."""

    error: Code
    detail: str
    problems: list[Place] = []


def problem(
    status: int,
    headers: Mapping[str, str] | None = None,
    problems: Sequence[Place] = (),
    code: Code | None = None,
    detail: str | None = None,
) -> JSONResponse:
    """A refusal with a status code, as JSON."""
    usual, words = CODES[status]
    said = Problem(error=code or usual, detail=detail or words, problems=list(problems))
    return JSONResponse(said.model_dump(), status, dict(headers or {}))


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Refusals of a path, for the OpenAPI document."""
    return {status: {"model": Problem, "description": CODES[status][1]} for status in statuses}


def handle(app: FastAPI) -> None:
    """Turn errors of an app into problems."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, problems=[_place(found) for found in error.errors()])

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return problem(error.status_code if error.status_code in CODES else 400, error.headers)

    @app.exception_handler(InputError)
    async def unreadable(request: Request, error: InputError) -> JSONResponse:
        return problem(422, problems=[Place(where="notes", what=text) for text in error.problems])

    @app.exception_handler(QueueFullError)
    async def full(request: Request, error: QueueFullError) -> JSONResponse:
        return problem(503, {"Retry-After": "1"})

    @app.exception_handler(StoppingError)
    async def stopping(request: Request, error: StoppingError) -> JSONResponse:
        return problem(503, {"Retry-After": "10"}, code="stopping", detail=STOPPING)

    @app.exception_handler(TimeLimitError)
    async def late(request: Request, error: TimeLimitError) -> JSONResponse:
        return problem(504)


def _place(found: Mapping[str, Any]) -> Place:
    if found["type"] == "extra_forbidden":  # its name is the client's
        return Place(where="body", what="a field that is not known here")
    if found["loc"] == ("body",) or found["type"] == "json_invalid":
        return Place(where="body", what=WHOLE)
    # The first part is "body". What follows are our own names, and numbers in lists.
    where = ".".join(map(str, found["loc"][1:]))
    what = found["msg"] if found["type"] in SAID else "not what is expected here"
    return Place(where=where, what=what.removeprefix("Value error, "))
