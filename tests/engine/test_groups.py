"""An availability set is upgraded one update domain at a time, and never all of it at once (E5c, I10)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from engine.test_extension_upgrade import BACKUP, MONITOR, batch, status_of
from engine.world import FIRST_MODEL, MINUTE, World
from scalesets.engine.decision import Decision
from scalesets.engine.groups import assign, decide_group, wanted_of_member
from scalesets.engine.view import Code, Model, ModelExtension, OSUpgradePolicy, Release, SetView, UpgradeStatus

LOGS = ModelExtension("monitor", "acme/logs", "1.0", enable_automatic_upgrade=True)


@dataclass
class Group(World):
    """An availability set whose machines are there already: nobody tends them here."""

    machines: dict[int, Model] = field(default_factory=dict)

    def view(self) -> SetView:
        view = super().view()
        names = {o: f"db-{o}" for o in self.machines}
        return replace(view, names=names, model=None, models={m.name: m for m in self.machines.values()})

    def decide(self, view: SetView) -> Decision:
        return decide_group(view, self.now)

    def add(self, place: int, *extensions: ModelExtension) -> None:
        names = "-".join(f"{e.key}:{e.enable_automatic_upgrade}" for e in extensions)
        model = replace(FIRST_MODEL, name=f"m-{names}", content=f"m-{names}", extensions=extensions)
        self.machines[place] = self.models[model.name] = model
        self._create(place, Release("1.0.0", model.name, tuple(sorted((e.name, "1.0.0") for e in extensions))))


def a_group(machines: int, *extensions: ModelExtension, **fields: object) -> Group:
    world = Group(os_policy=OSUpgradePolicy(), **fields)  # type: ignore[arg-type]
    world.publish("1.0.0")
    for key in ("acme/monitor", "acme/backup", "acme/logs"):
        world.publish_extension(key, "1.0.0")
    world.live()
    world.view()
    for place in range(machines):
        world.add(place, *(extensions or (MONITOR,)))
    world.run(MINUTE)
    return world


def on(world: World, name: str = "monitor") -> dict[int, str]:
    return {o: dict(p.release.extensions).get(name, "") for o, p in sorted(world.pods.items())}


def batches(status: UpgradeStatus) -> list[list[int]]:
    return [sorted(b.members) for b in status.batches]


@pytest.mark.requirement("E5c")
def test_one_update_domain_after_the_other() -> None:
    world = a_group(8, update_domains=3)
    world.publish_extension("acme/monitor", "1.2.0").run()
    status = status_of(world)
    assert status.code is Code.COMPLETED
    assert batches(status) == [[0, 3, 6], [1, 4, 7], [2, 5]]
    assert [b.update_domain for b in status.batches] == [0, 1, 2]
    assert set(on(world).values()) == {"1.2.0"}
    assert any("db-0, db-3, db-6 upgraded" in line for line in world.log)


@pytest.mark.requirement("E5c")
@pytest.mark.parametrize(("machines", "expected"), [(1, [[0]]), (2, [[0], [1]]), (4, [[0, 1, 2], [3]])])
def test_never_all_machines_at_once(machines: int, expected: list[list[int]]) -> None:
    world = a_group(machines, update_domains=1)
    world.publish_extension("acme/monitor", "1.2.0").run()
    assert batches(status_of(world)) == expected


@pytest.mark.requirement("E5c")
def test_machines_of_one_domain_are_never_taken_with_those_of_another() -> None:
    world = a_group(0, update_domains=5)
    for place in (1, 3, 6):
        world.add(place, MONITOR)
    world.publish_extension("acme/monitor", "1.2.0").run()
    assert batches(status_of(world)) == [[1, 6], [3]], "a gap in the places is nobody"
    assert status_of(world).progress.successful == 3


@pytest.mark.requirement("E5c")
def test_each_machine_has_its_own_extensions() -> None:
    world = a_group(0, update_domains=5)
    world.add(0, MONITOR)
    world.add(1, BACKUP)
    world.add(2, replace(MONITOR, enable_automatic_upgrade=False))
    world.add(3, LOGS)
    world.add(4, MONITOR, BACKUP)
    for key in ("acme/monitor", "acme/backup", "acme/logs"):
        world.publish_extension(key, "1.2.0")
    world.run()
    assert on(world) == {0: "1.2.0", 1: "", 2: "1.0.0", 3: "1.0.0", 4: "1.2.0"}
    assert on(world, "backup") == {0: "", 1: "1.2.0", 2: "", 3: "", 4: "1.2.0"}


def test_a_user_brings_those_along_that_have_not_opted_in() -> None:
    world = a_group(0)
    world.add(0, MONITOR)
    world.add(1, replace(MONITOR, enable_automatic_upgrade=False))
    world.publish_extension("acme/monitor", "1.2.0")
    world.upgrade_extensions("by-hand")
    world.run()
    assert on(world) == {0: "1.2.0", 1: "1.2.0"}


@pytest.mark.requirement("E3", "E5c")
def test_a_failed_machine_is_put_back_and_too_many_stop_it() -> None:
    world = a_group(6, update_domains=3)
    world.bad.add("monitor:1.2.0")
    world.publish_extension("acme/monitor", "1.2.0").run(
        30 * MINUTE, until=lambda w: any(u.finished for u in w.upgrades.values())
    )
    status = status_of(world)
    assert status.code is Code.FAULTED
    assert batches(status) == [[0, 3]]
    assert set(on(world).values()) == {"1.0.0"}


def test_a_machine_that_goes_meanwhile_leaves_the_scope() -> None:
    world = a_group(4, update_domains=4)
    world.publish_extension("acme/monitor", "1.2.0").run(until=batch(1))
    del world.machines[2], world.pods[2]
    world.run()
    assert status_of(world).code is Code.COMPLETED
    assert sorted(status_of(world).scope) == [0, 1, 3]


@pytest.mark.requirement("E5c")
def test_a_machine_that_is_lost_in_its_batch_comes_back_on_the_target() -> None:
    world = a_group(2)
    world.publish_extension("acme/monitor", "1.2.0").run(until=batch(1))
    known = Release("1.0.0", FIRST_MODEL.name, (("backup", "3.0.0"), ("monitor", "1.0.0")))
    wanted = wanted_of_member(world.view(), 0, known)
    assert wanted == replace(known, extensions=(("backup", "3.0.0"), ("monitor", "1.2.0")))
    assert wanted_of_member(world.view(), 1, known) is None


def test_an_empty_set_has_nothing_to_do() -> None:
    world = a_group(0)
    world.publish_extension("acme/monitor", "1.2.0").run()
    assert not world.upgrades
    assert world.condition("Ready").status


@pytest.mark.requirement("E5c")
def test_places_are_given_in_turn_and_never_change() -> None:
    first = assign({}, ["a", "b", "c"])
    assert first == {"a": 0, "b": 1, "c": 2}
    assert assign(first, ["a", "c"]) == {"a": 0, "c": 2}
    assert assign({"a": 0, "c": 2}, ["a", "c", "d", "e"]) == {"a": 0, "c": 2, "d": 1, "e": 3}
