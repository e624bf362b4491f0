"""Servers and models for tests of what is served."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from fastapi import FastAPI
from starlette.testclient import TestClient

from clinadapt.deployment.server import schemas
from clinadapt.deployment.server.problem_details import Problem
from clinadapt.deployment.server.uvicorn_server import Address, make_server

TASK = schemas.Task(
    name="fake",
    version="0" * 64,
    kind="binary",
    classes=["no", "yes"],
    threshold=0.5,
    explains=False,
    calibration_error=None,
    synthetic=True,
)


class Echo:
    """Models that say 1 / (1 + length) of a note, and fail on "poison"."""

    tasks = [TASK]  # noqa: RUF012

    def answer(self, asked, texts):
        if any("poison" in text for text in texts):
            raise RuntimeError(f"zqxsecret: {texts[0]}")
        return [
            schemas.NoteAnswers(
                answers=[
                    schemas.Answer(
                        task="fake",
                        probabilities={"no": 1 - 1 / (1 + len(text)), "yes": 1 / (1 + len(text))},
                        predicted=["no"],
                        explanation=None,
                    )
                ]
            )
            for text in texts
        ]


class Held(Echo):
    """The same, once they are let go."""

    def __init__(self):
        self.entered, self.let_go = threading.Semaphore(0), threading.Event()

    def answer(self, asked, texts):
        self.entered.release()
        assert self.let_go.wait(30)
        return super().answer(asked, texts)


def client_of(app: FastAPI) -> TestClient:
    """A client that calls the server by its address."""
    return TestClient(app, base_url="http://127.0.0.1")


@contextmanager
def running(app: FastAPI, **where) -> Iterator[str]:
    """Address of a server in a thread. Its socket listens at once: nobody need wait for it."""
    address = Address(port=0, **where)
    opened = address.open()
    server = make_server(app, address)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
    thread.start()
    try:
        yield address.url(opened)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def said(response, status, error):
    """The problem of a refusal, which must have the documented shape."""
    assert response.status_code == status, response.text
    problem = Problem.model_validate_json(response.content)
    assert problem.error == error
    return problem


def call(app: FastAPI, receive, path="/predict", headers=()):
    """What an application sends to a client that is played by hand."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST"}
    scope |= {"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""}
    scope |= {"scheme": "http", "headers": list(headers), "client": None, "server": None}
    # In a thread of its own: a browser that an earlier test opened keeps an event loop in this one.
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, app(scope, receive, send)).result()
    return sent
