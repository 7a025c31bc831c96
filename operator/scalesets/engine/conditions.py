"""The conditions of a ScaleSet, in the terms of kstatus (docs/api.md, "ScaleSet").

Ready: every instance exists and has been up, or is in a batch; the unhealthy ones are within the limit; the model is
applied. Reconciling: the set works towards its spec. Stalled: only the user can go on. Progressing: what it does or
waits for, in words. Messages carry no counters, so that they change only when the situation does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from scalesets.engine import eligibility, ordinals, releases, scopes
from scalesets.engine.census import Census, exceeds
from scalesets.engine.instances import is_protected
from scalesets.engine.start import Start, is_model_blocked
from scalesets.engine.view import (
    Code,
    Condition,
    SetStatus,
    SetView,
    Trouble,
    Upgrade,
    UpgradeMode,
    UpgradeType,
)

Words = tuple[str, str]
"""A reason in CamelCase and a message."""


def describe(
    view: SetView,
    status: SetStatus,
    census: Census,
    upgrade: Upgrade | None,
    start: Start,
    unresolved: Collection[int],
    now: datetime,
) -> list[Condition]:
    """All conditions as they stand now, in a fixed order."""
    members = _members(upgrade)
    work = _work_left(view, census, upgrade, members, unresolved, now)
    stalled = _stalled(view)
    sick = _too_many_unhealthy(view, census, members)
    not_ready = stalled or work or sick
    found = [
        _condition("Ready", not_ready is None, not_ready or ("Ready", "")),
        _condition("Reconciling", stalled is None and work is not None, work or ("Reconciled", "")),
        _condition("Stalled", stalled is not None, stalled or ("NotStalled", "")),
        _progressing(upgrade, start, work),
        _eligible(view, now),
    ]
    found.extend(_last_upgrade(status))
    found.extend(_left_out(view, census))
    found.extend(_notes(view))
    found.extend(_troubles(view.troubles))
    return found


def _work_left(
    view: SetView,
    census: Census,
    upgrade: Upgrade | None,
    members: Collection[int],
    unresolved: Collection[int],
    now: datetime,
) -> Words | None:
    """What the set still has to do for its spec; None when nothing."""
    if view.model is None and view.model_problem[0]:
        return view.model_problem
    if unresolved:
        return _why_unresolved(view, now)
    if any(o >= view.replicas for o in view.instances):
        return "ScalingIn", f"down to {view.replicas} instances"
    if any(o not in census.counted and o not in members for o in range(view.replicas)):
        return "ScalingOut", f"up to {view.replicas} instances"
    if any(o not in census.present and o not in members for o in range(view.replicas)):
        return "RestoringInstances", "lost instances come back"
    model = view.model
    if model is None or view.mode is UpgradeMode.MANUAL:
        return None
    for ordinal, release in census.releases.items():
        if (
            ordinal not in members
            and not releases.is_on_model(view, release, model)
            and not is_protected(view, ordinal)
        ):
            return "ModelUpgrade", f"instances are being brought to model {model.name}"
    if upgrade is not None and upgrade.type is UpgradeType.MODEL:
        return "ModelUpgrade", f"instances are being brought to model {model.name}"
    return None


def _why_unresolved(view: SetView, now: datetime) -> Words:
    for check in eligibility.NEW_INSTANCE:
        if found := check(view, now):
            return found.reason, found.message
    if view.status.faulted_os_versions:
        versions = ", ".join(view.status.faulted_os_versions)
        return "NoVersionAvailable", f"every version that may be used has failed on this set ({versions})"
    return "ExtensionNotFound", "an extension of spec.extensions has no version that can be installed"


def _stalled(view: SetView) -> Words | None:
    last = view.status.last_model_upgrade
    if last is None or not is_model_blocked(view) or view.mode is not UpgradeMode.ROLLING:
        return None
    if last.outcome is Code.CANCELLED:
        return "ModelUpgradeCancelled", f"{last.name} was cancelled; change the model or start a Model upgrade"
    return "ModelUpgradeFaulted", f"{last.name}: {last.code}; change the model or start a Model upgrade"


def _too_many_unhealthy(view: SetView, census: Census, members: Collection[int]) -> Words | None:
    sick = census.unhealthy.difference(members)
    percent = view.policy.max_unhealthy_percent
    if exceeds(len(sick), len(census.counted), percent):
        return "TooManyUnhealthy", f"more than maxUnhealthyInstancePercent={percent} of the instances are unhealthy"
    return None


def _progressing(upgrade: Upgrade | None, start: Start, work: Words | None) -> Condition:
    status = upgrade.status if upgrade is not None else None
    if upgrade is not None and not upgrade.finished:
        if status is None:
            return Condition("Progressing", True, "Starting", f"{upgrade.name} starts")
        words = f"{upgrade.name}: {scopes.target_words(upgrade.type, status.target)}"
        if status.waiting:
            return Condition("Progressing", True, status.waiting, f"{words}; {status.waiting_message}")
        return Condition("Progressing", True, status.code.value, words)
    if start.lock:
        return Condition("Progressing", True, "Starting", f"{start.lock} starts")
    if start.reason:
        return Condition("Progressing", False, start.reason, start.message)
    if work is not None:
        return Condition("Progressing", True, *work)
    return Condition("Progressing", False, "UpToDate", "nothing to do")


def _eligible(view: SetView, now: datetime) -> Condition:
    missing = eligibility.missing(view, now)
    if not missing:
        return Condition("AutomaticOSUpgradeEligible", True, "Eligible", "")
    message = "; ".join(m.message for m in missing)
    return Condition("AutomaticOSUpgradeEligible", False, missing[0].reason, message)


def _last_upgrade(status: SetStatus) -> Iterable[Condition]:
    known = [u for u in (status.last_os_upgrade, status.last_model_upgrade) if u is not None]
    if known:
        last = max(known, key=lambda u: u.completed)
        why = f": {last.code}: {last.reason}" if last.code else ""
        done = last.outcome is Code.COMPLETED
        yield Condition("LastUpgradeSucceeded", done, last.outcome.value, f"{last.name}{why}")


def _left_out(view: SetView, census: Census) -> Iterable[Condition]:
    """Instances that upgrades leave alone, by name: they never block an upgrade from completing."""
    parts = []
    if kept := [o for o in census.releases if is_protected(view, o)]:
        parts.append(f"protected from upgrades: {_names(view, kept)}")
    if dying := [o for o in census.releases if o in view.claims_deleting]:
        parts.append(f"a claim is being deleted: {_names(view, dying)}")
    model = view.model
    if view.mode is UpgradeMode.MANUAL and model is not None:
        old = [o for o, r in census.releases.items() if r.model != model.name]
        if old:
            parts.append(f"not on the latest model (kubectl scaleset update-instances): {_names(view, old)}")
    if parts:
        yield Condition("InstancesLeftOut", True, "LeftOut", "; ".join(parts))


def _notes(view: SetView) -> Iterable[Condition]:
    if not view.replicas_owned:
        message = "no field manager owns spec.replicas, so it is not scaled in; set spec.replicas or hand it to an HPA"
        yield Condition("ReplicasUnowned", True, "ReplicasUnowned", message)
    if view.zones and view.status.zones_backed is False:
        message = "no node carries the label topology.kubernetes.io/zone of these zones: they are labels only"
        yield Condition("ZonesUnbacked", True, "NoNodeInZone", message)
    if view.model is not None and view.model.slow_probe:
        message = "a readinessProbe probes less often than every two minutes; upgrades judge health slowly"
        yield Condition("HealthProbeSlow", True, "PeriodTooLong", message)


def _troubles(troubles: Collection[Trouble]) -> Iterable[Condition]:
    for kind in dict.fromkeys(t.kind for t in troubles):
        messages = dict.fromkeys(t.message for t in troubles if t.kind is kind)
        yield Condition(kind.value, True, kind.value, "; ".join(messages))


def _members(upgrade: Upgrade | None) -> Collection[int]:
    batch = upgrade.status.running_batch if upgrade is not None and upgrade.status is not None else None
    return batch.members.keys() if batch is not None else ()


def _names(view: SetView, some: Collection[int]) -> str:
    return f"{view.name}-{{{ordinals.render(some)}}}"


def _condition(kind: str, holds: bool, words: Words) -> Condition:
    return Condition(kind, holds, *words)
