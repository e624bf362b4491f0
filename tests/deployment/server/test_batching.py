"""Batches of requests: which ones share a batch, limits, failures."""

import asyncio
import threading

import pytest
import torch
from served import TASK

from clinadapt.core.errors import InputError
from clinadapt.deployment.server.batching import (
    Batcher,
    QueueFullError,
    StoppingError,
    TimeLimitError,
)
from clinadapt.deployment.server.limits import Limits, Rate
from clinadapt.deployment.server.prometheus import Metrics


class Gate:
    """A model that blocks each batch until it is released, and records batches in order."""

    def __init__(self):
        self.changed = threading.Condition()
        self.passes, self.free = [], set()
        self.running, self.beside = 0, {}  # batches that ran when a batch began

    def __call__(self, key, texts):
        with self.changed:
            self.passes.append((key, list(texts)))
            self.beside[texts[0]] = self.running
            self.running += 1
            self.changed.notify_all()
            assert self.changed.wait_for(lambda: {texts[0], "all"} & self.free, 30)
            self.running -= 1
        if "poison" in texts:
            raise ValueError("poison")
        return [f"{key}:{text}" for text in texts]

    def let(self, *first_texts):
        """Release the batches that begin with these texts; all from now on if there are none."""
        with self.changed:
            self.free |= set(first_texts or ["all"])
            self.changed.notify_all()

    async def has(self, first_text):
        """Wait until a batch has begun."""

        def wait():
            with self.changed:
                assert self.changed.wait_for(lambda: first_text in self.beside, 30)

        await asyncio.to_thread(wait)


def scene(act, **limits):
    """Run ``act(batcher, gate, submit)`` while two batches of one note each are running."""
    gate = Gate()

    async def play():
        batcher = Batcher(gate, Limits(**limits), Metrics([TASK]))
        batcher.start()

        async def submit(*texts, key="k", alone=False):
            task = asyncio.create_task(batcher.submit(key, texts, alone))
            await asyncio.sleep(0)  # it is in the queue, or refused
            return task

        gate.begun = []
        for text in ("first", "second"):
            gate.begun.append(await submit(text))
            await gate.has(text)
        try:
            await act(batcher, gate, submit)
        finally:
            gate.let()
            await batcher.stop()
        assert await asyncio.gather(*gate.begun) == [["k:first"], ["k:second"]]

    asyncio.run(play())
    return gate


def test_waiting_notes_are_shared_evenly_by_the_next_batches():
    async def act(batcher, gate, submit):
        tasks = [await submit(f"a{n}", f"b{n}") for n in range(5)]
        gate.let("first")
        await gate.has("a0")  # ten wait and one is running: half of eleven
        gate.let("second")
        await gate.has("a3")
        gate.let()
        assert await asyncio.gather(*tasks) == [[f"k:a{n}", f"k:b{n}"] for n in range(5)]

    gate = scene(act)
    assert [len(texts) for _, texts in gate.passes] == [1, 1, 6, 4]


def test_a_batch_is_limited_in_size_and_to_one_key():
    async def act(batcher, gate, submit):
        tasks = [
            await submit("a1", "a2", "a3", "a4"),
            await submit("b", key="other"),
            await submit("a5"),
            await submit("a6", "a7", "a8", "a9"),
        ]
        gate.let("first")
        await gate.has("a1")
        gate.let("second")
        await gate.has("b")
        gate.let("b")
        await gate.has("a5")
        gate.let()
        await asyncio.gather(*tasks)

    gate = scene(act, batch_notes=4)
    assert gate.passes[2:] == [
        ("k", ["a1", "a2", "a3", "a4"]),
        ("other", ["b"]),
        ("k", ["a5"]),
        ("k", ["a6", "a7", "a8", "a9"]),
    ]


def test_an_exclusive_request_runs_alone_and_is_not_overtaken():
    async def act(batcher, gate, submit):
        tasks = [await submit("a"), await submit("slow", alone=True), await submit("b")]
        gate.let("first")
        await gate.has("a")
        gate.let("second")  # one slot is free, but `slow` needs both
        await gate.begun[1]
        await turns()
        gate.let("a")
        await gate.has("slow")
        await turns()
        gate.let()
        await asyncio.gather(*tasks)

    async def turns():
        for _ in range(20):
            await asyncio.sleep(0)

    gate = scene(act, batch_milliseconds=0)
    assert [texts for _, texts in gate.passes[2:]] == [["a"], ["slow"], ["b"]]
    assert (gate.beside["a"], gate.beside["slow"], gate.beside["b"]) == (1, 0, 0)


