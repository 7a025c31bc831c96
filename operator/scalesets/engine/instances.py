"""Keeping instances there: scale out and in, self-healing, labels (docs/rules.md, "Trouble" and "The model").

Members of a running batch are the upgrade's (working.py); everything else is decided here. A missing instance comes
back as its record says, a new one gets the latest allowed release. Nothing here waits: what is not possible yet is
looked at again.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from scalesets.engine import releases, scopes
from scalesets.engine.census import Census
from scalesets.engine.decision import Action, CreateInstance, DeleteClaims, DeleteInstance, LabelInstance
from scalesets.engine.view import NONE, Instance, Release, SetView, Trouble, TroubleKind, UpgradeMode

LOSS_BACK_OFF = timedelta(seconds=1)
LONGEST_LOSS_BACK_OFF = timedelta(minutes=5)
"""A pod that ended is made again after 1 s, doubling up to five minutes while it keeps ending."""

MODEL_LABEL = "scalesets.dev/model"
PENDING_MARK = "scalesets.dev/pending-os-upgrade"

_OF_ONE = (
    TroubleKind.NAME_CONFLICT,
    TroubleKind.CLAIM_CONFLICT,
    TroubleKind.CLAIM_NOT_ADOPTED,
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


def tend(
    view: SetView, census: Census, members: Collection[int], now: datetime, *, target_failed: bool = False
) -> Plan:
    """Decide on every instance outside the running batch (``members``). ``target_failed``: new ones don't get the
    target of the upgrade at work any more.
    """
    plan = Plan()
    _scale_in(view, census, plan)
    fresh = releases.for_new_instance(view, now, target_failed=target_failed) if census.missing else None
    for ordinal in census.missing:
        if ordinal in members:
            continue
        known = view.status.record.get(ordinal)
        wanted = releases.for_lost_instance(view, known) if known is not None else fresh
        if wanted is None:
            plan.unresolved.append(ordinal)
        else:
            plan.add(create(view, ordinal, wanted, now))
    for instance in census.lost:
        if instance.ordinal not in members:
            plan.add(clear_away(view, instance, now))
    if view.status.current_upgrade == "" and view.wanted is None:
        _follow_model(view, census, plan)
        _mark_pending(view, census, plan)
    return plan


def create(view: SetView, ordinal: int, wanted: Release, now: datetime) -> CreateInstance | datetime:
    """Create the instance, or the time until which something holds it back."""
    times = (t.until for t in obstacles(view, ordinal, wanted) if t.until is not None and t.until > now)
    return max(times, default=None) or CreateInstance(ordinal, wanted)


def held_until(view: SetView, ordinal: int, *kinds: TroubleKind, now: datetime) -> datetime | None:
    """Until when trouble of these kinds with the instance says to wait; None: it doesn't."""
    times = (t.until for t in view.troubles if t.kind in kinds and ordinal in t.ordinals)
    return max((t for t in times if t is not None and t > now), default=None)


def obstacles(view: SetView, ordinal: int, wanted: Release) -> list[Trouble]:
    """The troubles that keep the instance's pod from coming."""
    return [
        t
        for t in view.troubles
        if (t.kind in _OF_ONE and ordinal in t.ordinals)
        or (t.kind is TroubleKind.TEMPLATE_REFUSED and t.model == wanted.model)
    ]


def clear_away(view: SetView, instance: Instance, now: datetime) -> DeleteInstance | datetime | None:
    """Delete a pod that ended, with back-off, so that it can come back; not if its data would go with it."""
    if instance.ordinal in view.claims_deleting:
        return None
    count, last = view.losses.get(instance.ordinal, (1, now - LOSS_BACK_OFF))
    back_off = min(LOSS_BACK_OFF * 2 ** min(count - 1, 16), LONGEST_LOSS_BACK_OFF)
    due = last + back_off
    return due if due > now else DeleteInstance(instance.ordinal, instance.uid, "Lost")


def label_for(instance: Instance, model: str) -> LabelInstance:
    """Show a model that differs in flags only on a pod that goes on running."""
    return LabelInstance(instance.ordinal, instance.uid, labels=((MODEL_LABEL, model),))


def _scale_in(view: SetView, census: Census, plan: Plan) -> None:
    for instance in census.beyond:
        if instance.deleting_since is None:
            plan.actions.append(DeleteInstance(instance.ordinal, instance.uid, "ScaleIn"))
    if view.delete_claims_when_scaled:
        gone = (o for o in view.spare_claims if o >= view.replicas and o not in view.instances)
        plan.actions.extend(DeleteClaims(o) for o in sorted(gone))


def _follow_model(view: SetView, census: Census, plan: Plan) -> None:
    """Mode Automatic replaces what isn't on the model, once the record says so; flags alone are a label patch (O20)."""
    model = view.model
    if model is None or view.mode is UpgradeMode.MANUAL:
        return
    for release, ordinals in census.running:
        if release.model == model.name:
            continue
        if releases.is_on_model(view, release, model):
            plan.actions.extend(label_for(view.instances[o], model.name) for o in ordinals)
        elif view.mode is UpgradeMode.AUTOMATIC:
            for ordinal in ordinals:
                intended = view.status.record.get(ordinal)
                stays = intended is None or intended.model != model.name
                if not stays and scopes.may_touch(view, census, ordinal, platform_os=False):
                    plan.actions.append(DeleteInstance(ordinal, view.instances[ordinal].uid, "ModelChanged"))


def _mark_pending(view: SetView, census: Census, plan: Plan) -> None:
    """Deferred OS upgrades show on the pods that they wait for; the mark goes when nothing waits any more."""
    waiting = next((u.status for u in view.upgrades if scopes.awaits_approval(u)), None)
    version = waiting.target.image_version if waiting is not None else ""
    due = waiting.scope if waiting is not None else NONE
    candidates = due | {i.ordinal for i in census.marked}
    for ordinal in sorted(candidates):
        instance = view.instances.get(ordinal)
        if instance is None or not instance.live:
            continue
        mark = version if ordinal in due and instance.release.image_version != version else ""
        if instance.pending_os_upgrade != mark:
            annotations = ((PENDING_MARK, mark or None),)
            plan.actions.append(LabelInstance(ordinal, instance.uid, annotations=annotations))
