"""Extension upgrades of sets of any size, in any region, as the set's policy says and whatever order their extensions
were provisioned in (E5d, E7, E13, E14).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from engine.test_extension_upgrade import BACKUP, MONITOR, a_set, batch, installed, status_of
from engine.world import MINUTE, QUICK
from scalesets.engine.catalogue import PublishedVersion
from scalesets.engine.view import Code, TargetOutcome


@pytest.mark.requirement("E14", "E2")
@pytest.mark.parametrize(("replicas", "largest"), [(1, 1), (2, 1), (9, 1), (10, 2), (99, 19), (1000, 200)])
def test_sets_of_any_size(replicas: int, largest: int) -> None:
    world = a_set(MONITOR, replicas=replicas, update_domains=1)
    world.publish_extension("acme/monitor", "1.1.0").run(timedelta(hours=6))
    assert set(installed(world).values()) == {"1.1.0"}
    assert len(installed(world)) == replicas
    assert max(len(b.members) for b in status_of(world).batches) == largest


@pytest.mark.requirement("E14")
def test_a_version_goes_to_every_region_that_it_is_published_to() -> None:
    for location, expected in (("here", "1.0.0"), ("there", "1.1.0")):
        world = a_set(MONITOR, location=location, locations=("here", "there"))
        published = PublishedVersion("1.1.0", "registry.example/monitor:1.1.0", target_regions=("there",))
        world.extensions["acme/monitor"].published.append(published)
        world.run()
        assert set(installed(world).values()) == {expected}, location


@pytest.mark.requirement("E5d")
def test_batches_are_as_small_as_the_policy_says() -> None:
    world = a_set(MONITOR, replicas=40, update_domains=1, policy=replace(QUICK, max_batch_percent=5))
    world.publish_extension("acme/monitor", "1.1.0").run()
    assert [len(b.members) for b in status_of(world).batches] == [2] * 20


@pytest.mark.requirement("E5d", "E2")
def test_a_policy_of_larger_batches_does_not_go_beyond_a_fifth() -> None:
    world = a_set(MONITOR, replicas=10, update_domains=1, policy=replace(QUICK, max_batch_percent=100))
    world.publish_extension("acme/monitor", "1.1.0").run()
    assert [len(b.members) for b in status_of(world).batches] == [2] * 5


@pytest.mark.requirement("E5d")
def test_zones_are_crossed_only_where_the_policy_says_so() -> None:
    for crosses, zones in ((False, {"1", "2"}), (True, {""})):
        policy = replace(QUICK, cross_zone=crosses)
        world = a_set(MONITOR, replicas=20, zones=("1", "2"), update_domains=2, policy=policy)
        world.publish_extension("acme/monitor", "1.1.0").run()
        batches = status_of(world).batches
        assert {b.zone for b in batches} == zones
        mixed = any(len({o % 2 for o in b.members}) == 2 for b in batches)
        assert mixed == crosses


@pytest.mark.requirement("E7", "E6")
@pytest.mark.parametrize("broken", ["backup", "monitor"])
def test_whichever_fails_the_other_is_upgraded(broken: str) -> None:
    """The model has them in the order in which they are provisioned: later upgrades don't ask for it."""
    other = "monitor" if broken == "backup" else "backup"
    world = a_set(BACKUP, MONITOR, replicas=10)
    world.bad.add(f"{broken}:1.1.0")
    for extension in (BACKUP, MONITOR):
        world.publish_extension(extension.key, "1.1.0")
    world.run(timedelta(minutes=9))
    assert set(installed(world, broken).values()) == {"1.0.0"}
    assert set(installed(world, other).values()) == {"1.1.0"}
    outcomes = {t.name: t.outcome for t in status_of(world).extensions}
    assert outcomes == {broken: TargetOutcome.STOPPED, other: TargetOutcome.SUCCEEDED}


@pytest.mark.requirement("E7")
@pytest.mark.parametrize("first", ["backup", "monitor"])
def test_one_that_is_published_alone_is_upgraded_alone(first: str) -> None:
    world = a_set(BACKUP, MONITOR, replicas=5)
    world.publish_extension(f"acme/{first}", "1.1.0").run()
    assert {b.extension for b in status_of(world).batches} == {first}
    other = "monitor" if first == "backup" else "backup"
    assert set(installed(world, first).values()) == {"1.1.0"}
    assert set(installed(world, other).values()) == {"1.0.0"}


@pytest.mark.requirement("E13")
def test_too_many_that_fall_ill_meanwhile_stop_it_at_the_end_of_the_batch() -> None:
    world = a_set(MONITOR, replicas=10, update_domains=1)
    world.publish_extension("acme/monitor", "1.1.0").run(until=batch(2))
    touched = frozenset().union(*(b.members for b in status_of(world).batches))
    for ordinal in sorted(set(range(10)) - touched)[:3]:
        world.break_instance(ordinal)
    world.run(10 * MINUTE)
    status = status_of(world)
    assert status.code is Code.FAULTED
    assert status.error_code == "MaxUnhealthyInstancePercentExceededInRollingUpgrade"
    assert len(status.batches) == 2
    assert status.batches[-1].completed is not None
    assert [o for o, v in installed(world).items() if v == "1.1.0"] == sorted(touched)
