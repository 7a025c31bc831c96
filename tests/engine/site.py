"""A site: machines of several namespaces, locations and zones and availability sets, that one operator decides one
after the other, each only when something that concerns it happened or its time has come, as the operator's queue does
it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from engine.machines import AvailabilitySet, VirtualMachine
from engine.refereed import Refereed, an_upgrade
from engine.server import Decided
from engine.state import IMAGE, START, Gallery
from engine.world import World
from referee import FoulError
from refereeing.book import Book
from refereeing.machines import Machines
from scalesets.engine.view import Model, RollingPolicy, Timing, Upgrade
from scalesets.kube.seen import Key
from scalesets.kube.turns import Turns

HERE, THERE = "here", "there"


@dataclass
class Site:
    """All of it. ``subscriptions`` names the namespaces' own; the others belong to that of the cluster."""

    policy: RollingPolicy
    timing: Timing
    lag: timedelta = timedelta(0)
    subscriptions: dict[str, str] = field(default_factory=dict)
    now: datetime = START
    worlds: dict[Key, World] = field(default_factory=dict)
    images: dict[str, Gallery] = field(default_factory=lambda: {IMAGE: Gallery()})
    extensions: dict[str, Gallery] = field(default_factory=dict)
    bad: set[str] = field(default_factory=set)
    _refereed: dict[Key, Refereed] = field(default_factory=dict)
    _fleets: dict[tuple[str, str], Machines] = field(default_factory=dict)  # by subscription and location
    _book: Book = field(default_factory=lambda: Book(timeline_length=100))
    _shown: dict[tuple[Key, str], Upgrade] = field(default_factory=dict)
    _woken: dict[Key, None] = field(default_factory=dict)
    _again: dict[Key, datetime] = field(default_factory=dict)
    _ids: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.turns = Turns(self.wake)

    # -- who is there ------------------------------------------------------------------------------------------------

    def add(self, name: str, model: Model, *, namespace: str = "team-a", group: str = "", **spec: Any) -> None:
        """A user makes a machine; ``group`` is its availability set."""
        dbs = self.group(namespace, group) if group else None
        self._add(
            VirtualMachine(name=name, namespace=namespace, model=model, availability_set=group, group=dbs, **spec)
        )
        if dbs is not None:
            machine = self.worlds[namespace, name]
            assert isinstance(machine, VirtualMachine)
            dbs.machines[name] = machine
            self.wake(group_key(dbs))

    def add_group(self, name: str, update_domains: int, *, namespace: str = "team-a") -> None:
        """A user makes an availability set."""
        self._add(AvailabilitySet(name=name, namespace=namespace, update_domains=update_domains))

    def remove(self, key: Key) -> None:
        """A user deletes a machine: its pod and its upgrades go with it."""
        machine = self.worlds.pop(key)
        assert isinstance(machine, VirtualMachine)
        self._refereed.pop(key, None)
        self._again.pop(key, None)
        self._woken.pop(key, None)
        self.turns.left(key)
        self._fleet(machine).see_machine("DELETED", key, self._drawn(machine))
        for name, upgrade in machine.upgrades.items():
            obj = _upgrade(machine, upgrade)
            self._shown.pop((key, name), None)
            self._fleet(machine).see_upgrade("DELETED", (key[0], name), obj, self.now)
            self.turns.stored(key, name, runs=False)
        if (group := machine.group) is not None:
            place = group.places()[machine.name]
            del group.machines[machine.name]
            group.gather()
            refereed = self._refereed[group_key(group)]
            refereed.referee.gives_place(group.namespace, group.name, place)
            refereed.look(group)
            self.wake(group_key(group))

    def group(self, namespace: str, name: str) -> AvailabilitySet:
        """An availability set."""
        group = self.worlds[namespace, f"group/{name}"]
        assert isinstance(group, AvailabilitySet)
        return group

    @property
    def machines(self) -> dict[Key, VirtualMachine]:
        """The machines."""
        return {k: w for k, w in self.worlds.items() if isinstance(w, VirtualMachine)}

    @property
    def groups(self) -> dict[Key, AvailabilitySet]:
        """The availability sets."""
        return {k: w for k, w in self.worlds.items() if isinstance(w, AvailabilitySet)}

    def _add(self, world: VirtualMachine | AvailabilitySet) -> None:
        key = group_key(world) if isinstance(world, AvailabilitySet) else (world.namespace, world.name)
        if isinstance(world, VirtualMachine):
            world.site = self
        world.policy, world.timing, world.lag, world.now = self.policy, self.timing, self.lag, self.now
        world.images, world.extensions, world.bad, world.locations = (
            self.images,
            self.extensions,
            self.bad,
            (HERE, THERE),
        )
        world.uid, world._ids, world.created = f"uid-{next(self._ids)}", self._ids, self.now
        self.worlds[key] = world
        self._line_up(key)
        if isinstance(world, VirtualMachine) and world.group is not None:  # its pod is judged as one of its group
            group, refereed = world.group, self._refereed[group_key(world.group)]
            world.watchers.append(lambda _: (group.gather(), refereed.look(group)))
        else:
            self._refereed[key] = Refereed(world)
        world.watchers.append(self._show)
        self._show(world)
        self.wake(key)

    # -- the operator ------------------------------------------------------------------------------------------------

    def ask(self, machine: VirtualMachine) -> str:
        """Why the machine must wait for its turn."""
        return self.turns.ask((machine.namespace, machine.name))

    def _line_up(self, key: Key) -> None:
        """The budget learns of a machine and of its upgrades."""
        machine = self.worlds[key]
        if isinstance(machine, VirtualMachine) and machine.group is None:
            self.turns.joined(key, machine.uid, self._fleet_key(machine), next(iter(machine.zones), ""))
            for upgrade in machine.upgrades.values():
                self._tell_turns(key, upgrade)

    def _tell_turns(self, key: Key, upgrade: Upgrade) -> None:
        status = upgrade.status
        self.turns.stored(key, upgrade.name, runs=status is not None and status.running_batch is not None)

    def wake(self, key: Key) -> None:
        """Something happened that concerns it; and its availability set, or its machines."""
        if key not in self.worlds:
            return
        self._woken[key] = None
        world = self.worlds[key]
        if isinstance(world, VirtualMachine) and world.group is not None:
            self._woken[group_key(world.group)] = None
        if isinstance(world, AvailabilitySet):
            self._woken.update(dict.fromkeys((world.namespace, name) for name in world.machines))

    def wake_all(self) -> None:
        """Something that concerns everybody, such as a new version."""
        for key in self.worlds:
            self.wake(key)

    def look(self, key: Key) -> Decided | None:
        """Decide, and do nothing about it yet; a machine waits for its place first."""
        self._woken.pop(key, None)
        world = self.worlds[key]
        if isinstance(world, VirtualMachine) and world.group is not None and world.name not in world.group.given():
            return None
        decided = world.look()
        self._again.pop(key, None)
        if (again := decided.decision.look_again) is not None:
            self._again[key] = again
        return decided

    def carry_out(self, key: Key, decided: Decided | None, crash_after: int | None = None) -> None:
        """Carry it out, or only its first steps."""
        if decided is not None and key in self.worlds and self.worlds[key].carry_out(decided, crash_after):
            self.wake(key)

    def turn(self, key: Key, crash_after: int | None = None) -> None:
        """Decide, and carry it out."""
        self.carry_out(key, self.look(key), crash_after)

    def work(self, turns: int) -> None:
        """So many decisions."""
        for key in list(itertools.islice(self._woken, turns)):
            self.turn(key)

    def restart(self) -> None:
        """The operator starts anew."""
        self.turns = Turns(self.wake)
        for key in self.machines:
            self._line_up(key)
        self._again.clear()
        for world in self.worlds.values():
            world.restart()
        self.wake_all()

    # -- time ----------------------------------------------------------------------------------------------------------

    def run(self, lasting: timedelta) -> None:
        """Work for so long in virtual time."""
        end = self.now + lasting
        while True:
            turns = 0
            while self._woken:
                self.turn(next(iter(self._woken)))
                turns += 1
                assert turns < 300 * (len(self.worlds) + 1), f"no rest:\n{self.log()}"
            due = {key: t for key in self.worlds if (t := self._next(key)) is not None and t <= end}
            if not due:
                break
            first = min(due.values())
            self._set_clock(first)
            for key in [key for key, t in due.items() if t == first]:
                self.wake(key)
        self._set_clock(end)

    def _next(self, key: Key) -> datetime | None:
        world = self.worlds[key]
        times = [self._again.get(key), *(world.pod_times() if isinstance(world, VirtualMachine) else ())]
        return min((t for t in times if t is not None and t > self.now), default=None)

    def _set_clock(self, now: datetime) -> None:
        self.now = now
        for world in self.worlds.values():
            world.now = now
            world.live()

    def log(self) -> str:
        """What was told last."""
        return "\n".join(f"{name}: {line}" for (_, name), w in self.worlds.items() for line in w.log[-5:])

    # -- the referees --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise what was found: of each machine and availability set by itself, and of all together (I10)."""
        for refereed in self._refereed.values():
            refereed.check()
        if self._book.violations:
            raise FoulError("\n".join(map(str, self._book.violations)))

    def check_rest(self, lasting: timedelta = timedelta(minutes=30)) -> None:
        """Every started upgrade has ended (I7), and nothing changes any more (I9)."""
        for refereed in self._refereed.values():
            refereed.look(refereed.world)
            refereed.referee.at_rest(self.now)
        self._set_clock(self.now + timedelta(seconds=1))
        start = self.now
        self.wake_all()
        self.run(lasting)
        for refereed in self._refereed.values():
            refereed.look(refereed.world)
            refereed.referee.quiet_between(start, self.now)
        self.check()

    def excuse(self, key: Key) -> None:
        """The machine's pod goes by somebody else's doing."""
        machine = self.machines[key]
        if (group := machine.group) is None:
            self._refereed[key].referee.excuse("Pod", key[0], f"{machine.name}-0")
        else:
            place = group.places()[machine.name]
            self._refereed[group_key(group)].referee.excuse("Pod", key[0], f"{group.name}-{place}")

    def _fleet_key(self, world: World) -> tuple[str, str]:
        return self.subscriptions.get(world.namespace, ""), world.location

    def _fleet(self, world: World) -> Machines:
        return self._fleets.setdefault(self._fleet_key(world), Machines(self._book))

    def _show(self, world: World) -> None:
        """What the referee of I10 sees: machines, and the upgrades of machines and availability sets."""
        assert isinstance(world, VirtualMachine | AvailabilitySet)
        referee, key = self._fleet(world), (world.namespace, world.name)
        if isinstance(world, VirtualMachine):
            referee.see_machine("MODIFIED", key, self._drawn(world))
        for name, upgrade in world.upgrades.items():
            if self._shown.get((key, name)) != upgrade:
                self._shown[key, name] = upgrade
                if key in self.machines:
                    self._tell_turns(key, upgrade)
                referee.see_upgrade("MODIFIED", (world.namespace, name), _upgrade(world, upgrade), self.now)

    def _drawn(self, machine: VirtualMachine) -> dict[str, Any]:
        domain = machine.status.update_domain
        return {
            "metadata": {"namespace": machine.namespace, "name": machine.name, "uid": machine.uid},
            "spec": {
                "location": machine.location,
                **({"zone": machine.zones[0]} if machine.zones else {}),
                **({"availabilitySet": machine.availability_set} if machine.availability_set else {}),
            },
            "status": {"updateDomain": domain} if domain is not None else {},
        }


def group_key(group: AvailabilitySet) -> Key:
    """Its key at a site: machines may have its name."""
    return group.namespace, f"group/{group.name}"


def _upgrade(world: VirtualMachine | AvailabilitySet, upgrade: Upgrade) -> dict[str, Any]:
    of = {"virtualMachine" if isinstance(world, VirtualMachine) else "availabilitySet": world.name}
    meta = {"namespace": world.namespace, "name": upgrade.name, "uid": upgrade.uid}
    return {"metadata": meta, **an_upgrade(upgrade, **of)}
