"""Which instances an upgrade would take in which batch, before it is run: the engine's own answer (O8, O9b, O9c)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from scalesets.cli import whose, words
from scalesets.cli.errors import CommandError
from scalesets.cli.program import hint
from scalesets.cli.turns import Turn
from scalesets.engine import batches, checks, rolling, scopes, start
from scalesets.engine import census as counting
from scalesets.engine import extensions as engine_extensions
from scalesets.engine.batches import Choice
from scalesets.engine.census import Census
from scalesets.engine.view import (
    NONE,
    Ordinals,
    RollingPolicy,
    SetView,
    StartedBy,
    Upgrade,
    UpgradeMode,
    UpgradeStatus,
    UpgradeType,
)

PATCHING_SINCE = "1.32"
"""The first kubelet that restarts a native sidecar whose image is patched."""


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """A batch to come. ``zone`` is empty without zones, or across them; ``extension`` where instances are replaced."""

    number: int
    extension: str
    zone: str
    update_domain: int
    instances: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An instance that the upgrade would not touch although it is behind, and why."""

    instance: str
    reason: str


@dataclass(frozen=True, slots=True)
class PlanView:
    """An upgrade that is running (``upgrade`` names it) or could be: its batches to come.

    ``order`` says what else decides when and in what order: for machines their turn, or their update domains.
    """

    reference: str
    name: str
    namespace: str
    upgrade: str
    type: str
    started_by: str
    from_versions: tuple[str, ...]
    target: str
    replicas: int
    instances: int
    batch_limit: int
    batches: tuple[PlannedBatch, ...]
    left_out: tuple[LeftOut, ...]
    health_timeout: timedelta
    pause: timedelta
    rolls_back: bool
    blocked: str
    order: str = ""

    @property
    def noun(self) -> str:
        """What one of its instances is called."""
        return "instance" if self.reference == self.name else "machine"


def running(view: SetView, now: datetime) -> PlanView | None:
    """What is left of the upgrade that holds the lock, or of one that waits for approval; None when there is none."""
    upgrade = _begun(view)
    if upgrade is None or upgrade.status is None:
        return None
    return _plan(view, upgrade, scopes.trim(view, upgrade, upgrade.status, counting.take(view, now)), now)


def hypothetical(
    view: SetView,
    kind: UpgradeType,
    started_by: StartedBy,
    now: datetime,
    *,
    instances: Sequence[str] = (),
    extensions: Sequence[str] = (),
) -> PlanView:
    """An upgrade as it would begin now. A CommandError says why it can't."""
    upgrade = Upgrade("", "", now, kind, started_by, instances=tuple(instances), extensions=tuple(extensions))
    status = scopes.begin(view, upgrade, counting.take(view, now), now)
    if status.code.final:
        group = view.availability_set
        mend = hint("plan", str(whose.Named(whose.AVAILABILITY_SET, group))) if group else hint("explain", _on(view))
        raise CommandError(f"nothing to plan: {status.error} ({status.error_code})", mend=mend)
    made = _plan(view, upgrade, status, now)
    if started_by is StartedBy.USER or made.blocked:
        return made
    if not made.instances:
        return replace(made, blocked=_extensions_held(view, now)) if kind is UpgradeType.EXTENSION else made
    if view.held_back:
        return replace(made, blocked=f"it waits for its turn: {view.held_back}")
    return replace(made, blocked=_not_by_itself(view, kind, now))


def next_type(view: SetView, now: datetime) -> UpgradeType:
    """What the platform would do first: a changed model in Rolling mode, then an image, then extensions."""
    census = counting.take(view, now)

    def has_work(kind: UpgradeType) -> bool:
        return bool(scopes.begin(view, Upgrade("", "", now, kind, StartedBy.PLATFORM), census, now).scope)

    if view.names:
        return UpgradeType.EXTENSION  # machines get no others
    if view.mode is UpgradeMode.ROLLING and has_work(UpgradeType.MODEL):
        return UpgradeType.MODEL
    os_comes = view.os_policy.enabled and has_work(UpgradeType.OS_IMAGE)
    return UpgradeType.EXTENSION if not os_comes and has_work(UpgradeType.EXTENSION) else UpgradeType.OS_IMAGE


