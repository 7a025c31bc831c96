"""Killed after any single step, the operator goes on where it was: the end is the same (docs/design.md,
"Crash-safe").
"""

from __future__ import annotations

from datetime import timedelta

import pytest

from engine.refereed import Refereed
from engine.world import World, a_set
from scalesets.engine.view import Code, RollingPolicy, UpgradeMode

POLICY = RollingPolicy(health_timeout=timedelta(seconds=5), provisioning_timeout=timedelta(seconds=20))


def steps_of(world: World) -> int:
    """How many writes and actions the whole story takes."""
    count = [0]
    world.watchers.append(lambda _: count.__setitem__(0, count[0] + 1))
    world.run()
    return count[0]


def crash_everywhere(make: object, check: object) -> None:
    total = steps_of(make())  # type: ignore[operator]
    for crash_at in range(total):
        world = make()  # type: ignore[operator]
        refereed = Refereed(world)
        done = [0]
        world.watchers.append(lambda _, done=done: done.__setitem__(0, done[0] + 1))
        while done[0] < crash_at:
            busy, again = world.turn(crash_after=crash_at - done[0])
            if not busy:
                times = [t for t in [again, *world.pod_times()] if t is not None and t > world.now]
                if not times:
                    break
                world.now = min(times)
        world.restart()
        world.run()
        check(world)  # type: ignore[operator]
        refereed.check_rest()


def test_a_good_upgrade_survives_a_crash_after_any_step() -> None:
    def check(world: World) -> None:
        assert world.versions() == {"1.1.0": 7} and world.all_ready()
        assert world.only_upgrade().status.code is Code.COMPLETED  # type: ignore[union-attr]

    crash_everywhere(lambda: a_set("1.0.0", replicas=7, policy=POLICY).publish("1.1.0"), check)


def test_a_broken_upgrade_is_put_back_after_a_crash_at_any_step() -> None:
    def check(world: World) -> None:
        assert world.versions() == {"1.0.0": 10} and world.all_ready()
        assert world.only_upgrade().status.code is Code.FAULTED  # type: ignore[union-attr]

    crash_everywhere(lambda: a_set("1.0.0", replicas=10, policy=POLICY, bad={"1.1.0"}).publish("1.1.0"), check)


@pytest.mark.parametrize("mode", [UpgradeMode.AUTOMATIC, UpgradeMode.ROLLING])
def test_a_model_change_survives_a_crash_after_any_step(mode: UpgradeMode) -> None:
    def make() -> World:
        world = a_set("1.0.0", replicas=5, policy=POLICY, mode=mode)
        world.change_model("m2")
        return world

    def check(world: World) -> None:
        assert {p.release.model for p in world.pods.values()} == {"m2"} and world.all_ready()

    crash_everywhere(make, check)
