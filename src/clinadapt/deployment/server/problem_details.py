"""Error responses, which never repeat content of the request."""

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
    400: ("bad_request", "the body is not valid JSON"),
    401: ("unauthorized", "a valid token is required: Authorization: Bearer TOKEN"),
    404: ("not_found", "no such path"),
    405: ("method_not_allowed", "this path does not support the method"),
    408: ("too_slow", "the request did not arrive in time"),
    413: ("too_large", "the body exceeds the size limit of this server"),
    421: (
        "misdirected",
        "without tokens, only an IP address or localhost is accepted as host",
    ),
    422: ("invalid", "the request is not valid"),
    429: ("too_many_requests", "the rate limit of this token is exceeded"),
    500: ("failed", "the model failed on this request; see the server log"),
    503: ("busy", "too many notes are waiting: retry soon"),
    504: ("time_limit", "the time limit was exceeded"),
}
STOPPING = "the server is stopping"
EXPECTED_BODY = "expected a JSON object with notes, sent as Content-Type: application/json"
# Messages of these types are fixed or name a limit; none repeats input.
SAFE_TYPES = {
    *("missing", "list_type", "string_type", "bool_type", "too_short", "too_long"),
    *("string_too_short", "string_too_long", "string_unicode", "value_error"),
}


class Place(BaseModel):
    """An error in a request."""

    where: str = Field(description="Field and index, such as notes.3.")
    what: str = Field(description="What was expected; never repeats input.")


class Problem(BaseModel):
    """Reason why a request failed."""

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
    """Return an error response as JSON; code and detail default to those of the status."""
    usual_code, usual_detail = CODES[status]
    content = Problem(
        error=code or usual_code, detail=detail or usual_detail, problems=list(problems)
    )
    return JSONResponse(content.model_dump(), status, dict(headers or {}))


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error responses of a path for the OpenAPI document."""
    return {status: {"model": Problem, "description": CODES[status][1]} for status in statuses}


def handle(app: FastAPI) -> None:
    """Convert the exceptions of an app to error responses."""

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        return problem(422, problems=[_place(detail) for detail in error.errors()])

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


def _place(detail: Mapping[str, Any]) -> Place:
    """Return a validation error without input."""
    if detail["type"] == "extra_forbidden":  # the name of the field is input
        return Place(where="body", what="unknown field")
    if detail["loc"] == ("body",) or detail["type"] == "json_invalid":
        return Place(where="body", what=EXPECTED_BODY)
    # Starts with "body", followed by field names of the schema and list indices: no input.
    where = ".".join(map(str, detail["loc"][1:]))
    what = detail["msg"] if detail["type"] in SAFE_TYPES else "the value is not valid"
    return Place(where=where, what=what.removeprefix("Value error, "))
