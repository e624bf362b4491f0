"""Dynamic batching: requests that come within milliseconds share one pass of the models.

The models run in threads of their own, so that requests are taken while they work; two passes at
once share the cores, so that none is idle while the clients of one pass read their answers and ask
again. What waits is bounded; so is how long. A request whose pass fails is tried once more by
itself: one note that a model cannot take does not spoil the answers of those that came with it.
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
PASSES = 2  # of the models at once
MOST_ALONE = 2  # requests that need all of them: one at work, one waiting


class QueueFullError(Exception):
    """More notes wait than may, or more requests that want the models to themselves."""


class StoppingError(Exception):
    """The server takes no more requests."""


class TimeLimitError(Exception):
    """The answer was not ready in time."""


@dataclass(eq=False)
class _Job(Generic[Key, Result]):
    key: Key
    texts: Sequence[str]
    alone: bool
    answer: "asyncio.Future[Sequence[Result]]"

    @property
    def needs(self) -> int:
        """How many passes' room."""
        return PASSES if self.alone else 1


class Batcher(Generic[Key, Result]):
    """Gathers notes into passes.

    Parameters
    ----------
    work : callable
        From a key and texts to one result a text; runs in threads of its own, `PASSES` at once.
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
        """Begin, in a running event loop."""
        self._came = asyncio.Event()
        self._task = asyncio.create_task(self._loop())

    @property
    def running(self) -> bool:
        """Whether notes are taken and answered."""
        return self._task is not None and not self._task.done() and not self.stopping

    async def stop(self) -> None:
        """Take no more, answer all that was taken, and end."""
        self.stopping = True
        self._came.set()
        if self._task is not None:
            await self._task
        self._threads.shutdown()

    async def submit(self, key: Key, texts: Sequence[str], alone: bool = False) -> Sequence[Result]:
        """Results of texts, in order.

        Parameters
        ----------
        key : hashable
            Texts of one key may share a pass.
        texts : sequence of str
        alone : bool
            Run beside no other pass: it takes long, and may change the models while it runs.

        Raises
        ------
        QueueFullError, StoppingError, TimeLimitError
        """
        if not self.running:
            raise StoppingError
        if self._waiting + len(texts) > self.limits.queue_notes:
            raise QueueFullError
        others_alone = sum(job.alone for job in [*self._at_work, *self._queue])
        if alone and others_alone >= MOST_ALONE:  # everybody else would wait for all of them
            raise QueueFullError
        job = _Job(key, texts, alone, asyncio.get_running_loop().create_future())
        self._queue.append(job)
        self._count(len(texts))
        self._came.set()
        try:
            return await asyncio.wait_for(job.answer, self.limits.seconds)
        except TimeoutError:  # the future is cancelled by now, and its pass leaves it out
            raise TimeLimitError from None
        finally:
            if job in self._queue:
                self._queue.remove(job)
                self._count(-len(texts))

    @property
    def _at_work(self) -> list[_Job[Key, Result]]:
        return [job for jobs in self._passes.values() for job in jobs]

    @property
    def _free(self) -> int:
        """How many passes may begin."""
        return PASSES - sum(jobs[0].needs for jobs in self._passes.values())

    @property
    def _reading(self) -> int:
        """Notes in passes."""
        return sum(len(job.texts) for job in self._at_work)

    def _count(self, notes: int) -> None:
        self._waiting += notes
        self.metrics.queue.set(self._waiting)

    async def _loop(self) -> None:
        while True:
            await self._came.wait()
            self._came.clear()
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
        """Wait for company of the first request, if there is time and room for it."""
        # From now on: clients whose answers have just gone out are about to ask again.
        until = time.monotonic() + self.limits.batch_milliseconds / 1000
        enough = self._reading or self.limits.batch_notes
        while not (first.alone or self.stopping or self._waiting >= enough):
            left = until - time.monotonic()
            if left <= 0:
                return
            self._came.clear()
            try:
                await asyncio.wait_for(self._came.wait(), left)
            except TimeoutError:
                return

    def _take(self) -> list[_Job[Key, Result]]:
        """The oldest request, and those behind it that may share its pass.

        Together they are no more than a pass's equal share of all that is asked at present: of two
        passes, a large one would keep its clients waiting, and a small one wastes a core.
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
                if not job.answer.done():  # else its client was told that it took too long
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
