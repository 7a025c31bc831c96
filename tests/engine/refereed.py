"""The simulated world under the eyes of the referee of the cluster tests (tests/referee.py): after every write and
every change of a pod it is shown what an API server would have shown it, as plain objects.

``Refereed(world)`` starts watching. Objects are made anew here, not by the operator's own writers, so that the referee
shares no code with what it judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

from engine.pods import Pod
from engine.state import Gallery
from engine.world import World
from referee import Referee
from refereeing.objects import render
from scalesets.engine.view import Batch, Release, Upgrade, UpgradeStatus

PREFIX = "scalesets.dev/"

Json = dict[str, Any]


class Refereed:
    """Feeds the referee with what changed since the last look. An object is shown again when its state differs."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.referee = Referee()
        self._known: dict[tuple[str, str], tuple[str, object, Json]] = {}  # kind, name -> UID, state, object
        world.watchers.append(self.look)
        self.look(world)

    def look(self, world: World) -> None:
        """One look at everything."""
        found = list(_all(world))
        uids = {(kind, name): uid for kind, name, uid, _, _ in found}
        for where in [w for w, (uid, _, _) in self._known.items() if uids.get(w) != uid]:  # what is gone goes first
            _, _, obj = self._known.pop(where)
            self.referee.see(where[0], "DELETED", obj, world.now)
        for kind, name, uid, state, source in found:
            self._show(kind, name, uid, state, source)

    def check(self) -> None:
        """Raise what was found, with what led to it."""
        self.look(self.world)
        self.referee.check()

    def check_rest(self, lasting: timedelta = timedelta(minutes=30)) -> None:
        """Every started upgrade has ended (I7), and from now on nothing changes any more (I9)."""
        self.look(self.world)
        self.referee.at_rest(self.world.now)
        self.world.now += timedelta(seconds=1)
        start = self.world.now
        self.world.run(lasting)
        self.referee.quiet_between(start, self.world.now)
        self.check()

    def _show(self, kind: str, name: str, uid: str, state: object, source: object) -> None:
        known = self._known.get((kind, name))
        if known is not None and known[1] == state:
            return
        obj = {
            "metadata": {"namespace": self.world.namespace, "name": name, "uid": uid},
            **_drawn(kind, source, self.world),
        }
        obj["metadata"] |= obj.pop("meta", {})
        self._known[kind, name] = (uid, state, obj)
        self.referee.see(kind, "ADDED" if known is None else "MODIFIED", obj, self.world.now)


def _all(world: World) -> Iterator[tuple[str, str, str, object, object]]:
    """Everything that is stored: kind, name, UID, what makes a change, and what it is drawn from."""
    spec = (
        world.replicas,
        world.shown_mode,
        world.policy,
        world.os_policy,
        (world.model.image, world.model.version, world.model.extensions),
        world.zones,
        world.delete_claims_when_scaled,
        world.replicas_owned,
        world.generation,
        frozenset(world.protected),
        world.deleting,
    )
    yield "ScaleSet", world.name, world.uid, (spec, id(world.status)), world
    for name, gallery in world.images.items():
        if gallery.exists:
            yield "GalleryImage", name, name, (tuple(gallery.published), gallery.seen), gallery
    for key, gallery in world.extensions.items():
        yield "Extension", key.replace("/", "-"), key, (tuple(gallery.published), gallery.seen), (key, gallery)
    for ordinal, claim in world.claims.items():
        going = ordinal in world.claims_deleting
        yield "PersistentVolumeClaim", f"data-{world.name}-{ordinal}", claim, going, (ordinal, going)
    for ordinal, pod in world.pods.items():
        ready = pod.is_ready(world.now)
        containers = [(name, c.shown(world.now).id) for name, c in pod.containers.items()]
        state = (pod.release, ready, pod.deleting_since, pod.lost, pod.pending, pod.protected, containers)
        yield "Pod", f"{world.name}-{ordinal}", pod.uid, state, (ordinal, pod)
    for upgrade in world.upgrades.values():
        yield "RollingUpgrade", upgrade.name, upgrade.uid, upgrade, upgrade


