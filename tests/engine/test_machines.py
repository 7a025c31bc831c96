"""Machines by themselves take turns; a machine is decided as a set of one (E5b, I10)."""

from __future__ import annotations

import pytest

from engine.machines import VirtualMachine
from engine.test_extension_upgrade import MONITOR, a_set, installed, status_of
from scalesets.engine.machines import most_at_once, turn
from scalesets.engine.view import Code, UpgradeMode, UpgradeType


def a_machine(**fields: object) -> VirtualMachine:
    world = a_set(MONITOR, world=VirtualMachine, replicas=1, update_domains=1, mode=UpgradeMode.AUTOMATIC, **fields)
    assert isinstance(world, VirtualMachine)
    return world


@pytest.mark.requirement("E5b")
@pytest.mark.parametrize(("machines", "limit"), [(1, 1), (4, 1), (9, 1), (10, 2), (14, 2), (15, 3), (100, 20)])
def test_at_most_a_fifth_of_the_machines_of_a_subscription_are_at_work(machines: int, limit: int) -> None:
    assert most_at_once(machines) == limit
    begun = 0
    while not turn(machines, {"1": begun}, "1"):
        begun += 1
    assert begun == limit


@pytest.mark.requirement("E5b")
def test_machines_of_another_zone_wait_although_there_is_room() -> None:
    assert turn(20, {"1": 1, "2": 0}, "2") == "one zone at a time, and machines in zone 1 are at work"
    assert turn(20, {"1": 1, "2": 0}, "1") == ""
    assert turn(20, {"": 1}, "1") == "one zone at a time, and machines without a zone are at work"


@pytest.mark.requirement("E5b")
def test_the_words_are_the_same_whoever_is_at_work() -> None:
    told = "at most 20% of the machines of the subscription are upgraded at once, and others are at work"
    assert {turn(n, {"1": most_at_once(n)}, "1") for n in (1, 5, 2000)} == {told}


@pytest.mark.requirement("E5b")
def test_a_machine_that_is_held_back_begins_nothing_until_its_turn() -> None:
    world = a_machine(held_back="m2 is at work now")
    world.publish_extension("acme/monitor", "1.2.0").run()
    assert not world.upgrades
    assert world.condition("Progressing").reason == "WaitingForTurn"
    assert world.condition("Progressing").message == "m2 is at work now"
    world.held_back = ""
    world.run()
    assert status_of(world).code is Code.COMPLETED
    assert installed(world) == {0: "1.2.0"}


@pytest.mark.requirement("E5b")
def test_an_upgrade_that_a_user_starts_waits_for_its_turn_too() -> None:
    world = a_machine()
    world.held_back = "m2 is at work now"
    world.publish_extension("acme/monitor", "1.2.0")
    world.upgrade_extensions("by-hand")
    world.run()
    status = status_of(world)
    assert (status.waiting, status.batches) == ("WaitingForTurn", ())
    world.held_back = ""
    world.run()
    assert status_of(world).code is Code.COMPLETED
    assert any("web upgraded" in line for line in world.log), "a machine goes by its own name"


@pytest.mark.requirement("E5c")
def test_a_machine_in_an_availability_set_begins_no_upgrade_of_its_own() -> None:
    world = a_machine(availability_set="dbs")
    world.publish_extension("acme/monitor", "1.2.0").run()
    assert not world.upgrades
    world.upgrade_extensions("by-hand")
    world.run()
    assert status_of(world).code is Code.FAULTED
    assert status_of(world).error_code == "InAvailabilitySet"
    assert "dbs" in status_of(world).error


def test_a_change_of_its_model_applies_at_once() -> None:
    world = a_machine()
    pod = world.pods[0].uid
    world.change_model("second")
    world.run()
    assert world.on("second") == {0}
    assert world.pods[0].uid != pod
    assert not [u for u in world.upgrades.values() if u.type is UpgradeType.MODEL]


def test_a_lost_machine_comes_back_with_its_own_versions() -> None:
    world = a_machine()
    world.publish("2.0.0")
    world.kill(0)
    world.run()
    assert world.all_ready()
    assert world.versions() == {"1.0.0": 1}
