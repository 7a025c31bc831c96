"""An availability set is upgraded one update domain at a time, and never all of it at once (E5c, I10)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from engine.machines import VirtualMachine
from engine.test_extension_upgrade import BACKUP, MONITOR, a_set, batch, status_of
from engine.world import FIRST_MODEL, MINUTE, World
from scalesets.engine.decide import decide
from scalesets.engine.decision import CreateInstance, Decision, DeleteInstance, WriteSetStatus, WriteUpgradeStatus
from scalesets.engine.groups import as_one_set, assign, decide_group, wanted_of_member
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


@pytest.mark.requirement("E5c", "E10")
def test_a_machine_that_its_model_replaces_as_its_batch_begins_has_not_failed() -> None:
    world = a_group(3, update_domains=3)
    world.publish_extension("acme/monitor", "1.2.0").run(until=batch(1))
    other = replace(world.machines[0], name="other", content="other")
    world.machines[0] = world.models["other"] = other
    former = world.pods.pop(0).release
    world._create(0, replace(former, model="other"))
    world.run()
    assert status_of(world).progress.failed == 0
    assert set(on(world).values()) == {"1.2.0"}
    assert world.pods[0].release.model == "other"


@pytest.mark.requirement("E5c")
def test_a_newcomer_takes_over_nothing_of_who_had_its_place() -> None:
    world = a_group(4, update_domains=4)
    world.publish_extension("acme/monitor", "1.2.0").run(until=batch(2))
    view = world.view()
    newcomer = replace(view, names={**view.names, 1: "db-new"}, instances={o: view.instances[o] for o in (0, 2, 3)})
    seen = as_one_set(newcomer)
    assert sorted(seen.names) == [0, 2, 3], "its place isn't free before the upgrade has let go of it"
    assert 1 not in seen.status.record
    decision = decide_group(newcomer, world.now)
    stored = [w.status for w in decision.writes if isinstance(w, WriteUpgradeStatus)]
    assert stored and 1 not in stored[-1].scope
    assert [dict(w.status.machines) for w in decision.writes if isinstance(w, WriteSetStatus)] == [
        {0: "db-0", 2: "db-2", 3: "db-3"}
    ]
    upgrade = view.current_upgrade
    assert upgrade is not None
    let_go = replace(newcomer, upgrades=(replace(upgrade, status=stored[-1]),))
    assert wanted_of_member(view, 1, None) is not None
    assert wanted_of_member(let_go, 1, None) is None, "the batch at work was another's"


@pytest.mark.requirement("E5c")
def test_a_place_that_only_the_scope_remembers_is_not_given_either() -> None:
    world = a_group(4, update_domains=4)
    world.publish_extension("acme/monitor", "1.2.0").run(until=batch(1))
    view = world.view()
    killed = replace(view.status, machines=tuple((o, n) for o, n in view.status.machines if o != 2))
    assert sorted(as_one_set(replace(view, status=killed)).names) == [0, 1, 3]


def a_member() -> World:
    return a_set(MONITOR, world=VirtualMachine, availability_set="dbs")


def test_what_the_running_batch_wants_goes_on_record() -> None:
    world = a_member()
    known = world.status.record[0]
    target = replace(known, extensions=(("monitor", "1.2.0"),))
    decision = decide(replace(world.view(), wanted=target), world.now)
    assert [w.status.record for w in decision.writes if isinstance(w, WriteSetStatus)] == [{0: target}]
    lost = replace(world.view(), wanted=target, instances={})
    assert CreateInstance(0, target) in decide(lost, world.now).actions


def test_once_it_is_on_record_nothing_more_is_written() -> None:
    world = a_member()
    target = replace(world.status.record[0], extensions=(("monitor", "1.2.0"),))
    view = replace(world.view(), wanted=target)
    on_record = replace(view, status=replace(view.status, record={0: target}))
    assert not decide(on_record, world.now).writes, "its pod may still be as before"


@pytest.mark.requirement("E10")
def test_another_model_waits_for_the_end_of_the_batch() -> None:
    world = a_member()
    wanted = world.status.record[0]
    world.change_model("second")
    view = world.view()
    busy = decide(replace(view, wanted=wanted), world.now)
    assert not [a for a in busy.actions if isinstance(a, DeleteInstance)]
    assert all(w.status.record == {0: wanted} for w in busy.writes if isinstance(w, WriteSetStatus))
    world.run()
    assert world.on("second") == {0}


@pytest.mark.requirement("E3", "E5c")
def test_a_machine_that_is_put_back_is_wanted_as_it_was() -> None:
    world = a_group(4, update_domains=4)
    world.bad.add("monitor:1.2.0")
    world.publish_extension("acme/monitor", "1.2.0")
    world.run(until=lambda w: any(b.rolled_back for u in w.upgrades.values() if u.status for b in u.status.batches))
    view = world.view()
    wanted = wanted_of_member(view, 0, None)
    assert wanted is not None
    assert dict(wanted.extensions) == {"monitor": "1.0.0"}
    upgrade = view.current_upgrade
    assert upgrade is not None and upgrade.status is not None
    without = replace(upgrade, status=replace(upgrade.status, scope=upgrade.status.scope - {0}))
    assert wanted_of_member(replace(view, upgrades=(without,)), 0, None) is None, "who left the scope is another's"
