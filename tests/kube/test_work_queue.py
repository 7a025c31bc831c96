"""The work queue: one worker per key, no key twice, nobody starves."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable

import pytest
from faulty_server import until

from scalesets.kube import queue
from scalesets.kube.queue import Again, WorkQueue


class Work:
    """Records what is worked on; each piece of work may wait for ``gate``."""

    def __init__(self, answer: Callable[[str], Again] = lambda _: Again()) -> None:
        self.done: list[str] = []
        self.running: set[str] = set()
        self.together = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self._answer = answer

    async def __call__(self, key: str) -> Again:
        assert key not in self.running, "two workers on one key"
        self.running.add(key)
        self.together = max(self.together, len(self.running))
        try:
            await self.gate.wait()
            self.done.append(key)
            return self._answer(key)
        finally:
            self.running.discard(key)


def a_queue(work: Callable[[str], Awaitable[Again]], workers: int = 4) -> WorkQueue[str]:
    made: WorkQueue[str] = WorkQueue(work, workers=workers)
    made.start()
    return made


async def test_a_key_added_twice_is_worked_on_once() -> None:
    work = Work()
    waiting: WorkQueue[str] = WorkQueue(work)
    waiting.add("a")
    waiting.add("a")
    waiting.add("b")
    waiting.start()
    await until(lambda: len(work.done) == 2)
    await waiting.stop()
    assert sorted(work.done) == ["a", "b"]


async def test_a_key_added_while_worked_on_is_worked_on_once_more() -> None:
    work = Work()
    work.gate.clear()
    running = a_queue(work)
    running.add("a")
    await until(lambda: "a" in work.running)
    for _ in range(5):
        running.add("a")
    work.gate.set()
    await until(lambda: len(work.done) == 2)
    await running.stop()
    assert work.done == ["a", "a"]


async def test_keys_are_worked_on_side_by_side_up_to_the_number_of_workers() -> None:
    work = Work()
    work.gate.clear()
    running = a_queue(work, workers=3)
    for key in "abcdef":
        running.add(key)
    await until(lambda: len(work.running) == 3)
    work.gate.set()
    await until(lambda: len(work.done) == 6)
    await running.stop()
    assert work.together == 3


async def test_a_storm_of_events_waits_until_the_key_has_settled() -> None:
    work = Work(lambda _: Again(settle=0.1))
    running = a_queue(work)
    loop = asyncio.get_running_loop()
    running.add("a")
    await until(lambda: len(work.done) == 1)
    began = loop.time()
    while loop.time() - began < 0.05:
        running.add("a")
        await asyncio.sleep(0.001)
    assert len(work.done) == 1
    await until(lambda: len(work.done) == 2)
    assert loop.time() - began >= 0.08
    await running.stop()


async def test_an_urgent_event_does_not_wait_until_the_key_has_settled() -> None:
    work = Work(lambda _: Again(settle=60))
    running = a_queue(work)
    running.add("a")
    await until(lambda: len(work.done) == 1)
    running.add("a")
    running.add("a", at_once=True)
    await until(lambda: len(work.done) == 2)
    work.gate.clear()
    running.add("a", at_once=True)
    await until(lambda: "a" in work.running)
    running.add("a", at_once=True)  # also while it is being worked on
    running.add("a")
    work.gate.set()
    await until(lambda: len(work.done) == 4)
    await running.stop()


async def test_an_urgent_event_waits_with_a_key_that_fails() -> None:
    work = Work(lambda _: Again(failed=True))
    running = a_queue(work)
    running.add("a")
    await until(lambda: len(work.done) == 1)
    running.add("a", at_once=True)
    await asyncio.sleep(0)  # a task that was made would have begun
    assert len(work.done) == 1
    await running.stop()


async def test_a_key_that_fails_is_tried_at_once_when_it_may_be_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "FIRST_BACK_OFF", 60.0)
    answers = [Again(failed=True), Again(failed=True), Again()]
    work = Work(lambda _: answers[len(work.done) - 1])
    running = a_queue(work)
    running.add("a")
    await until(lambda: len(work.done) == 1)
    work.gate.clear()
    running.add("a", afresh=True)
    await until(lambda: "a" in work.running)
    work.gate.set()
    await until(lambda: len(work.done) == 2)
    running.add("a", afresh=True)
    await until(lambda: len(work.done) == 3)
    await running.stop()


async def test_a_key_is_looked_at_again_when_it_asked_for_it() -> None:
    work = Work(lambda _: Again(after=0.03) if len(work.done) < 3 else Again())
    running = a_queue(work)
    running.add("a")
    await until(lambda: len(work.done) == 3)
    await running.stop()


async def test_an_earlier_time_replaces_a_later_one() -> None:
    work = Work(lambda _: Again())
    running = a_queue(work)
    running.add_after("a", 60)
    running.add_after("a", 0.02)
    running.add_after("a", 30)
    await until(lambda: work.done == ["a"])
    await running.stop()


async def test_a_key_that_fails_backs_off_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "FIRST_BACK_OFF", 0.05)
    times: list[float] = []
    loop = asyncio.get_running_loop()

    async def work(key: str) -> Again:
        if key == "bad":
            times.append(loop.time())
            raise ValueError("a bug")
        others.append(key)
        return Again()

    others: list[str] = []
    running = a_queue(work, workers=1)
    running.add("bad")
    await until(lambda: len(times) == 1)
    for number in range(50):
        running.add(f"good-{number}")
    running.add("bad")  # an event doesn't shorten the back-off
    await until(lambda: len(others) == 50)
    await until(lambda: len(times) == 4)
    await running.stop()
    pauses = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert pauses[0] >= 0.03
    assert pauses[2] > pauses[0]


async def test_work_that_succeeds_begins_a_new_row_of_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queue, "FIRST_BACK_OFF", 0.02)
    answers = [Again(failed=True), Again(failed=True), Again(at_once=True), Again(failed=True), Again()]
    times: list[float] = []

    async def work(_: str) -> Again:
        times.append(asyncio.get_running_loop().time())
        return answers[len(times) - 1]

    running = a_queue(work)
    running.add("a")
    await until(lambda: len(times) == 5)
    await running.stop()
    assert times[4] - times[3] < 0.04


async def test_stop_waits_for_what_is_worked_on_and_takes_nothing_new() -> None:
    work = Work()
    work.gate.clear()
    running = a_queue(work, workers=1)
    running.add("a")
    running.add("b")
    await until(lambda: "a" in work.running)
    stopping = asyncio.create_task(running.stop())
    await asyncio.sleep(0)
    assert not stopping.done()
    work.gate.set()
    await stopping
    assert work.done == ["a"]


async def test_a_forgotten_key_leaves_nothing_behind() -> None:
    running = a_queue(Work(lambda _: Again(forget=True)))
    for number in range(100):
        running.add(f"gone-{number}")
    await until(lambda: not running._states)
    await running.stop()
