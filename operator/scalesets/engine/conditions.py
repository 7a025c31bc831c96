"""The conditions of a ScaleSet, in the terms of kstatus (docs/api.md, "ScaleSet").

Ready: every instance exists and has been up, or is in a batch; the unhealthy ones are within the limit; the model is
applied. Reconciling: the set works towards its spec. Stalled: only the user can go on. Progressing: what it does or
waits for, in words. Messages carry no counters, so that they change only when the situation does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime

from scalesets.engine import eligibility, ordinals, releases, scopes, words
from scalesets.engine.census import Census, exceeds
from scalesets.engine.start import Start, is_model_blocked
from scalesets.engine.view import (
    Code,
    Condition,
    SetStatus,
    SetView,
    Trouble,
    TroubleKind,
    Upgrade,
    UpgradeMode,
    UpgradeType,
)

Words = tuple[str, str]
"""A reason in CamelCase and a message."""

EXTENSION_NOT_FOUND = "ExtensionNotFound"
CONFIG_ERROR = "CreateContainerConfigError"
"""A container that misses a Secret or ConfigMap: only somebody else's doing lets it start."""
MENDED_BY_OTHERS = (EXTENSION_NOT_FOUND, TroubleKind.ZONES_UNKNOWN.value, TroubleKind.MODEL_NOT_STORED.value)
"""The problems of a model that pass without another spec."""


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
    stalled = _stalled(view, work)
    sick = _too_many_unhealthy(view, census, members)
    not_ready = stalled or work or sick
    found = [
        Condition("Ready", not_ready is None, *(not_ready or ("Ready", ""))),
        Condition("Reconciling", stalled is None and work is not None, *(work or ("Reconciled", ""))),
        Condition("Stalled", stalled is not None, *(stalled or ("NotStalled", ""))),
        _progressing(upgrade, start, work),
    ]
    if not view.names:  # machines get no automatic OS upgrade
        found.append(_eligible(view, now))
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
    if view.is_group:
        return None  # each machine says what it has to do
    if unresolved:
        return _why_unresolved(view, now)
    if census.beyond:
        return "ScalingIn", f"down to {view.replicas} instances"
    missing = [o for o in census.missing if o not in members]
    if any(i.ordinal not in members for i in census.young) and (found := eligibility.has_current_resources(view, now)):
        return found.reason, found.message
    if any(o not in census.absent for o in missing) or any(i.ordinal not in members for i in census.young):
        why = words.failure(view, [i.ordinal for i in census.young if CONFIG_ERROR in i.failure])
        return "ScalingOut", f"up to {view.replicas} instances" + (f"; {why}" if why else "")
    if missing:
        return "RestoringInstances", "lost instances come back"
    model = view.model
    if model is None or view.mode is UpgradeMode.MANUAL:
        return None
    at_work = upgrade is not None and upgrade.type is UpgradeType.MODEL
    behind = census.where(lambda release: not releases.is_on_model(view, release, model))
    found = eligibility.has_current_resources(view, now) if behind and not at_work else None
    if found is not None:
        return found.reason, found.message
    if at_work or any(o not in members and scopes.may_touch(view, census, o, platform_os=False) for o in behind):
        return "ModelUpgrade", f"instances are being brought to model {model.name}"
    return None


def _why_unresolved(view: SetView, now: datetime) -> Words:
    for check in eligibility.NEW_INSTANCE:
        if found := check(view, now):
            return found.reason, found.message
    model = view.model
    avoid = view.status.faulted_os_versions
    if model is not None and avoid and releases.allowed_version(view, model, now, avoid=avoid) is None:
        versions = ", ".join(avoid)
        return "NoVersionAvailable", f"every version that may be used has failed on this set ({versions})"
    why = releases.why_not_installable(view, model, now) if model is not None else ""
    return EXTENSION_NOT_FOUND, why


def _stalled(view: SetView, work: Words | None) -> Words | None:
    """Why only a change of this object lets it go on; what others have to provide is Reconciling."""
    if view.model is None and view.model_problem[0]:
        return None if view.model_problem[0] in MENDED_BY_OTHERS else view.model_problem
    last = view.status.last_model_upgrade
    if last is not None and is_model_blocked(view) and view.mode is UpgradeMode.ROLLING:
        if last.outcome is Code.CANCELLED:
            return "ModelUpgradeCancelled", f"{last.name} was cancelled; change the model or start a Model upgrade"
        return "ModelUpgradeFaulted", f"{last.name}: {last.code}; change the model or start a Model upgrade"
    for trouble in view.troubles if work is not None and view.model is not None else ():
        if trouble.kind is TroubleKind.TEMPLATE_REFUSED and view.model is not None and trouble.model == view.model.name:
            return trouble.kind.value, trouble.message
    return None


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
        words = f"{upgrade.name}: {scopes.target_words(upgrade.type, status)}"
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
    of_types = (status.last_os_upgrade, status.last_model_upgrade, *status.last_extension_upgrades.values())
    known = [u for u in of_types if u is not None]
    if known:
        last = max(known, key=lambda u: u.completed)
        why = f": {last.code}: {last.reason}" if last.code else ""
        done = last.outcome is Code.COMPLETED
        yield Condition("LastUpgradeSucceeded", done, last.outcome.value, f"{last.name}{why}")


def _left_out(view: SetView, census: Census) -> Iterable[Condition]:
    """Instances that upgrades leave alone, by name: they never block an upgrade from completing."""
    parts = []
    if census.protected:
        parts.append(f"protected from upgrades: {_names(view, census.protected)}")
    if dying := view.claims_deleting.intersection(census.releases):
        parts.append(f"a claim is being deleted: {_names(view, dying)}")
    if view.unpatchable:
        parts.append(
            "on nodes whose kubelet is older than 1.32, which don't restart a patched extension: "
            f"{_names(view, view.unpatchable)}"
        )
    model = view.model
    if view.mode is UpgradeMode.MANUAL and model is not None:
        old = census.where(lambda release: release.model != model.name)
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
    if view.names:
        return ", ".join(view.instance_name(o) for o in sorted(some))
    return f"{view.name}-{{{ordinals.render(some)}}}"
