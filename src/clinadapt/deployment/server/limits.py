"""How much of everything the server takes; beyond that it says so."""

import time
from collections.abc import Callable
from dataclasses import dataclass, fields

from clinadapt.core.errors import InputError


@dataclass(frozen=True)
class Limits:
    """What a request may ask for, and what may wait.

    Attributes
    ----------
    body_bytes : int
        Of one request.
    notes : int
        In one request.
    explained_notes : int
        In one request that wants the contributions of words, which take a hundred times as long.
    characters : int
        Of one note.
    per_minute : int
        Requests with one token; 0 for no limit.
    batch_notes : int
        In one pass of the models.
    batch_milliseconds : int
        That a request may wait for others to share its pass.
    queue_notes : int
        That may wait. Beyond, the answer is 503.
    seconds : float
        From a request to its answer. Beyond, the answer is 504.
    read_seconds : float
        For a client to send a request. Beyond, the answer is 408.
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

    def __post_init__(self) -> None:
        found = []
        for field in fields(self):
            value = getattr(self, field.name)
            zero_is_a_choice = field.name in ("per_minute", "batch_milliseconds")
            if value < 0 or (value == 0 and not zero_is_a_choice):
                found.append(f"{field.name}: expected more than 0, got {value}")
        if self.queue_notes < self.notes:
            found.append(
                f"queue_notes={self.queue_notes} is less than notes={self.notes}: a full request "
                "would never find room"
            )
        if found:
            raise InputError(found)


class Rate:
    """A token bucket for each client: bursts up to a minute's worth, then a steady pace.

    Parameters
    ----------
    per_minute : int
        0 for no limit.
    clock : callable
        Seconds.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.per_minute = per_minute
        self.clock = clock
        self._left: dict[str, tuple[float, float]] = {}  # requests left, and when that was so

    def take(self, client: str) -> float:
        """Count a request; 0 if it may go on, else the seconds until one may."""
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