def _drawn(kind: str, source: Any, world: World) -> Json:
    match kind:
        case "ScaleSet":
            return _set(world)
        case "GalleryImage":
            return _image(source)
        case "Extension":
            return _extension(*source)
        case "PersistentVolumeClaim":
            return _claim(*source, world)
        case "Pod":
            return _pod(*source, world)
    return an_upgrade(source, scaleSet=world.name)


def _set(world: World) -> Json:
    policy, os_policy = world.policy, world.os_policy
    rolling = {
        "maxBatchInstancePercent": policy.max_batch_percent,
        "maxUnhealthyInstancePercent": policy.max_unhealthy_percent,
        "enableCrossZoneUpgrade": policy.cross_zone,
        "provisioningTimeout": f"PT{policy.provisioning_timeout.total_seconds():.0f}S",
        "healthTimeout": f"PT{policy.health_timeout.total_seconds():.0f}S",
    }
    automatic = {
        "enableAutomaticOSUpgrade": os_policy.enabled,
        "disableAutomaticRollback": os_policy.disable_roll_back,
        "useRollingUpgradePolicy": os_policy.use_rolling_policy,
    }
    when_scaled = "Delete" if world.delete_claims_when_scaled else "Retain"
    conditions = [
        {"type": c.type, "status": str(c.status), "reason": c.reason}
        for c in world.status.conditions
        if c.type in ("Progressing", "Stalled")
    ]
    meta: Json = {"generation": world.generation}
    if world.deleting:
        meta["deletionTimestamp"] = world.now.isoformat()
    if not world.replicas_owned:
        meta["managedFields"] = [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]
    return {
        "kind": world.kind,
        "meta": meta,
        "spec": {
            "replicas": world.replicas,
            "zones": list(world.zones),
            "updateDomains": world.update_domains,
            "location": world.location,
            "imageReference": {"galleryImage": world.model.image, "version": world.model.version},
            "extensions": [
                {
                    "name": e.name,
                    "publisher": e.key.partition("/")[0],
                    "type": e.key.partition("/")[2],
                    "enableAutomaticUpgrade": e.enable_automatic_upgrade,
                }
                for e in world.model.extensions
            ],
            "upgradePolicy": {
                "mode": world.shown_mode.value,
                "rollingUpgradePolicy": rolling,
                "automaticOSUpgradePolicy": automatic,
            },
            "persistentVolumeClaimRetentionPolicy": {"whenScaled": when_scaled},
            "instanceProtection": [{"instanceId": o, "protectFromUpgrade": True} for o in sorted(world.protected)],
        },
        "status": {
            "currentUpgrade": world.status.current_upgrade,
            "instances": _groups(world.status.record) if not world.replicas_owned else [],
            "conditions": conditions,
        },
    }


def _image(gallery: Gallery) -> Json:
    versions = [
        {
            "version": p.version,
            "image": p.image,
            "excludeFromLatest": p.excluded,
            **({"publishedDate": p.published_date.isoformat()} if p.published_date else {}),
            **({"targetRegions": list(p.target_regions)} if p.target_regions is not None else {}),
        }
        for p in gallery.published
    ]
    seen = [
        {
            "version": s.version,
            "image": s.image,
            "regions": [{"name": r.name, "state": r.state.value} for r in s.regions],
        }
        for s in gallery.seen
    ]
    return {"spec": {"source": "Gallery", "versions": versions}, "status": {"versions": seen}}


def _extension(key: str, gallery: Gallery) -> Json:
    publisher, _, type_ = key.partition("/")
    drawn = _image(gallery)
    return {**drawn, "spec": {"publisher": publisher, "type": type_, "versions": drawn["spec"]["versions"]}}