def batches_to_come(view: SetView, now: datetime) -> int | None:
    """How many batches the running upgrade has yet to begin, if all goes well; None when none runs.

    Instances that need nothing any more are counted in: to tell them takes the set's models, which displays don't read.
    """
    upgrade = _begun(view)
    if upgrade is None or upgrade.status is None:
        return None
    census = counting.take(view, now)
    return sum(len(parts) for _, parts in _visits(view, upgrade, upgrade.status, census))


def _begun(view: SetView) -> Upgrade | None:
    if view.current_upgrade is not None and not view.current_upgrade.finished:
        return view.current_upgrade
    return next((u for u in view.upgrades if u.status is not None and not u.finished), None)


Parts = list[tuple[str, Ordinals]]
"""The batches of one visit: an extension and its members each; where instances are replaced, one of no name."""


def _visits(view: SetView, upgrade: Upgrade, status: UpgradeStatus, census: Census) -> list[tuple[Choice, Parts]]:
    """The cells to come, each with its batches."""
    if upgrade.type is not UpgradeType.EXTENSION:
        pending = status.scope - checks.touched(status.batches, status.scope)
        return [(c, [("", c.members)]) for c in _choose(view, upgrade, pending, census)]
    left = dict(engine_extensions.pending(view, status, census))
    found: list[tuple[Choice, Parts]] = []
    if (going_on := engine_extensions.following(status, left)) is not None:
        last, (first, _) = status.batches[-1], going_on
        names = list(left)[list(left).index(first) :]
        here = frozenset(last.members)
        parts = [(name, members) for name in names if (members := left[name] & here)]
        left = {name: some - here if name in names else some for name, some in left.items()}
        found.append((Choice(last.zone, last.update_domain, here), parts))
    everyone = frozenset[int]().union(*left.values())
    return found + [
        (choice, [(name, members) for name, some in left.items() if (members := some & choice.members)])
        for choice in _choose(view, upgrade, everyone, census)
    ]


def _choose(view: SetView, upgrade: Upgrade, pending: Ordinals, census: Census) -> tuple[Choice, ...]:
    policy = rolling.policy_for(view, upgrade.type)
    sick_first = upgrade.type is UpgradeType.MODEL or policy.prioritize_unhealthy
    return batches.plan(
        view,
        [o for o in pending if o < view.replicas],
        limit=batches.limit(view, policy, upgrade.type),
        cross_zone=policy.cross_zone,
        unhealthy_first=census.unhealthy if sick_first else NONE,
    )


def _plan(view: SetView, upgrade: Upgrade, status: UpgradeStatus, now: datetime) -> PlanView:
    census = counting.take(view, now)
    policy = rolling.policy_for(view, upgrade.type)
    limit = batches.limit(view, policy, upgrade.type)
    visits = _visits(view, upgrade, status, census)
    coming = [(choice, name, members) for choice, parts in visits for name, members in parts]
    pending = frozenset[int]().union(*(members for _, _, members in coming))
    in_place = upgrade.type is UpgradeType.EXTENSION
    known = [census.releases[o].image_version for o in sorted(pending) if o in census.releases and not in_place]
    return PlanView(
        reference=_on(view),
        name=view.name,
        namespace=view.namespace,
        upgrade=upgrade.name,
        type=upgrade.type.value,
        started_by=upgrade.started_by.value,
        from_versions=tuple(dict.fromkeys(known)),
        target=_target(upgrade, status),
        replicas=len(view.names) or view.replicas,
        instances=len(pending),
        batch_limit=max((len(members) for _, _, members in coming), default=limit) if view.is_group else limit,
        batches=tuple(
            PlannedBatch(
                number=len(status.batches) + index,
                extension=name,
                zone="" if policy.cross_zone else choice.zone,
                update_domain=choice.update_domain,
                instances=tuple(view.instance_name(o) for o in sorted(members)),
            )
            for index, (choice, name, members) in enumerate(coming, start=1)
        ),
        left_out=tuple(LeftOut(view.instance_name(o), _why(view, o)) for o in sorted(status.skipped)),
        health_timeout=policy.health_timeout,
        pause=policy.pause,
        rolls_back=rolling.rolls_back(view, upgrade),
        blocked=_blocked(view, upgrade, census, policy, pending) if pending else "",
    )


