"""Which subscription a machine's namespace is of, and what an operator that serves only some namespaces says of it."""

from __future__ import annotations

from typing import Any

import kube_objects as objects
import pytest

from scalesets.engine.view import Trouble, TroubleKind
from scalesets.kube import views
from scalesets.kube.fleet import utc_now
from scalesets.kube.kinds import GROUPS, MACHINES
from scalesets.kube.names import LABEL_SUBSCRIPTION, MACHINE
from scalesets.kube.settings import Settings
from scalesets.kube.work import Work
from scalesets.kube.world import World


def a_machine(name: str = "db", **spec: Any) -> objects.Obj:
    given = {"imageReference": {"galleryImage": "ubuntu"}, "template": objects.a_template(), **spec}
    return objects.stored({"kind": MACHINES.kind, "metadata": {"name": name, "namespace": "team-a"}, "spec": given})


def a_namespace(name: str, subscription: str) -> objects.Obj:
    labels = {LABEL_SUBSCRIPTION: subscription}
    return objects.stored({"kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def an_availability_set(**spec: Any) -> objects.Obj:
    return objects.stored({"kind": GROUPS.kind, "metadata": {"name": "dbs", "namespace": "team-a"}, "spec": spec})


def a_world(*serving: str) -> tuple[World, list[Work]]:
    woken: list[Work] = []
    return World(Settings(namespaces=serving), lambda work, _: woken.append(work)), woken


def told(world: World, name: str = "db") -> tuple[Trouble, ...]:
    seen = world.see(("team-a", MACHINE + name), utc_now())
    assert seen is not None
    assert views.build(seen, settings=Settings()).troubles == seen.circumstances
    return seen.circumstances


def test_an_operator_of_all_namespaces_has_nothing_to_say() -> None:
    world, _ = a_world()
    world.machines.put(a_machine())
    for name in ("team-a", "team-b"):
        world.namespaces.put(a_namespace(name, "one"))
    assert told(world) == ()


@pytest.mark.requirement("E5b")
def test_namespaces_of_the_subscription_that_it_does_not_serve_are_named() -> None:
    world, woken = a_world("team-a")
    world.machines.put(a_machine())
    world.namespaces.put(a_namespace("team-a", "one"))
    assert told(world) == ()
    woken.clear()
    world.namespaces.put(a_namespace("team-b", "one"))
    world.namespaces.put(a_namespace("team-c", "two"))
    (trouble,) = told(world)
    assert trouble.kind is TroubleKind.SUBSCRIPTION_IN_PART
    assert "subscription one" in trouble.message
    assert "(team-b)" in trouble.message
    assert MACHINE + "db" in [w.name for w in woken]


@pytest.mark.requirement("E5b")
def test_a_label_that_may_not_be_read_is_said() -> None:
    world, _ = a_world("team-a")
    world.machines.put(a_machine())
    world.subscriptions.refused({"team-a": "namespaces is forbidden"})
    (trouble,) = told(world)
    assert trouble.kind is TroubleKind.SUBSCRIPTION_UNKNOWN
    assert "namespaces is forbidden" in trouble.message
    world.subscriptions.refused({})
    assert told(world) == ()


@pytest.mark.requirement("E5c")
def test_a_machine_is_in_an_availability_set_of_its_own_location_only() -> None:
    world, woken = a_world()
    world.machines.put(a_machine(availabilitySet="dbs", location="northeurope"))
    assert told(world)[0].kind is TroubleKind.NO_AVAILABILITY_SET
    woken.clear()
    world.groups.put(an_availability_set(location="westeurope"))
    assert MACHINE + "db" in [w.name for w in woken]
    (trouble,) = told(world)
    assert trouble.kind is TroubleKind.AVAILABILITY_SET_ELSEWHERE
    assert "dbs is in westeurope, the machine in northeurope" in trouble.message
    assert not world.members(("team-a", "availabilityset/dbs"))
    world.groups.put(an_availability_set(location="northeurope"))
    assert told(world) == ()
    assert list(world.members(("team-a", "availabilityset/dbs"))) == ["db"]
