"""The instances of a set, or machines, one by one: what each runs, how it is, and where it stands in the upgrade at
work.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum

from scalesets.cli.fields import (
    Obj,
    annotations_of,
    at,
    label,
    name_of,
    number,
    text,
    when,
)
from scalesets.cli.snapshot import Snapshot
from scalesets.cli.views import goals, pods, sidecars, upgrades
from scalesets.cli.views.goals import Goal
from scalesets.cli.views.pods import PodState
from scalesets.cli.views.upgrades import BatchView, UpgradeView
from scalesets.engine import ordinals, placement
from scalesets.kube import times
from scalesets.kube.names import (
    ANNOTATION_PENDING,
    ANNOTATION_PROTECT,
    LABEL_IMAGE_VERSION,
    LABEL_MODEL,
)


class Standing(Enum):
    """What an instance counts as in the picture of the set."""

    UPGRADED = "Upgraded"  # healthy, and on what the set is on or moves to
    WORKING = "InProgress"  # starting, or taken down by the running batch and not yet healthy again
    UNHEALTHY = "Unhealthy"  # not healthy, and not because of the running batch
    PENDING = "Pending"  # healthy, on something older


@dataclass(frozen=True, slots=True)
class InstanceView:
    """One instance, with or without a pod.

    ``status`` is where it is in an upgrade, else the pod's state, which ``pod`` has in any case; ``detail`` says why.
    """

    name: str
    ordinal: int
    zone: str
    update_domain: int
    image_version: str
    model: str
    extensions: Mapping[str, str]
    status: str
    pod: str
    detail: str
    standing: Standing
    healthy: bool
    since: datetime | None
    created: datetime | None
    restarts: int
    node: str
    ip: str
    batch: int | None
    protected: bool
    notes: tuple[str, ...]


def read(snapshot: Snapshot) -> tuple[InstanceView, ...]:
    """All instances by ordinal: those that should be there, and those with a pod that should not."""
    scale_set = snapshot.scale_set
    running = snapshot.running_upgrade
    upgrade = upgrades.read(running) if running is not None else None
    by_ordinal = snapshot.pods_by_ordinal()
    wanted = frozenset(snapshot.ordinals)
    everyone = sorted({*wanted, *by_ordinal})
    record = _record(scale_set)
    look = _Look(
        scale_set=scale_set,
        upgrade=upgrade,
        goal=goals.of(scale_set, upgrade),
        failed=_failed(snapshot),
        new_since=snapshot.now - health_timeout(scale_set),
        protected=protected(scale_set),
        wanted=wanted,
        names=snapshot.names,
        now=snapshot.now,
    )
    return tuple(look.at(ordinal, by_ordinal.get(ordinal), record.get(ordinal)) for ordinal in everyone)


def zones(scale_set: Obj) -> tuple[str, ...]:
    """The set's zones; empty without any."""
    return tuple(str(zone) for zone in at(scale_set, "spec.zones", []))


def update_domains(scale_set: Obj) -> int:
    """The number of update domains in each zone."""
    return max(number(scale_set, "spec.updateDomains", 5), 1)


def protected(scale_set: Obj) -> frozenset[int]:
    """The instances that spec.instanceProtection keeps out of upgrades."""
    entries = at(scale_set, "spec.instanceProtection", [])
    return frozenset(number(e, "instanceId", -1) for e in entries if at(e, "protectFromUpgrade"))


