"""A scale set, machine or availability set at a glance: how it is, what is being done to it, and what that waits for
(``status``).

Progress in the running batch is counted from the pods as they are now: the upgrade's status is written once a batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from scalesets.cli import words
from scalesets.cli.errors import CommandError
from scalesets.cli.fields import ConditionView, Obj, at, condition, image_reference, name_of, number, text, when
from scalesets.cli.program import hint
from scalesets.cli.snapshot import Snapshot
from scalesets.cli.surroundings import Surroundings, engine_view
from scalesets.cli.views import goals, instances, plan, upgrades
from scalesets.cli.views.instances import InstanceView, Standing
from scalesets.cli.views.upgrades import UpgradeView

HOLDS = {
    "PauseBetweenBatches": "the pause between batches",
    upgrades.WAITING_FOR_APPROVAL: "approval",
    "TemplateRefused": "a template that the API server takes",
    "ZoneClosed": "its zone",
    "WaitingForTurn": "its turn",
}
"""What an upgrade between two batches waits for, by its reason; its message says until when, or why."""


@dataclass(frozen=True, slots=True)
class CellView:
    """The instances of one zone and update domain."""

    zone: str
    update_domain: int
    standings: tuple[Standing, ...]
    ready: int
    upgraded: int

    @property
    def instances(self) -> int:
        """How many there are."""
        return len(self.standings)


@dataclass(frozen=True, slots=True)
class ProgressView:
    """Instances of the upgrade by where they are now; they sum to its scope."""

    done: int
    working: int
    failed: int
    pending: int

    @property
    def total(self) -> int:
        """The scope."""
        return self.done + self.working + self.failed + self.pending


@dataclass(frozen=True, slots=True)
class HealthView:
    """What the set's conditions say in sum: ``word`` is Ready, Reconciling, Stalled, NotReady, Deleting or Unknown."""

    word: str
    message: str


@dataclass(frozen=True, slots=True)
class LastUpgradeView:
    """How the last OS upgrade ended; ``empty`` when it had nothing to do."""

    name: str
    version: str
    outcome: str
    reason: str
    completed: datetime | None
    empty: bool


@dataclass(frozen=True, slots=True)
class InstalledView:
    """An installed extension: its version, whether it is upgraded automatically, and how the last upgrade ended."""

    name: str
    version: str
    automatic_upgrade: str
    last_version: str
    last_outcome: str
    last_completed: datetime | None
    retry: datetime | None


@dataclass(frozen=True, slots=True)
class WaitView:
    """One thing that is waited for, in words, and since when where that is known."""

    what: str
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class StatusView:
    """All that ``status`` shows. ``kind`` is ScaleSet, VirtualMachine or AvailabilitySet; of the last two ``machines``
    names the instances by their places.
    """

    kind: str
    reference: str
    name: str
    namespace: str
    image: str
    version: str
    wanted_version: str
    mode: str
    location: str
    replicas: int
    ready: int
    upgraded: int
    latest_model: int
    health: HealthView
    upgrade: UpgradeView | None
    progress: ProgressView | None
    batches_to_come: int | None
    waiting_for: tuple[WaitView, ...]
    queued: tuple[str, ...]
    last: LastUpgradeView | None
    extensions: tuple[InstalledView, ...]
    cells: tuple[CellView, ...]
    machines: Mapping[int, str]
    availability_set: str
    update_domain: int
    now: datetime
    lost: str

    @property
    def noun(self) -> str:
        """What one of its instances is called."""
        return "machine" if self.machines else "instance"

    def names(self, members: Iterable[int]) -> list[str]:
        """The names of instances, in order."""
        return [self.machines.get(o) or f"{self.name}-{o}" for o in sorted(members)]