def _target(upgrade: Upgrade, status: UpgradeStatus) -> str:
    if upgrade.type is UpgradeType.OS_IMAGE:
        return status.target.image_version
    if upgrade.type is UpgradeType.MODEL:
        return f"model {status.target.model}"
    targets = [t for t in status.extensions if t.outcome.open]
    return ", ".join(f"{t.name} {t.former + ' -> ' if t.former else ''}{t.to}" for t in targets)


def _extensions_held(view: SetView, now: datetime) -> str:
    """Why the platform leaves extensions as they are although newer versions are there; empty when none is."""
    model = view.model
    names = [e.name for e in model.extensions] if model is not None else []
    held = []
    for target in engine_extensions.targets(view, counting.take(view, now), names, now):
        extension = engine_extensions.model_extension(model, target.name)
        found = engine_extensions.automatic_upgrade(view, extension) if extension is not None else ""
        if found != engine_extensions.ENABLED:
            held.append(f"automatic upgrade of {target.name} is {found} ({target.to} is there)")
    if held:
        return f"{'; '.join(held)}; {hint('start', _on(view), '--extension', 'NAME')} begins one by hand"
    return start.choose(view, counting.take(view, now), now).message


def _not_by_itself(view: SetView, kind: UpgradeType, now: datetime) -> str:
    """Why the platform would not begin it now, in words."""
    if kind is UpgradeType.OS_IMAGE and not view.os_policy.enabled:
        return f"automatic OS image upgrades are off; {hint('start', view.name)} begins one by hand"
    if kind is UpgradeType.MODEL and view.mode is UpgradeMode.MANUAL:
        return f"in mode Manual {hint('update-instances', view.name, '--all')} begins it"
    if kind is UpgradeType.MODEL and view.mode is UpgradeMode.AUTOMATIC:
        return "in mode Automatic all instances are replaced at once, without batches"
    return start.choose(view, counting.take(view, now), now).message


def _why(view: SetView, ordinal: int) -> str:
    instance = view.instances.get(ordinal)
    if ordinal in view.protected or (instance is not None and instance.protected):
        return "protected from upgrades"
    if ordinal in view.unpatchable:
        return f"its node's kubelet is older than {PATCHING_SINCE}"
    if ordinal in view.claims_deleting:
        return "a claim of it is being deleted"
    return "not on the latest model"


def _blocked(view: SetView, upgrade: Upgrade, census: Census, policy: RollingPolicy, pending: Ordinals) -> str:
    """Why its next batch would not begin now, in words."""
    if not upgrade.instances:
        batch = upgrade.status.running_batch if upgrade.status is not None else None
        at_work = frozenset(batch.members) if batch is not None else NONE  # they may be down: their batch judges them
        ignored = pending if upgrade.type is UpgradeType.MODEL else NONE
        stop = checks.whole_set(census, policy, code=checks.BEFORE, ignored=ignored | at_work)
        if stop is not None:
            return stop.message
    if upgrade.started_by is StartedBy.USER and view.held_back:
        return f"it waits for its turn: {view.held_back}"
    if scopes.is_deferred(view, upgrade) and not scopes.approved(view, upgrade, pending):
        return f"it waits for approval: {hint('approve', view.name, '--all')}"
    return ""


def in_order(made: PlanView, view: SetView, turn: Turn | None) -> PlanView:
    """With what else decides the order, in words."""
    return replace(made, order=_turn(turn) if turn is not None else _domains(view) if view.is_group else "")


def _turn(turn: Turn) -> str:
    whose_machines = f"subscription {turn.subscription}" if turn.subscription else "the cluster's subscription"
    where = f" in {turn.location}" if turn.location else ""
    only = "" if turn.whole else " (only those of this namespace, for you may not read the others)"
    share = (
        f"of the {turn.machines} machines by themselves of {whose_machines}{where}{only} at most {turn.limit} at once"
    )
    busy = f"at work now: {words.listing(turn.busy)}" if turn.busy else "none is at work now"
    return f"Machines take turns: {share}, one zone at a time; {busy}"


def _domains(view: SetView) -> str:
    some = words.count(view.update_domains, "update domain")
    return f"One update domain at a time (it has {some}), and never all machines at once"


def _on(view: SetView) -> str:
    return whose.of_view(view)
