"""Assembles the server application."""

import importlib.metadata
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from fastapi import FastAPI

from clinadapt.deployment.server.api_tokens import ApiTokens
from clinadapt.deployment.server.batching import Batcher
from clinadapt.deployment.server.limits import Limits
from clinadapt.deployment.server.middleware import Guard
from clinadapt.deployment.server.models import Asked
from clinadapt.deployment.server.problem_details import handle
from clinadapt.deployment.server.prometheus import Metrics
from clinadapt.deployment.server.routes import make_routes
from clinadapt.deployment.server.schemas import NoteAnswers, Task

ABOUT = (
    "Classifiers for clinical notes, running on this machine. Requests are not stored, logged or "
    "passed on. For research only: not a medical device."
)


class Answering(Protocol):
    """Interface of the models of a server, such as `Models`."""

    tasks: list[Task]

    def answer(self, asked: Asked, texts: Sequence[str]) -> list[NoteAnswers]:
        """Return the predictions for notes, in order."""
        ...


def make_app(
    models: Answering, limits: Limits | None = None, tokens: ApiTokens | None = None
) -> FastAPI:
    """Return an ASGI application that serves models.

    Parameters
    ----------
    models : Answering
        Models, such as `Models`.
    limits : Limits, optional
    tokens : Tokens, optional
        If omitted, everyone who can reach the server may use it.
    """
    limits = limits or Limits()
    metrics = Metrics(models.tasks)
    batcher = Batcher(models.answer, limits, metrics)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        batcher.start()
        yield
        await batcher.stop()

    app = FastAPI(
        title="clinadapt",
        description=ABOUT,
        version=importlib.metadata.version("clinadapt"),
        lifespan=lifespan,
        docs_url=None,  # these pages load scripts from other servers
        redoc_url=None,
    )
    app.state.metrics = metrics
    app.include_router(
        make_routes(models.tasks, batcher, limits, metrics, needs_token=tokens is not None)
    )
    handle(app)
    app.add_middleware(Guard, limits=limits, tokens=tokens, metrics=metrics)
    return app
