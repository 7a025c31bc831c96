"""Simulated VirtualMachines and AvailabilitySets, each a world of its own at one site.

A machine is a set of one instance. An availability set is a set whose instances are its machines: their pods are
theirs, and what it does to a pod is done to theirs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from engine.server import Decided
from engine.world import World
from scalesets.engine import decision as d
from scalesets.engine.decide import decide
from scalesets.engine.groups import assign, decide_group, wanted_of_member
from scalesets.engine.view import Instance, Model, OSUpgradePolicy, SetView, UpgradeMode

if TYPE_CHECKING:
    from engine.site import Site


@dataclass
class VirtualMachine(World):
    """A set of one instance that has the machine's own name. By itself it is held back by what a test says; at a site
    by the others of its subscription.
    """

    replicas: int = 1
    update_domains: int = 1
    mode: UpgradeMode = UpgradeMode.AUTOMATIC
    held_back: str = ""
    availability_set: str = ""
    site: Site | None = None
    group: AvailabilitySet | None = None

    def view(self) -> SetView:
        view = replace(super().view(), names={0: self.name}, availability_set=self.availability_set)
        if self.group is not None:
            return self._in_its_group(view, self.group)
        return replace(view, held_back=self.site.ask(self) if self.site is not None else self.held_back)

    def decide(self, view: SetView) -> d.Decision:
        decision = decide(view, self.now)
        if self.site is not None and self.group is None:
            self.site.turns.decided((self.namespace, self.name), view, decision)
        return decision

    @property
    def shown_mode(self) -> UpgradeMode:
        """Its model replaces it: nothing else may, so that the referee looks closely while it is as its model says."""
        shown = [self.models.get(p.release.model) for p in self.pods.values()]
        replaces = any(model is None or model.content != self.model.content for model in shown)
        return UpgradeMode.AUTOMATIC if replaces else UpgradeMode.ROLLING

    def _in_its_group(self, view: SetView, group: AvailabilitySet) -> SetView:
        """As the operator puts it together: while its availability set upgrades, that says what it comes back as."""
        place = group.given().get(self.name)
        view = replace(view, update_domain=None if place is None else place % group.update_domains)
        if place is None or not group.status.current_upgrade:
            return view
        return replace(view, wanted=wanted_of_member(group.view(), place, view.status.record.get(0)))


@dataclass
class AvailabilitySet(World):
    """An availability set: only its upgrades are decided here, its machines tend themselves."""

    name: str = "dbs"
    replicas: int = 0
    mode: UpgradeMode = UpgradeMode.AUTOMATIC
    os_policy: OSUpgradePolicy = field(default_factory=OSUpgradePolicy)
    machines: dict[str, VirtualMachine] = field(default_factory=dict)  # oldest first
    kind = "AvailabilitySet"

    def given(self) -> dict[str, int]:
        """The places that are stored."""
        return {name: place for place, name in self.status.machines}

    def places(self) -> dict[str, int]:
        """The places that its machines have or get."""
        return assign(self.given(), list(self.machines))

    def gather(self) -> None:
        """Take over what is the machines' own."""
        places = self.places()
        self.pods = {p: self.machines[n].pods[0] for n, p in places.items() if 0 in self.machines[n].pods}
        self.models = {k: m for machine in self.machines.values() for k, m in machine.models.items()}
        self.replicas = max(places.values(), default=-1) + 1
        running = [self.models[pod.release.model] for pod in self.pods.values() if pod.release.model in self.models]
        wanted = [machine.model for machine in reversed(self.machines.values())]
        # Who replaces its model waits for the batch: until then it has what the former one says.
        extensions = {e.name: e for model in (*running, *wanted) for e in model.extensions}
        self.model = Model("", "", "", extensions=tuple(extensions.values()))

    def live(self) -> None:
        self.gather()
        for machine in self.machines.values():
            machine.live()
        self.gather()
        self._tell()

    def view(self) -> SetView:
        self.gather()
        names = {place: name for name, place in self.places().items()}
        models = dict(self.models)
        return replace(super().view(), replicas=len(names), model=None, models=models, names=names, is_group=True)

    def decide(self, view: SetView) -> d.Decision:
        return decide_group(view, self.now)

    def carry_out(self, decided: Decided, crash_after: int | None = None) -> bool:
        done = super().carry_out(decided, crash_after)
        self.gather()
        return done

    @property
    def shown_mode(self) -> UpgradeMode:
        automatic = any(m.shown_mode is UpgradeMode.AUTOMATIC for m in self.machines.values())
        return UpgradeMode.AUTOMATIC if automatic else UpgradeMode.ROLLING

    def _stamp(self) -> object:
        return (self.uid, self.generation, self.policy, self.deleting, self.status)

    def _instances(self) -> dict[int, Instance]:
        found = {}
        for name, place in self.places().items():
            for instance in self.machines[name]._instances().values():
                found[place] = replace(instance, ordinal=place)
        return found

    def _act(self, action: d.Action) -> None:
        assert isinstance(action, d.PatchExtension), action
        name = next((n for n, p in self.places().items() if p == action.ordinal), "")
        if name in self.machines:
            self.machines[name]._act(replace(action, ordinal=0))
