"""Servers and models for tests of the HTTP server."""

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
    probabilities="raw",
    explains=False,
    calibration_error=None,
    synthetic=True,
)


class Echo:
    """Models with a probability of 1 / (1 + length of the note), which fail on "poison"."""

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


class Blocked(Echo):
    """The same, but each call blocks until `released` is set."""

    def __init__(self):
        self.entered, self.released = threading.Semaphore(0), threading.Event()

    def answer(self, asked, texts):
        self.entered.release()
        assert self.released.wait(30)
        return super().answer(asked, texts)


def client_of(app: FastAPI) -> TestClient:
    """Return a client that addresses the server by IP address."""
    return TestClient(app, base_url="http://127.0.0.1")


@contextmanager
def running(app: FastAPI, **where) -> Iterator[str]:
    """Yield the URL of a server in a thread, whose socket already listens."""
    address = Address(port=0, **where)
    opened = address.open()
    server = make_server(app, address, opened)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
    thread.start()
    try:
        yield address.url(opened)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive()


def assert_problem(response, status, error):
    """Assert that a response is this error in the documented schema; return it."""
    assert response.status_code == status, response.text
    problem = Problem.model_validate_json(response.content)
    assert problem.error == error
    return problem


def call(app: FastAPI, receive, path="/predict", headers=()):
    """Return the messages that an application sends to a client with this `receive`."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST"}
    scope |= {"path": path, "raw_path": path.encode(), "query_string": b"", "root_path": ""}
    scope |= {"scheme": "http", "headers": list(headers), "client": None, "server": None}
    # In a separate thread: the browser of an earlier test keeps an event loop running in this one.
    with ThreadPoolExecutor(1) as threads:
        threads.submit(asyncio.run, app(scope, receive, send)).result()
    return sent
