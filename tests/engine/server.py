"""The API server and the kubelets of a simulated set: writes are stored, or refused if their object changed since the
decision; actions are done to pods.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from engine.pods import Container, Pod
from engine.state import State
from scalesets.engine import decision as d
from scalesets.engine.view import Release, TroubleKind, Upgrade


class ConflictError(Exception):
    """The object isn't any more what the decision was made from."""


@dataclass(slots=True)
class Decided:
    """A decision, and the objects as they were when it was made: writes are fenced by them."""

    at: datetime
    decision: d.Decision
    scale_set: object
    upgrades: dict[str, Upgrade]


class Server(State):
    """Stores what was decided, and does it."""

    def _stamp(self) -> object:
        """What the set's resourceVersion stands for."""
        spec = (self.uid, self.generation, self.replicas, self.replicas_owned, self.mode, self.policy, self.os_policy)
        return (spec, self.model, frozenset(self.protected), self.deleting, self.status)

    def _tell(self) -> None:
        for watcher in self.watchers:
            watcher(self)

    def _write(self, write: d.Write, decided: Decided) -> bool:
        """Store a write; False when it is a trial that failed."""
        name = getattr(write, "name", "")
        if name and not isinstance(write, d.CreateUpgrade) and self.upgrades.get(name) != decided.upgrades.get(name):
            raise ConflictError(name)
        stored = self._store(write, decided)
        if name in self.upgrades:
            decided.upgrades[name] = self.upgrades[name]
        return stored

    def _store(self, write: d.Write, decided: Decided) -> bool:
        match write:
            case d.WriteSetStatus(status):
                if decided.scale_set != self._stamp():
                    raise ConflictError("the set")
                assert status != self.status, "a write that changes nothing"
                self.status = status
                decided.scale_set = self._stamp()
                self.status_writes += 1
            case d.CreateUpgrade(name, kind, started_by):
                self.upgrades.setdefault(name, Upgrade(name, f"uid-{name}", self.now, kind, started_by, held=True))
            case d.HoldUpgrade(name):
                assert not self.upgrades[name].held, "a write that changes nothing"
                self.upgrades[name] = replace(self.upgrades[name], held=True)
            case d.WriteUpgradeStatus(name, _, status):
                upgrade = self.upgrades[name]
                assert status != upgrade.status, "a write that changes nothing"
                assert not upgrade.finished, f"{name} is finished"
                self.upgrades[name] = replace(upgrade, status=status)
                self.status_writes += 1
            case d.ClearApprovals(name):
                assert self.upgrades[name].approved, "a write that changes nothing"
                self.upgrades[name] = replace(self.upgrades[name], approved=frozenset())
            case d.ReleaseUpgrade(name):
                upgrade = replace(self.upgrades[name], held=False)
                if upgrade.deleting:
                    del self.upgrades[name]
                else:
                    self.upgrades[name] = upgrade
            case d.DeleteUpgrade(name):
                del self.upgrades[name]
            case d.DryRun(ordinal, release):
                return self._dry_run(ordinal, release)
            case d.Preflight(model):
                if self.missing_secrets and (not self.missing_for or model in self.missing_for):
                    self.troubles.note(TroubleKind.PREFLIGHT, self.missing_secrets, self.now, model=model)
                    return False
                self.troubles.clear(TroubleKind.PREFLIGHT, model=model)
                return True
        self.writes += 1
        return True

    def _dry_run(self, ordinal: int, release: Release) -> bool:
        if missing := self._missing_image(release):
            self.troubles.note(TroubleKind.IMAGE_MISSING, missing, self.now, ordinal=ordinal)
            return False
        if release.model in self.refused:
            self.troubles.note(TroubleKind.TEMPLATE_REFUSED, "spec.x: Invalid value", self.now, model=release.model)
            return False
        self.troubles.clear(TroubleKind.TEMPLATE_REFUSED, model=release.model)
        return True

    def _missing_image(self, release: Release) -> str:
        model = self.models[release.model]
        wanted = [(self.images, model.image, release.image_version)]
        installed = dict(release.extensions)
        wanted += [(self.extensions, e.key, installed.get(e.name, "")) for e in model.extensions]
        for galleries, key, version in wanted:
            gallery = galleries.get(key)
            if gallery is None or not gallery.exists or version not in {s.version for s in gallery.seen}:
                return f"no image is known for {key} {version}"
        unknown = [f"{name}:{version}" for name, version in release.extensions]
        return next((f"no image is known for {what}" for what in unknown if what in self.unknown_images), "")

    def _act(self, action: d.Action) -> None:
        match action:
            case d.CreateInstance(ordinal, release):
                if ordinal not in self.pods and not self.deleting:
                    self._create(ordinal, release)
                if ordinal in self.pods:
                    self._learn(ordinal)
            case d.DeleteInstance(ordinal, uid):
                if ordinal in self.pods and self.pods[ordinal].uid == uid:
                    self._delete(ordinal)
                self._learn(ordinal, uid)
            case d.LabelInstance(ordinal, uid, labels, annotations):
                pod = self.pods.get(ordinal)
                if pod is not None and pod.uid == uid:
                    for key, value in labels:
                        assert key == "scalesets.dev/model"
                        pod.release = replace(pod.release, model=value)
                    for key, mark in annotations:
                        assert key == "scalesets.dev/pending-os-upgrade"
                        pod.pending = mark or ""
                self._learn(ordinal, uid)
            case d.PatchExtension(ordinal, uid):
                pod = self.pods.get(ordinal)
                if f"{action.name}:{action.version}" in self.unknown_images:
                    self.patches_in_vain += 1
                    self.troubles.note(TroubleKind.IMAGE_MISSING, "no image is known", self.now, ordinal=ordinal)
                elif pod is not None and pod.uid == uid:
                    self._patch(pod, action)
                    self.patches.append((self.now, ordinal, action.name, action.version))
                self._learn(ordinal, uid)
            case d.DeleteClaims(ordinal):
                if ordinal >= self.replicas:  # a fresh look says that it is still wanted
                    assert ordinal not in self.pods, "a claim is deleted before its pod is gone"
                    self.claims.pop(ordinal, None)

    def _create(self, ordinal: int, release: Release) -> None:
        if ordinal in self.claims_deleting:
            return
        if missing := self._missing_image(release):
            self.troubles.note(TroubleKind.IMAGE_MISSING, missing, self.now, ordinal=ordinal)
            return
        self.claims.setdefault(ordinal, f"claim-{next(self._ids)}")
        if self.quota_full:
            self.troubles.note(TroubleKind.QUOTA, "exceeded quota: pods", self.now, ordinal=ordinal)
            return
        if release.model in self.refused:
            self.troubles.note(TroubleKind.TEMPLATE_REFUSED, "spec.x: Invalid value", self.now, model=release.model)
            return
        self.troubles.clear(*TroubleKind, ordinal=ordinal)
        self.troubles.clear(TroubleKind.TEMPLATE_REFUSED, model=release.model)
        named = {release.image_version, release.model, *(f"{n}:{v}" for n, v in release.extensions)}
        fails = bool(named & self.failing)
        ready_at = None if fails or named & self.bad else self.now + 2 * self.boot
        self.pods[ordinal] = Pod(f"pod-{next(self._ids)}", release, self.now, ready_at, fails)

    def _delete(self, ordinal: int) -> None:
        pod = self.pods[ordinal]
        if pod.deleting_since is None:
            pod.deleting_since = self.now
            pod.gone_at = self.now + self.stop

    def _patch(self, pod: Pod, action: d.PatchExtension) -> None:
        """A kubelet takes note of a patch after a moment, and shows the new container as well for a moment more."""
        former = pod.containers.get(action.name) or Container(
            self._first_id(pod, action.name), False, pod.created + self.boot, pod.created + self.boot
        )
        extensions = tuple((n, action.version if n == action.name else v) for n, v in pod.release.extensions)
        pod.release = replace(pod.release, extensions=extensions)
        from_ = self.now + self.notice
        unmade = f"{action.name}:{action.version}" in self.unmade
        pod.containers[action.name] = Container(
            former.id if unmade else f"{pod.uid}/{action.name}/{next(self._ids)}",
            f"{action.name}:{action.version}" in self.bad,
            from_,
            from_ + self.pretence,
            action.before,
            replace(former, former=None),
            former.restarts + (not unmade),
            unmade,
        )
