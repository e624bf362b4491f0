"""Limits of the server, and the rate limit of each client."""

import time
from collections.abc import Callable
from dataclasses import dataclass, fields

from clinadapt.core.errors import InputError

CONNECTIONS = 512


@dataclass(frozen=True)
class Limits:
    """Limits of requests, batches and the queue.

    Attributes
    ----------
    body_bytes : int
        Size of a request body.
    notes : int
        Notes per request.
    explained_notes : int
        Notes per request with explanations, which take about a hundred times as long.
    characters : int
        Characters per note.
    per_minute : int
        Requests per minute and token; 0 for no limit.
    batch_notes : int
        Notes per batch.
    batch_milliseconds : int
        Time that a request waits for others to join its batch.
    queue_notes : int
        Waiting notes; if exceeded, the status is 503.
    seconds : float
        Time from request to response; if exceeded, the status is 504.
    read_seconds : float
        Time for a client to send its request; if exceeded, the status is 408.
    connections : int
        Open connections; a further one takes the place of that which has been idle longest.
    """

    body_bytes: int = 2_000_000
    notes: int = 64
    explained_notes: int = 4
    characters: int = 50_000
    per_minute: int = 600
    batch_notes: int = 32
    batch_milliseconds: int = 5
    queue_notes: int = 512
    seconds: float = 30
    read_seconds: float = 10
    connections: int = CONNECTIONS

    def __post_init__(self) -> None:
        problems = []
        for field in fields(self):
            value = getattr(self, field.name)
            zero_is_allowed = field.name in ("per_minute", "batch_milliseconds")
            if value < 0 or (value == 0 and not zero_is_allowed):
                problems.append(f"{field.name}: expected more than 0, got {value}")
        if self.queue_notes < self.notes:
            problems.append(
                f"queue_notes={self.queue_notes} is less than notes={self.notes}: a full request "
                "would never fit"
            )
        if problems:
            raise InputError(problems)


class Rate:
    """A token bucket for each client: bursts up to a minute's worth, then a steady pace.

    Parameters
    ----------
    per_minute : int
        Requests per minute; 0 for no limit.
    clock : callable
        Returns the time in seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self.clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # requests left, at this time

    def take(self, client: str) -> float:
        """Count a request; return 0 if it is allowed, else the seconds until the next one is."""
        if not self.per_minute:
            return 0.0
        now = self.clock()
        left, then = self._left.get(client, (float(self.per_minute), now))
        left = min(self.per_minute, left + (now - then) * self.per_minute / 60)
        if left < 1:
            self._left[client] = (left, now)
            return (1 - left) * 60 / self.per_minute
        self._left[client] = (left - 1, now)
        return 0.0
