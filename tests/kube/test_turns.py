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
from scalesets.kube.work import Work
from scalesets.kube.world import World

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
    world.turns.decided(view_of(world, key("a")), BEGINS)
    assert "team-a/a is at work now" in world.turn(key("b"), "local")
    assert world.turn(key("a"), "local") == "", "it has its place"
    woken.clear()
    world.turns.decided(view_of(world, key("a")), Decision())
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
    world.turns.decided(view_of(world, key("db")), BEGINS)
    assert world.turn(key("db", "team-b"), "local")
    assert world.turn(key("db", "team-c"), "local") == ""


@pytest.mark.requirement("E5b")
def test_other_locations_and_availability_sets_have_budgets_of_their_own() -> None:
    world, _ = a_world(
        a_machine("a"), a_machine("there", location="northeurope"), a_machine("member", availabilitySet="dbs")
    )
    world.turns.decided(view_of(world, key("a")), BEGINS)
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
def test_a_machine_that_goes_gives_its_place_back() -> None:
    world, woken = a_world(a_machine("a"), a_machine("b"))
    world.turns.decided(view_of(world, key("a")), BEGINS)
    assert world.turn(key("b"), "local")
    gone = world.machines.get(("team-a", "a"))
    assert gone is not None
    woken.clear()
    world.machines.vanished(("team-a", "a"), gone["metadata"]["uid"])
    assert MACHINE + "b" in [w.name for w in woken]
    assert world.turn(key("b"), "local") == ""


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
