"""Middleware: tokens, limits, security headers, metrics, and errors without note text.

It wraps the framework, so a request without a token is refused before its body is read and no error
of the framework can log a note.
"""

import asyncio
import ipaddress
import logging
import math
import time
import traceback
from collections.abc import Mapping, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from clinadapt.deployment.server.api_tokens import ApiTokens, expired
from clinadapt.deployment.server.limits import Limits, Rate
from clinadapt.deployment.server.problem_details import problem
from clinadapt.deployment.server.prometheus import NO_ANSWER, Metrics

LOG = logging.getLogger("clinadapt.deployment.server")
# Paths that need no token: they reveal nothing about notes and are cheap.
OPEN = ("/", "/health", "/ready", "/openapi.json", "/page/page.css", "/page/page.js")
KNOWN = (*OPEN, "/predict", "/tasks", "/metrics")
SAFE = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
SAFE_HEADERS = [(name.lower().encode(), value.encode()) for name, value in SAFE.items()]


class Guard:
    """ASGI middleware that checks, limits and counts requests.

    Parameters
    ----------
    app : ASGI application
    limits : Limits
    tokens : Tokens, optional
        If omitted, everyone who can reach the server may use it.
    metrics : Metrics
    """

    def __init__(
        self, app: ASGIApp, limits: Limits, tokens: ApiTokens | None, metrics: Metrics
    ) -> None:
        self.app = app
        self.limits = limits
        self.tokens = tokens
        self.metrics = metrics
        self.rate = Rate(limits.per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Forward a request to the application, or refuse it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in KNOWN else "other"
        started = time.perf_counter()
        status: int | None = None

        async def send_safely(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *SAFE_HEADERS]}
            await send(message)

        try:
            refusal = self._refusal(scope)
            body = b""
            if refusal is None:
                try:
                    async with asyncio.timeout(self.limits.read_seconds):
                        complete = await self._body(receive)
                except TimeoutError:
                    refusal = problem(408, {"Connection": "close"})
                else:
                    if complete is None:
                        return  # the client disconnected
                    body = complete
                    if len(body) > self.limits.body_bytes:
                        refusal = problem(413, {"Connection": "close"})
            answer = self.app if refusal is None else refusal
            await answer(scope, _replayed(body, receive), send_safely)
        except Exception as error:
            # The message may contain a note, so only the type and location are logged.
            LOG.error("%s: %s at %s", path, type(error).__name__, _place(error))
            if status is None:
                await problem(500)(scope, receive, send_safely)
        finally:
            seconds = time.perf_counter() - started
            self.metrics.seconds.labels(path).observe(seconds)
            code = str(status or NO_ANSWER)
            self.metrics.requests.labels(path, code).inc()
            LOG.info("%s %s %.0f ms", path, code, 1000 * seconds)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        """Return a refusal if the headers of a request are enough to refuse it, else None."""
        headers = dict(scope["headers"])
        if self.tokens is None:
            # DNS rebinding: a foreign page whose host name resolves to this machine could read
            # responses.
            if _is_name(headers.get(b"host", b"").decode("latin-1")):
                return problem(421)
        elif scope["path"] not in OPEN:
            client = self._client(self.tokens, headers)
            if client is None:
                return problem(401, {"WWW-Authenticate": "Bearer"})
            if wait := self.rate.take(client):
                return problem(429, {"Retry-After": str(math.ceil(wait))})
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length) > self.limits.body_bytes:
            return problem(413, {"Connection": "close"})
        return None

    def _client(self, tokens: ApiTokens, headers: Mapping[bytes, bytes]) -> str | None:
        """Return the name of the token; None if it is missing, unknown or expired."""
        scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme.lower() != "bearer":
            return None
        entry = tokens.find(token.strip())
        return None if entry is None or expired(entry) else entry.name

    async def _body(self, receive: Receive) -> bytes | None:
        """Return the body, only its start if it is too large; None if the client disconnected."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body") or len(body) > self.limits.body_bytes:
                return bytes(body)


def _is_name(host: str) -> bool:
    """Return whether a Host header is a name that DNS resolves: not an IP address or localhost."""
    try:
        name = urlsplit(f"//{host}").hostname or "localhost"
        if name != "localhost":
            ipaddress.ip_address(name)
    except ValueError:
        return True
    return False


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Return a `receive` that first returns a body that has already been read."""
    given = False

    async def again() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _place(error: Exception) -> str:
    """Return file and line of an error."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown location"
