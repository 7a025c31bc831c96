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
from scalesets.kube.names import LABEL_SUBSCRIPTION, MACHINE, claim_name, instance_name, instance_ordinal
from scalesets.kube.settings import Settings
from scalesets.kube.world import Work, World

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


@pytest.mark.requirement("E5b")
def test_a_place_is_taken_before_anything_is_stored() -> None:
    world, woken = a_world(a_machine("a"), a_machine("b"))
    assert world.turn(key("a"), "local") == ""
    world.turns.decided(key("a"), view_of(world, key("a")), BEGINS)
    assert "team-a/a is at work now" in world.turn(key("b"), "local")
    assert world.turn(key("a"), "local") == "", "it has its place"
    woken.clear()
    world.turns.decided(key("a"), view_of(world, key("a")), Decision())
    assert [w.name for w in woken] == [MACHINE + "b"], "who waits is woken"
    assert world.turn(key("b"), "local") == ""


@pytest.mark.requirement("E5b")
def test_namespaces_of_one_subscription_share_the_budget_and_others_do_not() -> None:
    world, _ = a_world(
        a_namespace("team-a", "one"),
        a_namespace("team-b", "one"),
        a_namespace("team-c", "two"),
        *(a_machine("db", team) for team in ("team-a", "team-b", "team-c")),
    )
    world.turns.decided(key("db"), view_of(world, key("db")), BEGINS)
    assert world.turn(key("db", "team-b"), "local")
    assert world.turn(key("db", "team-c"), "local") == ""


@pytest.mark.requirement("E5b")
def test_other_locations_and_availability_sets_have_budgets_of_their_own() -> None:
    world, _ = a_world(
        a_machine("a"), a_machine("there", location="northeurope"), a_machine("member", availabilitySet="dbs")
    )
    world.turns.decided(key("a"), view_of(world, key("a")), BEGINS)
    assert world.turn(key("there"), "northeurope") == ""
    assert world.turn(key("member"), "local") == ""


@pytest.mark.requirement("E5b")
def test_a_stored_batch_at_work_counts_after_a_restart() -> None:
    world, _ = a_world(a_machine("a"), a_machine("b"))
    status = {"batches": [{"number": 1, "outcome": "Running"}]}
    upgrade = {"kind": "RollingUpgrade", "metadata": {"name": "a-ext-1", "namespace": "team-a"}, "status": status}
    spec = {"virtualMachine": "a", "type": "Extension"}
    world.upgrades.put(objects.stored({**upgrade, "spec": spec}))
    assert "team-a/a is at work now" in world.turn(key("b"), "local")


@pytest.mark.requirement("E5b")
def test_a_batch_that_a_former_process_began_gives_its_place_back() -> None:
    world, woken = a_world(a_machine("a"), a_machine("b"))
    upgrade = {
        "kind": "RollingUpgrade",
        "metadata": {"name": "a-ext-1", "namespace": "team-a", "uid": "u1"},
        "spec": {"virtualMachine": "a", "type": "Extension"},
    }
    batch = {"number": 1, "startTime": "2026-01-01T00:00:00Z", "ordinals": "0", "zone": "", "updateDomain": 0}
    since = {"startTime": "2026-01-01T00:00:00Z"}
    running = {"runningStatus": {"code": "RollingForward", **since}, "batches": [{**batch, "outcome": "Running"}]}
    world.upgrades.put(objects.stored({**upgrade, "status": running}))
    assert world.turn(key("b"), "local")
    world.turns.decided(key("a"), view_of(world, key("a")), Decision())  # it ends here, and is stored
    ended = {"runningStatus": {"code": "Completed", **since}, "batches": [{**batch, "outcome": "Succeeded"}]}
    world.upgrades.put(objects.stored({**upgrade, "status": ended}))
    woken.clear()
    world.turns.decided(key("a"), view_of(world, key("a")), Decision())
    assert [w.name for w in woken] == [MACHINE + "b"]


@pytest.mark.requirement("E5b")
def test_a_machine_that_goes_gives_its_place_back() -> None:
    world, woken = a_world(a_machine("a"), a_machine("b"))
    world.turns.decided(key("a"), view_of(world, key("a")), BEGINS)
    assert world.turn(key("b"), "local")
    gone = world.machines.get(("team-a", "a"))
    assert gone is not None
    woken.clear()
    world.machines.vanished(("team-a", "a"), gone["metadata"]["uid"])
    assert MACHINE + "b" in [w.name for w in woken]
    assert world.turn(key("b"), "local") == ""


def a_crowd(count: int, **spec: Any) -> tuple[World, list[Work]]:
    """Machines of one subscription, a fifth at work; all others were told to wait, in the order of their names."""
    world, woken = a_world(*(a_machine(f"m{n:03}", **spec) for n in range(count)))
    for n in range(count):
        if n < count // 5:
            world.turns.decided(key(f"m{n:03}"), view_of(world, key(f"m{n:03}")), BEGINS)
        else:
            assert world.turn(key(f"m{n:03}"), "local")
    woken.clear()
    return world, woken


def done(world: World, name: str) -> None:
    world.turns.decided(key(name), view_of(world, key(name)), Decision())


@pytest.mark.requirement("E5b")
def test_of_many_that_wait_only_as_many_are_woken_as_there_are_places() -> None:
    world, woken = a_crowd(100)
    done(world, "m003")
    assert [w.name for w in woken] == [MACHINE + "m020"], "who came first"
    assert world.turn(key("m020"), "local") == ""
    world.turns.decided(key("m020"), view_of(world, key("m020")), BEGINS)
    done(world, "m004")
    assert [w.name for w in woken[1:]] == [MACHINE + "m021"]


@pytest.mark.requirement("E5b")
def test_places_that_are_given_back_at_the_same_time_are_offered_once() -> None:
    world, woken = a_crowd(100)
    for n in range(10):
        done(world, f"m{n:03}")
    assert [w.name for w in woken] == [f"{MACHINE}m{n:03}" for n in range(20, 30)]


@pytest.mark.requirement("E5b")
def test_one_that_was_woken_and_has_reasons_not_to_begin_lets_the_next_one_go() -> None:
    world, woken = a_crowd(100)
    done(world, "m003")
    world.turns.decided(key("m020"), view_of(world, key("m020")), Decision())
    assert [w.name for w in woken] == [MACHINE + "m020", MACHINE + "m021"]


@pytest.mark.requirement("E5b")
def test_one_that_goes_after_it_was_woken_lets_the_next_one_go() -> None:
    world, woken = a_crowd(101)
    done(world, "m003")
    gone = world.machines.get(("team-a", "m020"))
    assert gone is not None
    world.machines.vanished(("team-a", "m020"), gone["metadata"]["uid"])
    assert MACHINE + "m021" in [w.name for w in woken]


@pytest.mark.requirement("E5b")
def test_who_waits_for_another_subscription_is_not_woken() -> None:
    """Each budget has its own places: many that wait elsewhere don't stand in the way."""
    spaces = [a_namespace("team-a", "one"), a_namespace("team-b", "two")]
    world, woken = a_world(*spaces, *(a_machine(f"m{n}", team) for team in ("team-a", "team-b") for n in range(50)))
    for team in ("team-b", "team-a"):
        for n in range(50):
            if world.turn(key(f"m{n}", team), "local") == "":
                world.turns.decided(key(f"m{n}", team), view_of(world, key(f"m{n}", team)), BEGINS)
    woken.clear()
    done(world, "m0")
    assert [(w.namespace, w.name) for w in woken] == [("team-a", MACHINE + "m10")]


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
