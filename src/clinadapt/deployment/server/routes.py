"""Paths of the server and their handlers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, cast

from fastapi import APIRouter, Body, Depends
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, PlainTextResponse, Response

from clinadapt.core.errors import InputError
from clinadapt.data.patients import joined
from clinadapt.deployment.server import schemas
from clinadapt.deployment.server.batching import Batcher, StoppingError
from clinadapt.deployment.server.limits import Limits
from clinadapt.deployment.server.models import Asked
from clinadapt.deployment.server.problem_details import documented
from clinadapt.deployment.server.prometheus import Metrics

PAGE = Path(__file__).parent / "page"
KINDS = {"page.css": "text/css", "page.js": "text/javascript"}


def make_routes(
    tasks: Sequence[schemas.Task],
    batcher: Batcher[Asked, schemas.NoteAnswers],
    limits: Limits,
    metrics: Metrics,
    needs_token: bool,
) -> APIRouter:
    """Return the router of a server.

    Parameters
    ----------
    tasks : sequence of schemas.Task
    batcher : Batcher
    limits : Limits
    metrics : Metrics
    needs_token : bool
        True if the OpenAPI document should require a token; `Guard` checks it.
    """
    routes = APIRouter()
    by_name = {task.name: task for task in tasks}
    names = tuple(by_name)
    bearer = HTTPBearer(auto_error=False, description="Created by `clinadapt token new`.")
    token = [Depends(bearer)] if needs_token else []
    refusals = (401, 429) if needs_token else (421,)
    common = (408, 413, 500)
    open_to_all = common if needs_token else (*common, 421)
    request = schemas.request_model(limits, names, tasks[0].level)

    @routes.post(
        "/predict",
        summary="Classify notes",
        dependencies=token,
        responses=documented(400, *refusals, *common, 422, 503, 504),
    )
    async def predict(body: Annotated[request, Body()]) -> schemas.PredictResponse:  # type: ignore[valid-type]
        asked = cast(schemas.Request, body)
        if asked.explain and len(asked.notes) > limits.explained_notes:
            raise InputError(
                f"expected at most {limits.explained_notes} notes with explain, got "
                f"{len(asked.notes)}"
            )
        wanted = names if asked.tasks is None else tuple(dict.fromkeys(asked.tasks))
        texts = [one if isinstance(one, str) else joined(one) for one in asked.notes]
        notes = await batcher.submit((wanted, asked.explain), texts, alone=asked.explain)
        for name in wanted:
            metrics.notes.labels(name).inc(len(notes))
        return schemas.PredictResponse(tasks=[by_name[name] for name in wanted], notes=list(notes))

    @routes.get(
        "/tasks",
        summary="List the tasks and limits",
        dependencies=token,
        responses=documented(*refusals, *common),
    )
    async def served() -> schemas.Tasks:
        return schemas.Tasks(
            tasks=list(tasks),
            notes=limits.notes,
            explained_notes=limits.explained_notes,
            characters=limits.characters,
        )

    @routes.get(
        "/metrics",
        summary="Metrics for Prometheus",
        dependencies=token,
        response_class=PlainTextResponse,
        responses=documented(*refusals, *common),
    )
    async def counts() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    @routes.get("/health", summary="Liveness check", responses=documented(*open_to_all))
    async def health() -> schemas.Status:
        return schemas.Status(status="alive")

    @routes.get(
        "/ready",
        summary="Readiness check",
        responses=documented(*open_to_all, 503),
    )
    async def ready() -> schemas.Status:
        if not batcher.running:
            raise StoppingError
        return schemas.Status(status="ready")

    @routes.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "page.html", media_type="text/html")

    @routes.get("/page/{name}", include_in_schema=False)
    async def part_of_page(name: str) -> Response:
        if name not in KINDS:
            raise HTTPException(404)
        return FileResponse(PAGE / name, media_type=KINDS[name])

    return routes
