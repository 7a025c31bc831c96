"""Keeping instances there: scale out and in, self-healing, labels (docs/rules.md, "Trouble" and "The model").

Members of a running batch are the upgrade's (rolling.py); everything else is decided here. A missing instance comes
back as its record says, a new one gets the latest allowed release. Nothing here waits: what is not possible yet is
looked at again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from scalesets.engine import releases
from scalesets.engine.census import Census
from scalesets.engine.decision import Action, CreateInstance, DeleteClaims, DeleteInstance, LabelInstance
from scalesets.engine.view import Instance, Release, SetView, TroubleKind, UpgradeMode, UpgradeStatus

LOSS_BACK_OFF = timedelta(seconds=1)
LONGEST_LOSS_BACK_OFF = timedelta(minutes=5)
"""A pod that ended is made again after 1 s, doubling up to five minutes while it keeps ending."""

WAITING_FOR_APPROVAL = "WaitingForApproval"

_HOLDS_ONE = (
    TroubleKind.NAME_CONFLICT,
    TroubleKind.CLAIM_CONFLICT,
    TroubleKind.QUOTA,
    TroubleKind.CREATE_FAILED,
    TroubleKind.IMAGE_MISSING,
)


@dataclass(slots=True)
class Plan:
    """What to do with instances now, when time alone changes that, and which can't be made yet for want of an image."""

    actions: list[Action] = field(default_factory=list)
    look_again: list[datetime] = field(default_factory=list)
    unresolved: list[int] = field(default_factory=list)

    def add(self, action: Action | datetime | None) -> None:
        """Take an action, or the time until which one is held."""
        if isinstance(action, datetime):
            self.look_again.append(action)
        elif action is not None:
            self.actions.append(action)


def tend(view: SetView, census: Census, members: Collection[int], now: datetime) -> Plan:
    """Decide on every instance outside the running batch (``members``)."""
    plan = Plan()
    _scale_in(view, plan)
    fresh = releases.for_new_instance(view, now) if len(census.releases) < view.replicas else None
    for ordinal in range(view.replicas):
        if ordinal in members:
            continue
        instance = view.instances.get(ordinal)
        if instance is None:
            known = view.status.record.get(ordinal)
            wanted = releases.for_lost_instance(view, known) if known is not None else fresh
            if wanted is None:
                plan.unresolved.append(ordinal)
            else:
                plan.add(create(view, ordinal, wanted, now))
        elif instance.lost and instance.deleting_since is None:
            plan.add(clear_away(view, instance, now))
    if view.status.current_upgrade == "":
        _follow_model(view, members, plan)
        _mark_pending(view, plan)
    return plan


def create(view: SetView, ordinal: int, wanted: Release, now: datetime) -> CreateInstance | datetime:
    """Create the instance, or the time until which something holds it back."""
    until = _held_until(view, ordinal, wanted, now)
    return until if until is not None else CreateInstance(ordinal, wanted)


def clear_away(view: SetView, instance: Instance, now: datetime) -> DeleteInstance | datetime:
    """Delete a pod that ended, with back-off, so that it can come back."""
    count, last = view.losses.get(instance.ordinal, (1, now - LOSS_BACK_OFF))
    back_off = min(LOSS_BACK_OFF * 2 ** min(count - 1, 16), LONGEST_LOSS_BACK_OFF)
    due = last + back_off
    return due if due > now else DeleteInstance(instance.ordinal, instance.uid, "Lost")


def label_for(instance: Instance, wanted: Release) -> LabelInstance:
    """Show a model that differs in flags only on a pod that goes on running."""
    return LabelInstance(instance.ordinal, instance.uid, labels=(("scalesets.dev/model", wanted.model),))


def _held_until(view: SetView, ordinal: int, wanted: Release, now: datetime) -> datetime | None:
    for trouble in view.troubles:
        if trouble.until is None or trouble.until <= now:
            continue
        if trouble.kind is TroubleKind.TEMPLATE_REFUSED and trouble.model == wanted.model:
            return trouble.until
        if trouble.kind in _HOLDS_ONE and ordinal in trouble.ordinals:
            return trouble.until
    return None


def _scale_in(view: SetView, plan: Plan) -> None:
    for ordinal, instance in view.instances.items():
        if ordinal >= view.replicas and instance.deleting_since is None:
            plan.actions.append(DeleteInstance(ordinal, instance.uid, "ScaleIn"))
    if view.delete_claims_when_scaled:
        gone = (o for o in view.spare_claims if o >= view.replicas and o not in view.instances)
        plan.actions.extend(DeleteClaims(o) for o in sorted(gone))


def _follow_model(view: SetView, members: Collection[int], plan: Plan) -> None:
    """Mode Automatic replaces what isn't on the model, once the record says so; flags alone are a label patch (O20)."""
    model = view.model
    if model is None or view.mode is UpgradeMode.MANUAL:
        return
    for ordinal, instance in view.instances.items():
        if ordinal >= view.replicas or ordinal in members or not instance.live or instance.release.model == model.name:
            continue
        if releases.is_on_model(view, instance.release, model):
            plan.actions.append(LabelInstance(ordinal, instance.uid, labels=(("scalesets.dev/model", model.name),)))
        elif view.mode is UpgradeMode.AUTOMATIC:
            recorded = view.status.record.get(ordinal)
            replaceable = ordinal not in view.claims_deleting and not is_protected(view, ordinal)
            if recorded is not None and recorded.model == model.name and replaceable:
                plan.actions.append(DeleteInstance(ordinal, instance.uid, "ModelChanged"))


def is_protected(view: SetView, ordinal: int) -> bool:
    """Kept out of upgrades, by the spec or by the pod's annotation."""
    instance = view.instances.get(ordinal)
    return ordinal in view.protected or (instance is not None and instance.protected)


def _mark_pending(view: SetView, plan: Plan) -> None:
    """Deferred OS upgrades show on the pods that they wait for; the mark goes when nothing waits any more."""
    waiting = next((u for u in view.upgrades if _awaits_approval(u.status)), None)
    due = waiting.status if waiting is not None else None
    for ordinal, instance in view.instances.items():
        if not instance.live:
            continue
        version = due.target.image_version if due is not None and ordinal in due.scope else ""
        if instance.release.image_version == version:
            version = ""
        if instance.pending_os_upgrade != version:
            mark = (("scalesets.dev/pending-os-upgrade", version or None),)
            plan.actions.append(LabelInstance(ordinal, instance.uid, annotations=mark))


def _awaits_approval(status: UpgradeStatus | None) -> bool:
    return status is not None and not status.code.final and status.waiting == WAITING_FOR_APPROVAL
