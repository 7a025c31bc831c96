"""The budget of a subscription: who may begin, over all namespaces of it, and places that are taken before anything is
stored (E5b).
"""

from __future__ import annotations

from typing import Any

import kube_objects as objects
import pytest

from scalesets.engine.decision import CreateUpgrade, Decision
from scalesets.engine.view import SetView, UpgradeMode, UpgradeType
from scalesets.kube import machines, views
from scalesets.kube.fleet import utc_now
from scalesets.kube.kinds import MACHINES
from scalesets.kube.names import LABEL_SUBSCRIPTION, MACHINE, claim_name, instance_name, instance_ordinal, plain_name
from scalesets.kube.settings import Settings
from scalesets.kube.work import Work
from scalesets.kube.world import World

WAITS = Decision(waits_for_turn=True)
BEGINS = Decision(writes=(CreateUpgrade("db-ext-1", UpgradeType.EXTENSION),))


def a_machine(name: str, namespace: str = "team-a", **spec: Any) -> objects.Obj:
    given = {"imageReference": {"galleryImage": "ubuntu"}, "template": objects.a_template(), **spec}
    return objects.stored({"kind": MACHINES.kind, "metadata": {"name": name, "namespace": namespace}, "spec": given})


def a_namespace(name: str, subscription: str) -> objects.Obj:
    return objects.stored(
        {"kind": "Namespace", "metadata": {"name": name, "labels": {LABEL_SUBSCRIPTION: subscription}}}
    )


def a_world(*found: objects.Obj) -> tuple[World, list[Work]]:
    woken: list[Work] = []
    world = World(Settings(), lambda work, _: woken.append(work))
    for raw in found:
        (world.namespaces if raw["kind"] == "Namespace" else world.machines).put(raw)
    return world, woken


def key(name: str, namespace: str = "team-a") -> tuple[str, str]:
    return namespace, MACHINE + name


def view_of(world: World, of: tuple[str, str]) -> SetView:
    seen = world.see(of, utc_now())
    assert seen is not None
    return views.build(seen, settings=Settings())


def decided(world: World, of: tuple[str, str], decision: Decision) -> None:
    world.turns.decided(of, view_of(world, of), decision)


@pytest.mark.requirement("E5b")
def test_a_place_is_taken_before_anything_is_stored() -> None:
    world, woken = a_world(a_machine("a"), a_machine("b"))
    assert world.turn(key("a")) == ""
    decided(world, key("a"), BEGINS)
    assert "others are at work" in world.turn(key("b"))
    decided(world, key("b"), WAITS)
    assert world.turn(key("a")) == "", "it has its place"
    woken.clear()
    decided(world, key("a"), Decision())
    assert [w.name for w in woken] == [MACHINE + "b"], "who waits is woken"
    assert world.turn(key("b")) == ""


@pytest.mark.requirement("E5b")
def test_namespaces_of_one_subscription_share_the_budget_and_others_do_not() -> None:
    world, _ = a_world(
        a_namespace("team-a", "one"),
        a_namespace("team-b", "one"),
        a_namespace("team-c", "two"),
        *(a_machine("db", team) for team in ("team-a", "team-b", "team-c")),
    )
    decided(world, key("db"), BEGINS)
    assert world.turn(key("db", "team-b"))
    assert world.turn(key("db", "team-c")) == ""


@pytest.mark.requirement("E5b")
def test_a_namespace_may_come_to_another_subscription() -> None:
    world, _ = a_world(*(a_machine("db", team) for team in ("team-a", "team-b")))
    decided(world, key("db"), BEGINS)
    assert world.turn(key("db", "team-b")), "namespaces without the label are one subscription"
    world.namespaces.put(a_namespace("team-a", "one"))
    assert world.turn(key("db", "team-b")) == ""
    world.namespaces.put(a_namespace("team-b", "one"))
    assert world.turn(key("db", "team-b")), "the place that was taken before came along"


@pytest.mark.requirement("E5b")
def test_other_locations_and_availability_sets_have_budgets_of_their_own() -> None:
    world, _ = a_world(
        a_machine("a"), a_machine("there", location="northeurope"), a_machine("member", availabilitySet="dbs")
    )
    decided(world, key("a"), BEGINS)
    assert world.turn(key("there")) == ""
    assert world.turn(key("member")) == ""


def an_upgrade(machine: str, outcome: str = "Running") -> objects.Obj:
    status = {"batches": [{"number": 1, "outcome": outcome}]}
    upgrade = {
        "kind": "RollingUpgrade",
        "metadata": {"name": f"{machine}-ext-1", "namespace": "team-a"},
        "status": status,
    }
    return objects.stored({**upgrade, "spec": {"virtualMachine": machine, "type": "Extension"}})


@pytest.mark.requirement("E5b")
@pytest.mark.parametrize("upgrade_first", [True, False])
def test_a_stored_batch_at_work_counts_after_a_restart(upgrade_first: bool) -> None:
    world, _ = a_world()
    if upgrade_first:
        world.upgrades.put(an_upgrade("a"))
    for name in "ab":
        world.machines.put(a_machine(name))
    if not upgrade_first:
        world.upgrades.put(an_upgrade("a"))
    assert world.turn(key("b"))
    world.upgrades.put(an_upgrade("a", "Succeeded"))
    assert world.turn(key("b")) == ""


@pytest.mark.requirement("E5b")
def test_a_batch_that_goes_on_wakes_nobody() -> None:
    world, woken = a_world(a_machine("a"), a_machine("b"))
    world.upgrades.put(an_upgrade("a"))
    decided(world, key("b"), WAITS)
    woken.clear()
    world.upgrades.put(an_upgrade("a"))
    assert MACHINE + "b" not in [w.name for w in woken]


