"""Actions side by side: bounded, in turn, never twice, and never longer wanted than the last decision says."""

from __future__ import annotations

import asyncio
from collections import Counter

from scalesets.engine.decision import Action, DeleteInstance
from scalesets.kube.actions import ActionPool


class World:
    """Performs actions when it is let to."""

    def __init__(self, concurrency: int = 4) -> None:
        self.begun: list[tuple[str, int]] = []
        self.freed: list[str] = []
        self.running = 0
        self.most = 0
        self.gate = asyncio.Event()
        self.fail: set[int] = set()
        self.pool: ActionPool[str] = ActionPool(self.perform, self.freed.append, concurrency=concurrency)

    async def perform(self, context: str, action: Action) -> None:
        self.begun.append((context, action.ordinal))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.gate.wait()
            if action.ordinal in self.fail:
                raise ValueError("a bug")
        finally:
            self.running -= 1

    def want(self, name: str, *ordinals: int, observed: int | None = None) -> int:
        actions = [DeleteInstance(o, f"uid-{o}", "Upgrade") for o in ordinals]
        return self.pool.want(name, name, actions, observed=self.pool.observe() if observed is None else observed)


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_no_more_than_the_given_number_run_at_once() -> None:
    world = World(concurrency=3)
    assert world.want("a", *range(10)) == 10
    await settle()
    assert world.running == 3
    world.gate.set()
    await settle()
    assert len(world.begun) == 10
    assert world.most == 3


async def test_sets_take_turns() -> None:
    world = World(concurrency=2)
    world.want("a", *range(100))
    world.want("b", *range(5))
    world.gate.set()
    await settle()
    await settle()
    first = Counter(name for name, _ in world.begun[:12])
    assert first["b"] == 5


async def test_the_last_decision_replaces_what_was_not_sent_yet() -> None:
    world = World(concurrency=1)
    world.want("a", 1, 2, 3)
    await settle()
    world.want("a", 3)
    world.gate.set()
    await settle()
    assert world.begun == [("a", 1), ("a", 3)]


async def test_an_instance_has_one_action_at_a_time_and_is_looked_at_again_after_it() -> None:
    world = World()
    world.want("a", 1)
    await settle()
    assert world.want("a", 1, 2) == 1
    world.gate.set()
    await settle()
    assert world.begun == [("a", 1), ("a", 2)]
    assert world.freed == ["a"]


async def test_what_was_done_while_a_decision_was_stored_is_not_done_again() -> None:
    world = World()
    observed = world.pool.observe()  # a view is taken, decided on, and its writes take a while …
    world.gate.set()
    world.want("a", 1)  # … in which an older decision's action on 1 is done
    await settle()
    assert world.want("a", 1, 2, observed=observed) == 1
    await settle()
    assert world.begun == [("a", 1), ("a", 2)]
    assert world.freed == ["a"]


async def test_an_unexpected_error_is_one_instances_own() -> None:
    world = World()
    world.fail = {1}
    world.gate.set()
    world.want("a", 1, 2)
    await settle()
    assert world.begun == [("a", 1), ("a", 2)]
    assert world.freed == ["a"]
    assert world.pool.busy("a") == 0


async def test_drain_waits_for_what_was_sent_and_drops_the_rest() -> None:
    world = World(concurrency=1)
    world.want("a", 1, 2)
    await settle()
    draining = asyncio.create_task(world.pool.drain())
    await settle()
    assert not draining.done()
    world.gate.set()
    await draining
    assert world.begun == [("a", 1)]
    assert world.want("a", 3) == 0