def _claim(ordinal: int, going: bool, world: World) -> Json:
    meta: Json = {"labels": {f"{PREFIX}scaleset": world.name, f"{PREFIX}instance-id": str(ordinal)}}
    return {"meta": meta | ({"deletionTimestamp": "now"} if going else {})}


def _pod(ordinal: int, pod: Pod, world: World) -> Json:
    zones = world.zones
    labels = {
        f"{PREFIX}scaleset": world.name,
        f"{PREFIX}image-version": pod.release.image_version,
        f"{PREFIX}model": pod.release.model,
    }
    notes = {f"extension.{PREFIX}{name}": version for name, version in pod.release.extensions}
    notes |= {f"extension.{PREFIX}{name}.before": c.before for name, c in pod.containers.items() if c.before}
    if pod.protected:
        notes[f"{PREFIX}protect-from-upgrade"] = "true"
    meta: Json = {"labels": labels, "annotations": notes, "creationTimestamp": pod.created.isoformat()}
    if zones:
        labels[f"{PREFIX}zone"] = zones[ordinal % len(zones)]
    if pod.deleting_since is not None:
        meta["deletionTimestamp"] = pod.deleting_since.isoformat()
    ready = pod.is_ready(world.now)
    return {
        "meta": meta,
        "spec": {"volumes": [{"persistentVolumeClaim": {"claimName": f"data-{world.name}-{ordinal}"}}]},
        "status": {
            "phase": "Failed" if pod.lost else "Running",
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"name": "os", "restartCount": 0}],
            "initContainerStatuses": [
                {"name": s.name, "restartCount": world.restarts(pod, s.name), "containerID": s.container_id}
                for s in world.sidecars(pod)
            ],
        },
    }


def an_upgrade(upgrade: Upgrade, **of: str) -> Json:
    """A RollingUpgrade, of what ``of`` names."""
    spec = {**of, "type": upgrade.type.value, "startedBy": upgrade.started_by.value}
    return {"spec": spec, "status": _status(upgrade.status) if upgrade.status is not None else {}}


def _status(status: UpgradeStatus) -> Json:
    progress, target = status.progress, status.target
    reference = {"targetImageReference": {"galleryImage": target.image, "version": target.image_version}}
    return {
        "runningStatus": {"code": status.code.value},
        "scope": render(status.scope),
        "skipped": render(status.skipped),
        "targetModel": target.model,
        **(reference if target.image_version else {}),
        "progress": {
            "successfulInstanceCount": progress.successful,
            "failedInstanceCount": progress.failed,
            "inProgressInstanceCount": progress.in_progress,
            "pendingInstanceCount": progress.pending,
        },
        "targetExtensions": [
            {"name": t.name, "from": t.former, "to": t.to, "outcome": t.outcome.value} for t in status.extensions
        ],
        "waitingFor": status.waiting,
        "error": {"code": status.error_code, "message": status.error},
        "batches": [_batch(b) for b in status.batches],
    }


def _batch(batch: Batch) -> Json:
    return {
        "number": batch.number,
        "zone": batch.zone,
        "updateDomain": batch.update_domain,
        "extension": batch.extension,
        "ordinals": render(batch.members),
        "from": _groups(batch.members),
        "failed": render(batch.failed),
        "rolledBack": render(batch.rolled_back),
        "outcome": batch.outcome.value,
        **({"machines": list(batch.machines)} if batch.machines else {}),
    }


def _groups(releases: Mapping[int, Release]) -> list[Json]:
    grouped: dict[Release, list[int]] = {}
    for ordinal, release in releases.items():
        grouped.setdefault(release, []).append(ordinal)
    return [
        {
            "imageVersion": r.image_version,
            "model": r.model,
            "extensions": [{"name": name, "version": version} for name, version in r.extensions],
            "ordinals": render(o),
        }
        for r, o in grouped.items()
    ]
