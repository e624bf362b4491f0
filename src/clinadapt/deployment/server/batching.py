"""Dynamic batching: requests that arrive within milliseconds of each other share a batch.

Batches run in separate threads, so requests are accepted meanwhile. Two batches run at once and
share the cores, so no core is idle while the clients of one batch read their responses and send the
next request. The queue and the waiting time are bounded. If a batch fails, each of its requests is
retried alone: a note that a model cannot process does not affect the others.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch

from clinadapt.deployment.server.limits import Limits
from clinadapt.deployment.server.prometheus import Metrics

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")
PASSES = 2  # concurrent batches
MOST_ALONE = 2  # exclusive requests: one running, one waiting


class QueueFullError(Exception):
    """Too many notes, or too many exclusive requests, are waiting."""


class StoppingError(Exception):
    """The server no longer accepts requests."""


class TimeLimitError(Exception):
    """The time limit of a request was exceeded."""


@dataclass(eq=False)
class _Job(Generic[Key, Result]):
    key: Key
    texts: Sequence[str]
    alone: bool
    answer: "asyncio.Future[Sequence[Result]]"

    @property
    def needs(self) -> int:
        """Number of batch slots that the request occupies."""
        return PASSES if self.alone else 1


class Batcher(Generic[Key, Result]):
    """Collects requests into batches and runs them.

    Parameters
    ----------
    work : callable
        Returns one result per text, given a key and texts; called in `PASSES` threads.
    limits : Limits
    metrics : Metrics
    """

    def __init__(
        self,
        work: Callable[[Key, Sequence[str]], Sequence[Result]],
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        self.work = work
        self.limits = limits
        self.metrics = metrics
        self.stopping = False
        self._queue: deque[_Job[Key, Result]] = deque()
        self._waiting = 0
        self._threads = ThreadPoolExecutor(PASSES, "models")
        self._cores = torch.get_num_threads()
        self._passes: dict[asyncio.Task[None], list[_Job[Key, Result]]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start, in a running event loop."""
        self._wake_up = asyncio.Event()
        self._task = asyncio.create_task(self._loop())

    @property
    def running(self) -> bool:
        """Whether requests are accepted."""
        return self._task is not None and not self._task.done() and not self.stopping

    async def stop(self) -> None:
        """Accept no more requests, complete those that were accepted, and stop."""
        self.stopping = True
        self._wake_up.set()
        if self._task is not None:
            await self._task
        self._threads.shutdown()

    async def submit(self, key: Key, texts: Sequence[str], alone: bool = False) -> Sequence[Result]:
        """Return the results of texts, in order.

        Parameters
        ----------
        key : hashable
            Only texts with the same key can share a batch.
        texts : sequence of str
        alone : bool
            True to run without any other batch: for work that takes long and may change the
            models while it runs.

        Raises
        ------
        QueueFullError
            If too many notes or exclusive requests are waiting.
        StoppingError
            If the server is stopping.
        TimeLimitError
            If there is no result in time.
        """
        if not self.running:
            raise StoppingError
        if self._waiting + len(texts) > self.limits.queue_notes:
            raise QueueFullError
        others_alone = sum(job.alone for job in [*self._at_work, *self._queue])
        if alone and others_alone >= MOST_ALONE:  # all others would have to wait for them
            raise QueueFullError
        job = _Job(key, texts, alone, asyncio.get_running_loop().create_future())
        self._queue.append(job)
        self._count(len(texts))
        self._wake_up.set()
        try:
            return await asyncio.wait_for(job.answer, self.limits.seconds)
        except TimeoutError:  # the future is cancelled by now, so its batch ignores it
            raise TimeLimitError from None
        finally:
            if job in self._queue:
                self._queue.remove(job)
                self._count(-len(texts))

    @property
    def _at_work(self) -> list[_Job[Key, Result]]:
        """Requests in running batches."""
        return [job for jobs in self._passes.values() for job in jobs]

    @property
    def _free(self) -> int:
        """Number of free batch slots."""
        return PASSES - sum(jobs[0].needs for jobs in self._passes.values())

    @property
    def _reading(self) -> int:
        """Number of notes in running batches."""
        return sum(len(job.texts) for job in self._at_work)

    def _count(self, notes: int) -> None:
        self._waiting += notes
        self.metrics.queue.set(self._waiting)

    async def _loop(self) -> None:
        while True:
            await self._wake_up.wait()
            self._wake_up.clear()
            while self._queue:
                first = self._queue[0]
                if first.needs > self._free:
                    await asyncio.wait(self._passes, return_when=asyncio.FIRST_COMPLETED)
                    continue
                await self._gather(first)
                if jobs := self._take():
                    task = asyncio.create_task(self._run(jobs))
                    self._passes[task] = jobs
                    task.add_done_callback(self._passes.pop)
            if self.stopping:
                await asyncio.gather(*self._passes)
                return

    async def _gather(self, first: _Job[Key, Result]) -> None:
        """Wait for more requests to join the first, within the limits of time and size."""
        # Counted from now, not from its arrival: clients that were just answered send the next
        # request soon.
        until = time.monotonic() + self.limits.batch_milliseconds / 1000
        enough = self._reading or self.limits.batch_notes
        while not (first.alone or self.stopping or self._waiting >= enough):
            left = until - time.monotonic()
            if left <= 0:
                return
            self._wake_up.clear()
            try:
                await asyncio.wait_for(self._wake_up.wait(), left)
            except TimeoutError:
                return

    def _take(self) -> list[_Job[Key, Result]]:
        """Remove from the queue the oldest request and those that can share its batch; return them.

        A batch takes at most an equal share of all current notes. If one batch were larger than
        the other, its clients would wait longer and a core would be idle.
        """
        share = -(-(self._waiting + self._reading) // PASSES)
        most = min(self.limits.batch_notes, share)
        taken: list[_Job[Key, Result]] = []
        notes = 0
        for job in list(self._queue):
            fits = not taken or (
                not job.alone and job.key == taken[0].key and notes + len(job.texts) <= most
            )
            if fits and job.needs <= self._free:
                self._queue.remove(job)
                taken.append(job)
                notes += len(job.texts)
            if job.alone:
                break
        self._count(-notes)
        return taken

    async def _run(self, jobs: list[_Job[Key, Result]]) -> None:
        texts = [text for job in jobs for text in job.texts]
        try:
            results = await self._pass(jobs[0].key, texts)
        except Exception as error:
            if len(jobs) == 1:
                if not jobs[0].answer.done():
                    jobs[0].answer.set_exception(error)
                return
            for job in jobs:
                if not job.answer.done():  # otherwise its time limit was exceeded
                    await self._run([job])
            return
        start = 0
        for job in jobs:
            if not job.answer.done():
                job.answer.set_result(results[start : start + len(job.texts)])
            start += len(job.texts)

    async def _pass(self, key: Key, texts: Sequence[str]) -> Sequence[Result]:
        self.metrics.batches.observe(len(texts))
        threads = max(1, self._cores // len(self._passes))

        def work() -> Sequence[Result]:
            torch.set_num_threads(threads)
            return self.work(key, texts)

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)