def read(snapshot: Snapshot) -> StatusView:
    """The status of a set as it is now."""
    scale_set = snapshot.scale_set
    running = snapshot.running_upgrade
    upgrade = upgrades.read(running) if running is not None else None
    everyone = instances.read(snapshot)
    wanted = goals.of(scale_set, upgrade)
    there = snapshot.ordinals
    own = [i for i in everyone if i.ordinal in there]
    version = wanted.image_version or text(scale_set, "status.imageVersion")
    model = text(scale_set, "status.currentModel")
    return StatusView(
        kind=snapshot.whose.owner.kind.kind if snapshot.whose is not None else "ScaleSet",
        reference=snapshot.reference,
        name=snapshot.name,
        namespace=snapshot.namespace,
        image=image_reference(at(scale_set, "spec.imageReference", {})),
        version=version,
        wanted_version=text(scale_set, "spec.imageReference.version", "latest"),
        mode=text(scale_set, "spec.upgradePolicy.mode", "Rolling"),
        location=text(scale_set, "status.location", text(scale_set, "spec.location")),
        replicas=len(there),
        ready=sum(i.healthy for i in own),
        upgraded=sum(i.image_version == version for i in own if version),
        latest_model=sum(i.model == model for i in own if model),
        health=health(scale_set),
        upgrade=upgrade,
        progress=progress(upgrade, everyone) if upgrade is not None and upgrade.code else None,
        batches_to_come=_batches_to_come(snapshot) if upgrade is not None else None,
        waiting_for=tuple(_waiting_for(snapshot, upgrade, everyone)),
        queued=tuple(name_of(u) for u in snapshot.waiting_upgrades),
        last=_last(snapshot),
        extensions=tuple(_installed(e) for e in at(scale_set, "status.extensions", [])),
        cells=cells(own),
        machines=snapshot.names,
        availability_set=text(scale_set, "spec.availabilitySet"),
        update_domain=number(scale_set, "status.updateDomain"),
        now=snapshot.now,
        lost=snapshot.lost,
    )


def health(scale_set: Obj) -> HealthView:
    """The set's conditions in one word (kstatus), and the message of the one that decides."""
    if at(scale_set, "metadata.deletionTimestamp"):
        return HealthView("Deleting", "")
    if number(scale_set, "status.observedGeneration") == 0:
        return HealthView("Unknown", "no operator has looked at it yet")
    if number(scale_set, "status.observedGeneration") < number(scale_set, "metadata.generation"):
        return HealthView("Unknown", "the operator has not seen the last change yet")
    for type_ in ("Stalled", "Reconciling"):
        found = condition(scale_set, type_)
        if found is not None and found.true:
            return HealthView(type_, _said(found))
    ready = condition(scale_set, "Ready")
    if ready is None:
        return HealthView("Unknown", "")
    return HealthView("Ready" if ready.true else "NotReady", "" if ready.true else _said(ready))


def progress(upgrade: UpgradeView, everyone: tuple[InstanceView, ...]) -> ProgressView:
    """Counts of the upgrade's scope: settled batches by their verdict, the running one by its pods."""
    touched = upgrade.scope & {o for batch in upgrade.batches for o in batch.members}
    failed = touched & {o for b in upgrade.batches for o in b.failed | b.rolled_back | b.roll_back_failed}
    settled = {i.ordinal for i in everyone if i.standing is not Standing.WORKING}
    working = touched & (upgrade.batch.members if upgrade.batch else frozenset()) - settled - failed
    return ProgressView(len(touched - failed - working), len(working), len(failed), len(upgrade.scope - touched))


def cells(everyone: list[InstanceView]) -> tuple[CellView, ...]:
    """Instances by zone and update domain, in the order in which upgrades go through them."""
    found: dict[tuple[str, int], list[InstanceView]] = {}
    zone_order: dict[str, int] = {}
    for instance in everyone:
        zone_order.setdefault(instance.zone, len(zone_order))
        found.setdefault((instance.zone, instance.update_domain), []).append(instance)
    ordered = sorted(found.items(), key=lambda entry: (zone_order[entry[0][0]], entry[0][1]))
    return tuple(
        CellView(
            zone=zone,
            update_domain=domain,
            standings=tuple(i.standing for i in members),
            ready=sum(i.healthy for i in members),
            upgraded=sum(i.standing is Standing.UPGRADED for i in members),
        )
        for (zone, domain), members in ordered
    )


