"""The indexes over what is held: the machines of an availability set, and the locations that anything is in."""

from __future__ import annotations

from typing import Any

import kube_objects as objects

from scalesets.kube.kinds import GROUPS, MACHINES
from scalesets.kube.names import GROUP_OF
from scalesets.kube.settings import Settings
from scalesets.kube.world import World

DBS = ("team-a", f"{GROUP_OF}dbs")


def a_machine(name: str, **spec: Any) -> objects.Obj:
    given = {"imageReference": {"galleryImage": "ubuntu"}, "template": objects.a_template(), **spec}
    return objects.stored({"kind": MACHINES.kind, "metadata": {"name": name, "namespace": "team-a"}, "spec": given})


def a_world() -> World:
    world = World(Settings(), lambda *_: None)
    for name in ("dbs", "others"):
        metadata = {"name": name, "namespace": "team-a"}
        world.groups.put(objects.stored({"kind": GROUPS.kind, "metadata": metadata, "spec": {}}))
    return world


def test_the_machines_of_an_availability_set_come_and_go() -> None:
    world = a_world()
    for name in "ab":
        world.machines.put(a_machine(name, availabilitySet="dbs"))
    world.machines.put(a_machine("alone"))
    assert set(world.members(DBS)) == {"a", "b"}
    for name in "ab":
        machine = world.machines.get(("team-a", name))
        assert machine is not None
        world.machines.vanished(("team-a", name), machine["metadata"]["uid"])
    assert not world.members(DBS)


def test_a_machine_that_was_made_anew_is_in_its_new_set_only() -> None:
    world = a_world()
    world.machines.put(a_machine("a", availabilitySet="dbs"))
    world.machines.put(a_machine("a", availabilitySet="others"))
    assert not world.members(DBS)
    assert set(world.members(("team-a", f"{GROUP_OF}others"))) == {"a"}


def test_locations_are_those_of_what_is_there() -> None:
    world = a_world()
    world.machines.put(a_machine("a", location="northeurope"))
    world.machines.put(a_machine("b", location="northeurope"))
    assert world.locations() == ("local", "northeurope")
    for name in "ab":
        assert "northeurope" in world.locations()
        machine = world.machines.get(("team-a", name))
        assert machine is not None
        world.machines.vanished(("team-a", name), machine["metadata"]["uid"])
    assert world.locations() == ("local",)


def test_versions_in_use_are_those_of_who_comes_back_and_those_that_are_named() -> None:
    world = a_world()
    extensions = [{"name": "log", "version": "3.1.0"}]
    record = {"ordinals": "0", "imageVersion": "1.0.0", "model": "m", "extensions": extensions}
    other = {"ordinals": "1", "imageVersion": "1.1.0", "model": "m"}
    pinned = {"imageReference": {"galleryImage": "ubuntu", "version": "1.2.0"}}
    world.sets.put(objects.a_set(status={"instances": [record, other]}, **pinned))
    world.machines.put({**a_machine("db"), "status": {"instances": [{**record, "imageVersion": "2.0.0"}]}})
    assert world.versions_in_use() - {""} == {"1.0.0", "1.1.0", "1.2.0", "2.0.0", "3.1.0"}
