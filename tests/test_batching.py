"""Requests gathered into passes: who shares one, what is bounded, what a failure costs."""

import asyncio
import threading

import pytest
from served import TASK

from clinadapt.errors import InputError
from clinadapt.serving.batching import Batcher, QueueFullError, StoppingError, TimeLimitError
from clinadapt.serving.limits import Limits, Rate
from clinadapt.serving.metrics import Metrics


class Gate:
    """A model that works when it is let, and remembers its passes."""

    def __init__(self):
        self.entered, self.let_go = threading.Event(), threading.Event()
        self.passes = []

    def __call__(self, key, texts):
        self.passes.append((key, list(texts)))
        self.entered.set()
        assert self.let_go.wait(30)
        if "poison" in texts:
            raise ValueError("poison")
        return [f"{key}:{text}" for text in texts]


def scene(act, **limits):
    """Run ``act(batcher, gate, submit)``; what it submits first is in its pass when it begins."""
    gate = Gate()

    async def play():
        batcher = Batcher(gate, Limits(**limits), Metrics([TASK]))
        batcher.start()

        async def submit(*texts, key="k", alone=False):
            task = asyncio.create_task(batcher.submit(key, texts, alone))
            await asyncio.sleep(0)  # it is in the queue, or refused
            return task

        first = await submit("first")
        await asyncio.to_thread(gate.entered.wait)
        try:
            await act(batcher, gate, submit)
        finally:
            gate.let_go.set()
            await batcher.stop()
        assert await first == ["k:first"]

    asyncio.run(play())
    return gate


def test_what_waits_shares_the_next_pass():
    async def act(batcher, gate, submit):
        tasks = [await submit(f"a{n}", f"b{n}") for n in range(5)]
        gate.let_go.set()
        assert await asyncio.gather(*tasks) == [[f"k:a{n}", f"k:b{n}"] for n in range(5)]

    gate = scene(act)
    assert [len(texts) for _, texts in gate.passes] == [1, 10]


def test_a_pass_holds_no_more_notes_than_it_may_and_one_kind_of_question():
    async def act(batcher, gate, submit):
        tasks = [
            await submit("a1", "a2"),
            await submit("b", key="other"),
            await submit("slow", alone=True),
            await submit("a3", "a4"),
            await submit("a5"),
        ]
        gate.let_go.set()
        await asyncio.gather(*tasks)

    gate = scene(act, batch_notes=4)
    assert gate.passes == [
        ("k", ["first"]),
        ("k", ["a1", "a2", "a3", "a4"]),
        ("other", ["b"]),
        ("k", ["slow"]),
        ("k", ["a5"]),
    ]


def test_a_full_queue_refuses_until_there_is_room():
    async def act(batcher, gate, submit):
        waiting = await submit("a", "b", "c")
        refused = await submit("d", "e")
        with pytest.raises(QueueFullError):
            await refused
        assert b"clinadapt_queue_notes 3.0" in batcher.metrics.text()
        last = await submit("f")
        gate.let_go.set()
        await asyncio.gather(waiting, last)
        assert b"clinadapt_queue_notes 0.0" in batcher.metrics.text()
        assert await (await submit("d", "e")) == ["k:d", "k:e"]

    scene(act, notes=4, queue_notes=4)


def test_what_comes_too_late_is_told_so_and_leaves_room_for_others():
    async def play():
        gate = Gate()
        batcher = Batcher(gate, Limits(), Metrics([TASK]))
        batcher.start()
        first = asyncio.create_task(batcher.submit("k", ["first"]))
        await asyncio.to_thread(gate.entered.wait)
        batcher.limits = Limits(seconds=0.02)
        with pytest.raises(TimeLimitError):
            await batcher.submit("k", ["late"])
        batcher.limits = Limits()
        patient = asyncio.create_task(batcher.submit("k", ["patient"]))
        gate.let_go.set()
        assert await patient == ["k:patient"]
        assert await first == ["k:first"]
        await batcher.stop()
        assert gate.passes == [("k", ["first"]), ("k", ["patient"])]

    asyncio.run(play())


def test_one_bad_note_does_not_spoil_the_others():
    async def act(batcher, gate, submit):
        tasks = [await submit(text) for text in ("good", "poison", "fine")]
        gate.let_go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert found[0] == ["k:good"]
        assert isinstance(found[1], ValueError)
        assert found[2] == ["k:fine"]
        assert batcher.running

    scene(act)


def test_a_stop_answers_what_was_taken_and_takes_no_more():
    async def act(batcher, gate, submit):
        taken = [await submit(text) for text in "abc"]
        stop = asyncio.create_task(batcher.stop())
        await asyncio.sleep(0)
        with pytest.raises(StoppingError):
            await batcher.submit("k", ["d"])
        gate.let_go.set()
        assert await asyncio.gather(*taken) == [["k:a"], ["k:b"], ["k:c"]]
        await stop
        assert not batcher.running

    scene(act)


def test_limits_are_told_all_at_once():
    with pytest.raises(InputError) as told:
        Limits(notes=0, seconds=-1, queue_notes=0)
    assert len(told.value.problems) == 3
    with pytest.raises(InputError, match="would never find room"):
        Limits(notes=10, queue_notes=9)


def test_requests_a_minute_by_hand():
    """Sixty at once, then one a second, by client."""
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
