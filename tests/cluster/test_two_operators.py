"""Two operators at once: one leads; should both believe it, their fences let one write pass (docs/design.md)."""

from __future__ import annotations

import asyncio

import pytest
from builders import a_set, an_image
from operators import Operators
from scene import Scene, code, progress


@pytest.mark.requirement("O8")
async def test_the_second_waits_and_takes_over_when_the_first_says_goodbye(
    own_operators: Operators, scene: Scene
) -> None:
    first = own_operators.new().start()
    second = own_operators.new().start(ready=False)
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=10))
    await scene.until_ready()
    scene.boot_seconds(0.4, 0.6)
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch(2)
    assert "leading" not in second.output()
    assert await asyncio.to_thread(first.stop) == 0
    await asyncio.to_thread(second.await_ready, within=8)
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (10, 0, 0, 0))


@pytest.mark.requirement("O8")
async def test_a_leader_that_slept_too_long_does_no_harm(own_operators: Operators, scene: Scene) -> None:
    """The leader is stopped in the middle of a batch, longer than its lease: another goes on. Awake again, it ends."""
    first = own_operators.new().start()
    second = own_operators.new().start(ready=False)
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=10))
    await scene.until_ready()
    scene.boot_seconds(0.4, 0.6)
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch(2)
    first.pause()
    try:
        await asyncio.to_thread(second.await_ready, within=25)
    finally:
        first.resume()
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (10, 0, 0, 0))
    await scene.until(lambda: not first.running, what="the former leader to end itself", within=20)
    await scene.until_on("2.0.0")


@pytest.mark.requirement("O8", "O9c")
async def test_two_that_both_act(own_operators: Operators, scene: Scene) -> None:
    """Without election both do all of the work at the same time; nothing is done twice, and no limit is passed."""
    operators = [own_operators.new("--no-leader-election").start() for _ in range(2)]
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=15, claims=True))
    await scene.until_ready()
    await scene.publish("ubuntu", "2.0.0")
    upgrade = await scene.until_ended()
    assert (code(upgrade), progress(upgrade)) == ("Completed", (15, 0, 0, 0))
    await scene.until_on("2.0.0")
    assert len(scene.upgrades()) == 1
    assert all(operator.running for operator in operators)