def _waiting_for(snapshot: Snapshot, upgrade: UpgradeView | None, everyone: tuple[InstanceView, ...]) -> list[WaitView]:
    lines: list[WaitView] = []
    if upgrade is None:
        lines += [WaitView(f"{name_of(u)} has not begun yet") for u in snapshot.waiting_upgrades]
        progressing = condition(snapshot.scale_set, "Progressing")
        lines += [WaitView(_said(progressing))] if progressing is not None and progressing.message else []
        return lines + by_reason([i for i in everyone if i.status == "Starting"])
    busy = [i for i in everyone if i.status in ("Upgrading", "RollingBack")]
    lines += by_reason(busy)
    if upgrade.waiting_for and (not busy or upgrade.waiting_reason):
        what = HOLDS.get(upgrade.waiting_reason)
        approval = upgrade.waiting_reason == upgrades.WAITING_FOR_APPROVAL
        how = hint("approve", snapshot.reference, "--all") if approval else upgrade.waiting_for
        lines.append(WaitView(f"{what}: {how}" if what else how))
    if upgrade.cancelling:
        stop = (
            "the end of this batch, to stop there: it was cancelled" if upgrade.batch else "its end: it was cancelled"
        )
        lines.append(WaitView(stop))
    return lines


def _said(found: ConditionView) -> str:
    """A condition in words; those of scaling say how far, and their reason which way."""
    way = {"ScalingOut": "scaling out, ", "ScalingIn": "scaling in, "}.get(found.reason, "")
    return f"{way}{found.message}" if found.message else found.reason


def by_reason(busy: list[InstanceView]) -> list[WaitView]:
    """One per reason, in the order of the instances: ``web-3 and web-8: os is not ready``."""
    groups: dict[tuple[bool, str], list[InstanceView]] = {}
    for instance in busy:
        groups.setdefault((instance.status == "RollingBack", instance.detail or instance.status), []).append(instance)
    lines = []
    for (back, detail), members in groups.items():
        oldest = min((i.since for i in members if i.since and not i.healthy), default=None)
        what = f"{words.listing([i.name for i in members])}: {'put back; ' if back else ''}{detail}"
        lines.append(WaitView(what, oldest))
    return lines


def _batches_to_come(snapshot: Snapshot) -> int | None:
    """How many batches the running upgrade has yet to begin; it is no reason to show nothing if that can't be told."""
    try:
        return plan.batches_to_come(engine_view(Surroundings(snapshot)), snapshot.now)
    except CommandError:
        return None


def _installed(extension: Obj) -> InstalledView:
    return InstalledView(
        name=text(extension, "name"),
        version=text(extension, "version"),
        automatic_upgrade=text(extension, "automaticUpgrade"),
        last_version=text(extension, "lastUpgrade.version"),
        last_outcome=text(extension, "lastUpgrade.outcome"),
        last_completed=when(extension, "lastUpgrade.completedTime"),
        retry=when(extension, "lastUpgrade.retryTime"),
    )


def _last(snapshot: Snapshot) -> LastUpgradeView | None:
    last = at(snapshot.scale_set, "status.lastOSUpgrade")
    if not last:
        return None
    known = next((upgrades.read(u) for u in snapshot.upgrades if name_of(u) == text(last, "name")), None)
    return LastUpgradeView(
        name=text(last, "name"),
        version=text(last, "version"),
        outcome=text(last, "outcome"),
        reason=text(last, "reason"),
        completed=when(last, "completedTime"),
        empty=known is not None and known.empty,
    )