@dataclass(frozen=True, slots=True)
class _Look:
    scale_set: Obj
    upgrade: UpgradeView | None
    goal: Goal
    failed: Mapping[int, str]  # by the newest upgrade that touched it: its name
    new_since: datetime  # who is younger may be starting still
    protected: frozenset[int]
    wanted: frozenset[int]
    names: Mapping[int, str]  # of machines
    now: datetime

    def at(self, ordinal: int, pod: Obj | None, recorded: Obj | None) -> InstanceView:
        state = self._state(ordinal, pod)
        version = label(pod, LABEL_IMAGE_VERSION) if pod else text(recorded, "imageVersion")
        model = label(pod, LABEL_MODEL) if pod else text(recorded, "model")
        extensions = sidecars.installed(pod) if pod else _recorded_extensions(recorded)
        healthy = state.word == "Ready"
        on_goal = self.goal.reached(version, model, extensions)
        notes = annotations_of(pod) if pod else {}
        is_protected = ordinal in self.protected or notes.get(ANNOTATION_PROTECT) == "true"
        patched = self._patch_left(ordinal, pod, extensions)
        there = on_goal if patched is None else not patched
        rolling_back = self._rolls_back(ordinal, healthy=healthy, on_goal=on_goal if patched is None else bool(patched))
        in_work = rolling_back or self._in_work(ordinal, healthy=healthy, on_goal=there)
        set_zones = zones(self.scale_set)
        return InstanceView(
            name=self._name(ordinal),
            ordinal=ordinal,
            zone=placement.zone(ordinal, set_zones),
            update_domain=number(
                self.scale_set,
                "status.updateDomain",  # of a machine in an availability set
                placement.update_domain(ordinal, set_zones, update_domains(self.scale_set)),
            ),
            image_version=version,
            model=model,
            extensions=extensions,
            status="RollingBack" if rolling_back else "Upgrading" if in_work else state.word,
            pod=state.word,
            detail=(patched or _work_left(state)) if in_work else state.detail,
            standing=self._standing(state, in_work=in_work, on_goal=on_goal, new=pod is None and recorded is None),
            healthy=healthy,
            since=state.since,
            created=when(pod, "metadata.creationTimestamp"),
            restarts=pods.restarts(pod) if pod else 0,
            node=text(pod, "spec.nodeName"),
            ip=text(pod, "status.podIP"),
            batch=self._batch_of(ordinal),
            protected=is_protected,
            notes=tuple(self._notes(ordinal, state, in_work, is_protected, notes.get(ANNOTATION_PENDING, ""))),
        )

    def _name(self, ordinal: int) -> str:
        return self.names.get(ordinal) or f"{name_of(self.scale_set)}-{ordinal}"

    def _patch_left(self, ordinal: int, pod: Obj | None, extensions: Mapping[str, str]) -> str | None:
        """What the extension of the running batch is waited for on this instance; None when that isn't the question."""
        batch = self.upgrade.batch if self.upgrade else None
        if self.upgrade is None or batch is None or not batch.extension or ordinal not in batch.members or pod is None:
            return None
        name = batch.extension
        targets = [e.to_version for e in self.upgrade.extensions if e.name == name]
        behind = any(sidecars.is_behind(extensions.get(name, ""), to) for to in targets)
        if behind and ordinal not in batch.rolled_back:
            return f"{name} not patched yet"
        if not behind and ordinal in batch.rolled_back:
            return f"{name} not patched back yet"
        return sidecars.work_left(pod, name, self.now)

    def _state(self, ordinal: int, pod: Obj | None) -> PodState:
        """The pod's state; one that failed, or takes longer than healthTimeout, isn't starting any more."""
        state = pods.describe(pod)
        late = state.since is not None and state.since < self.new_since
        if state.word == "Starting" and (late or ordinal in self.failed):
            return replace(state, word="NotReady", sick=True)
        return state

    def _standing(self, state: PodState, *, in_work: bool, on_goal: bool, new: bool) -> Standing:
        if in_work:
            return Standing.WORKING
        if state.word == "Ready":
            return Standing.UPGRADED if on_goal else Standing.PENDING
        return Standing.WORKING if new or not state.sick else Standing.UNHEALTHY

    def _in_work(self, ordinal: int, *, healthy: bool, on_goal: bool) -> bool:
        batch = self.upgrade.batch if self.upgrade else None
        if batch is None or ordinal not in batch.members or ordinal in batch.failed | batch.rolled_back:
            return False
        return not (healthy and on_goal)

    def _rolls_back(self, ordinal: int, *, healthy: bool, on_goal: bool) -> bool:
        batch = self.upgrade.batch if self.upgrade else None
        if batch is None or ordinal not in batch.rolled_back or ordinal in batch.roll_back_failed:
            return False
        return on_goal or not healthy

    def _batch_of(self, ordinal: int) -> int | None:
        if self.upgrade is None:
            return None
        return next((b.number for b in reversed(self.upgrade.batches) if ordinal in b.members), None)

    def _notes(self, ordinal: int, state: PodState, in_work: bool, is_protected: bool, pending: str) -> list[str]:
        notes: list[str] = []
        upgrade = self.upgrade
        if ordinal not in self.wanted:
            notes.append("scaled in")
        if upgrade is not None:
            own = [b for b in upgrade.batches if ordinal in b.members]
            notes += [_verdict(b, ordinal, in_work=in_work) for b in own if b is own[-1] or ordinal in b.failed]
            if not own and ordinal in upgrade.scope:
                notes.append("to come")
        elif ordinal in self.failed and state.word != "Ready":
            notes.append(f"failed in {self.failed[ordinal]}")
        if is_protected:
            notes.append("protected")
        approved = frozenset(upgrade.approved) if upgrade is not None else frozenset()
        if pending and not approved & {"*", self._name(ordinal)}:
            notes.append(f"awaits approval for {pending}")
        return notes


def health_timeout(scale_set: Obj) -> timedelta:
    """How long an instance may take to become healthy, by the set's policy."""
    try:
        return times.parse_duration(text(scale_set, "spec.upgradePolicy.rollingUpgradePolicy.healthTimeout", "PT5M"))
    except ValueError:
        return timedelta(minutes=5)


def _failed(snapshot: Snapshot) -> dict[int, str]:
    """The instances that failed in the last upgrade that touched them, with its name."""
    found: dict[int, str] = {}
    for raw in snapshot.upgrades:
        upgrade = upgrades.read(raw)
        for batch in upgrade.batches:
            for ordinal in batch.members:
                if found.get(ordinal) != upgrade.name:  # another extension of the same upgrade mends nothing
                    found.pop(ordinal, None)
            left = batch.failed - (batch.rolled_back - batch.roll_back_failed)
            found.update(dict.fromkeys(left, upgrade.name))
    return found


def _verdict(batch: BatchView, ordinal: int, *, in_work: bool) -> str:
    """What a batch did to an instance; of several extensions one may have failed on it, and another not."""
    what = f"{batch.extension} " if batch.extension else ""
    if ordinal in batch.roll_back_failed:
        return f"{what}failed in batch {batch.number}, roll-back too"
    if ordinal in batch.rolled_back:
        return f"{what}failed in batch {batch.number}, put back"
    if ordinal in batch.failed:
        return f"{what}failed in batch {batch.number}"
    return f"{what}batch {batch.number}{'' if in_work else ' done'}"


def _recorded_extensions(recorded: Obj | None) -> dict[str, str]:
    return {text(e, "name"): text(e, "version") for e in at(recorded, "extensions", [])}


def _work_left(state: PodState) -> str:
    return {"Ready": "not taken down yet", "Missing": "new pod being made"}.get(state.word, state.detail)


def _record(scale_set: Obj) -> dict[int, Obj]:
    found: dict[int, Obj] = {}
    for group in at(scale_set, "status.instances", []):
        try:
            found.update(dict.fromkeys(ordinals.parse(text(group, "ordinals")), group))
        except ValueError:
            continue
    return found