@pytest.mark.requirement("E5b")
def test_a_machine_that_goes_gives_its_place_back() -> None:
    world, woken = a_world(a_machine("a"), a_machine("b"))
    decided(world, key("a"), BEGINS)
    decided(world, key("b"), WAITS)
    gone = world.machines.get(("team-a", "a"))
    assert gone is not None
    woken.clear()
    world.machines.vanished(("team-a", "a"), gone["metadata"]["uid"])
    assert MACHINE + "b" in [w.name for w in woken]
    assert world.turn(key("b")) == ""


@pytest.mark.requirement("E5b")
def test_only_as_many_are_woken_as_there_is_room_for_and_the_next_when_one_does_not_begin() -> None:
    world, woken = a_world(*(a_machine(f"m{n:02}") for n in range(14)))
    for n in (0, 1):
        decided(world, key(f"m{n:02}"), BEGINS)
    for n in range(2, 14):
        decided(world, key(f"m{n:02}"), WAITS)
    woken.clear()
    decided(world, key("m00"), Decision())
    assert [w.name for w in woken] == [MACHINE + "m02"]
    decided(world, key("m02"), Decision())
    assert [w.name for w in woken] == [MACHINE + "m02", MACHINE + "m03"], "what it was offered goes to the next"
    decided(world, key("m03"), BEGINS)
    assert len(woken) == 2


@pytest.mark.requirement("E5b")
def test_places_are_offered_to_the_zone_that_is_at_work() -> None:
    world, woken = a_world(*(a_machine(f"m{n:02}", zone=str(n % 2)) for n in range(10)))
    for n in (0, 2):
        decided(world, key(f"m{n:02}"), BEGINS)
    for n in (1, 3, 4):
        decided(world, key(f"m{n:02}"), WAITS)
    woken.clear()
    decided(world, key("m00"), Decision())
    assert [w.name for w in woken] == [MACHINE + "m04"]
    decided(world, key("m04"), Decision())
    decided(world, key("m02"), Decision())
    assert [w.name for w in woken][1:] == [MACHINE + "m01", MACHINE + "m03"]


def test_an_offer_that_got_lost_is_made_again() -> None:
    world, woken = a_world(a_machine("a"), a_machine("b"), a_machine("c"))
    decided(world, key("a"), BEGINS)
    for name in "bc":
        decided(world, key(name), WAITS)
    decided(world, key("a"), Decision())
    woken.clear()
    world.turns.remind()
    assert [w.name for w in woken] == [MACHINE + "c"]


@pytest.mark.requirement("E5b")
def test_a_place_without_a_batch_is_lost_when_there_is_no_room_for_it_any_more() -> None:
    """Two of ten have taken places; then half of the machines go, before either has a batch."""
    found = [a_machine(f"m{n}") for n in range(10)]
    world, _ = a_world(*found)
    for name in ("m0", "m1"):
        decided(world, key(name), BEGINS)
    for gone in found[5:]:
        world.machines.vanished(("team-a", gone["metadata"]["name"]), gone["metadata"]["uid"])
    assert "others are at work" in world.turn(key("m0"))
    decided(world, key("m0"), WAITS)
    assert world.turn(key("m1")) == "", "one of them goes on"
    assert "others are at work" in world.turn(key("m0"))


@pytest.mark.requirement("E5b")
def test_thousands_of_machines_cost_no_more_each_than_a_few() -> None:
    """Counted, not timed: how many are woken while all of them are upgraded in turns."""
    world, woken = a_world(*(a_machine(f"m{n}") for n in range(1000)))
    names = {f"m{n}" for n in range(1000)}
    woken.clear()
    looks = 0
    at_work: list[str] = []
    queue = sorted(names)
    while names:
        while queue:
            name = queue.pop()
            looks += 1
            if name not in names:
                decided(world, key(name), Decision())
            elif world.turn(key(name)):
                decided(world, key(name), WAITS)
            else:
                decided(world, key(name), BEGINS)
                at_work.append(name)
        done = at_work.pop(0)
        names.discard(done)
        queue = [done]
        while queue:  # its own look gives the place back; who is woken looks next
            looks += 1
            decided(world, key(queue.pop()), Decision())
        queue = [plain_name(w.name) for w in woken]
        woken.clear()
    assert looks < 5 * 1000


def test_a_machine_is_seen_as_a_set_of_one_under_its_own_name() -> None:
    world, _ = a_world(a_machine("db", zone="1"))
    view = view_of(world, key("db"))
    assert (view.replicas, view.mode, view.zones, view.update_domains) == (1, UpgradeMode.AUTOMATIC, ("1",), 1)
    assert view.instance_name(0) == "db"
    assert not view.os_policy.enabled


def test_names_of_pods_and_disks() -> None:
    assert instance_name(MACHINE + "db", 0) == "db"
    assert claim_name("data", MACHINE + "db", 0) == "data-db"
    assert instance_ordinal("db", MACHINE + "db") == 0
    assert instance_ordinal("db-0", MACHINE + "db") is None


@pytest.mark.requirement("E5c")
def test_places_are_kept_and_gaps_filled_in_the_order_of_age() -> None:
    status = {"machines": [{"name": "a", "ordinal": 0, "updateDomain": 0}, {"name": "c", "ordinal": 2}]}
    members = [a_machine(name) for name in ("a", "c", "d")]
    assert machines.places({"status": status}, members) == {"a": 0, "c": 2, "d": 1}