def test_one_exclusive_request_waits_and_more_are_refused():
    async def act(batcher, gate, submit):
        tasks = [await submit("slow", alone=True), await submit("next", alone=True)]
        with pytest.raises(QueueFullError):
            await (await submit("third", alone=True))
        gate.let("first", "second", "slow")
        await gate.has("next")
        tasks.append(await submit("third", alone=True))  # there is room again
        with pytest.raises(QueueFullError):
            await (await submit("fourth", alone=True))
        gate.let()
        await asyncio.gather(*tasks)

    gate = scene(act)
    assert [texts for _, texts in gate.passes[2:]] == [["slow"], ["next"], ["third"]]


def test_each_batch_gets_its_share_of_the_cores(two_threads):
    threads = []

    class Counting(Gate):
        def __call__(self, key, texts):
            threads.append(torch.get_num_threads())
            return super().__call__(key, texts)

    async def play():
        gate = Counting()
        batcher = Batcher(gate, Limits(), Metrics([TASK]))
        batcher.start()
        tasks = []
        for text in ("first", "second"):
            tasks.append(asyncio.create_task(batcher.submit("k", [text])))
            await gate.has(text)
        gate.let()
        await asyncio.gather(*tasks)
        await batcher.submit("k", ["third"])
        await batcher.stop()

    asyncio.run(play())
    assert threads == [2, 1, 2]


def test_a_full_queue_refuses_until_there_is_room():
    async def act(batcher, gate, submit):
        waiting = await submit("a", "b", "c")
        refused = await submit("d", "e")
        with pytest.raises(QueueFullError):
            await refused
        assert b"clinadapt_queue_notes 3.0" in batcher.metrics.text()
        last = await submit("f")
        gate.let()
        await asyncio.gather(waiting, last)
        assert b"clinadapt_queue_notes 0.0" in batcher.metrics.text()
        assert await (await submit("d", "e")) == ["k:d", "k:e"]

    scene(act, notes=4, queue_notes=4)


def test_a_late_request_fails_and_leaves_the_queue():
    async def act(batcher, gate, submit):
        batcher.limits = Limits(seconds=0.02)
        with pytest.raises(TimeLimitError):
            await batcher.submit("k", ["late"])
        batcher.limits = Limits()
        patient = await submit("patient")
        gate.let()
        assert await patient == ["k:patient"]

    gate = scene(act)
    assert [texts for _, texts in gate.passes[2:]] == [["patient"]]


def test_one_bad_note_does_not_spoil_the_others():
    async def act(batcher, gate, submit):
        tasks = [await submit(text) for text in ("good", "poison", "fine")]
        gate.let()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert results[0] == ["k:good"]
        assert isinstance(results[1], ValueError)
        assert results[2] == ["k:fine"]
        assert batcher.running

    gate = scene(act)
    assert ("k", ["poison"]) in gate.passes[2:]


def test_a_stop_completes_accepted_requests_and_accepts_no_more():
    async def act(batcher, gate, submit):
        taken = [await submit(text) for text in "abc"]
        stop = asyncio.create_task(batcher.stop())
        await asyncio.sleep(0)
        with pytest.raises(StoppingError):
            await batcher.submit("k", ["d"])
        gate.let()
        assert await asyncio.gather(*taken) == [["k:a"], ["k:b"], ["k:c"]]
        await stop
        assert not batcher.running

    scene(act)


def test_all_wrong_limits_are_reported():
    with pytest.raises(InputError) as refused:
        Limits(notes=0, seconds=-1, queue_notes=0)
    assert len(refused.value.problems) == 3
    with pytest.raises(InputError, match="would never fit"):
        Limits(notes=10, queue_notes=9)


def test_requests_a_minute_by_hand():
    """Sixty at once, then one per second, for each client."""
    now = 0.0
    rate = Rate(60, lambda: now)
    assert [rate.take("a") for _ in range(60)] == [0.0] * 60
    assert rate.take("a") == pytest.approx(1.0)
    assert rate.take("b") == 0.0
    now = 0.25
    assert rate.take("a") == pytest.approx(0.75)
    now = 2.0
    assert [rate.take("a") for _ in range(2)] == [0.0, 0.0]
    assert rate.take("a") == pytest.approx(1.0)
    assert [Rate(0).take("a") for _ in range(1000)] == [0.0] * 1000
