"""Machines by themselves take turns; a machine is decided as a set of one (E5b, I10)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from engine.test_extension_upgrade import MONITOR, a_set, installed, status_of
from engine.world import World
from scalesets.engine.machines import Machine, most_at_once, next_in_turn, turn
from scalesets.engine.view import Code, SetView, UpgradeMode, UpgradeType


def a_fleet(machines: int, *busy: int, zones: int = 1) -> list[Machine]:
    return [Machine(f"team/m{n}", f"{n % zones + 1}", n in busy) for n in range(machines)]


@dataclass
class OneMachine(World):
    """A virtual machine: a set of one instance that has the machine's own name."""

    held_back: str = ""
    availability_set: str = ""

    def view(self) -> SetView:
        view = super().view()
        return replace(view, names={0: view.name}, held_back=self.held_back, availability_set=self.availability_set)


def a_machine(**fields: object) -> OneMachine:
    world = a_set(MONITOR, world=OneMachine, replicas=1, update_domains=1, mode=UpgradeMode.AUTOMATIC, **fields)
    assert isinstance(world, OneMachine)
    return world


@pytest.mark.requirement("E5b")
@pytest.mark.parametrize(("machines", "limit"), [(1, 1), (4, 1), (9, 1), (10, 2), (14, 2), (15, 3), (100, 20)])
def test_at_most_a_fifth_of_the_machines_of_a_subscription_are_at_work(machines: int, limit: int) -> None:
    assert most_at_once(machines) == limit
    begun: list[int] = []
    for n in range(machines):
        if not turn(a_fleet(machines, *begun), f"team/m{n}"):
            begun.append(n)
    assert len(begun) == limit


@pytest.mark.requirement("E5b")
def test_machines_of_another_zone_wait_although_there_is_room() -> None:
    fleet = a_fleet(20, 0, zones=2)
    assert turn(fleet, "team/m1") == "one zone at a time: team/m0 is at work in zone 1"
    assert turn(fleet, "team/m2") == ""


@pytest.mark.requirement("E5b")
def test_the_words_name_who_is_at_work() -> None:
    assert turn(a_fleet(5, 2), "team/m0") == (
        "1 of the 5 machines of the subscription may be upgraded at once; team/m2 is at work now"
    )
    told = turn(a_fleet(20, 1, 2, 3, 4), "team/m0")
    assert told == "4 of the 20 machines of the subscription may be upgraded at once; 4 are at work now"


@pytest.mark.requirement("E5b")
def test_who_came_first_has_the_next_place() -> None:
    waiting = ["team/m9", "team/m8", "team/m7"]
    assert next_in_turn(a_fleet(10), waiting) == ["team/m9", "team/m8"]
    assert next_in_turn(a_fleet(10, 0), waiting) == ["team/m9"]
    assert next_in_turn(a_fleet(10, 0, 1), waiting) == []


@pytest.mark.requirement("E5b")
def test_the_next_ones_are_all_of_one_zone() -> None:
    waiting = ["team/m9", "team/m8", "team/m7"]
    assert next_in_turn(a_fleet(10, zones=2), waiting) == ["team/m9", "team/m7"]
    assert next_in_turn(a_fleet(10, 0, zones=2), waiting) == ["team/m8"]


@pytest.mark.requirement("E5b")
def test_who_has_begun_goes_on() -> None:
    assert turn(a_fleet(5, 1), "team/m1") == ""


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
