"""Builders of API dicts: a scale set with its pods and upgrades at one moment, told in a few words.

a_set(replicas=20).on("1.0.0").upgrading_to("1.1.0", done=2, working=[2, 7])
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from scalesets.cli.snapshot import Snapshot
from scalesets.cli.surroundings import Surroundings
from scalesets.engine import ordinals, placement
from scalesets.kube import models

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
OLD, NEW, NEWER = "22.4.202610010", "22.4.202611010", "22.4.202612010"
MODEL, OLD_MODEL = "5f6c8d9a", "1b2c3d4e"

Obj = dict[str, Any]


def before(**ago: float) -> str:
    """The time so long before NOW, as the API writes it."""
    return (NOW - timedelta(**ago)).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_condition(type_: str, status: bool = True, reason: str = "", message: str = "", since: str = "") -> Obj:
    return {
        "type": type_,
        "status": "True" if status else "False",
        "reason": reason or type_,
        "message": message,
        "lastTransitionTime": since or before(hours=1),
    }


class Scene:
    """A set, its pods by ordinal and its upgrades; ``snapshot`` is what a command reads."""

    def __init__(
        self,
        name: str = "web",
        *,
        namespace: str = "team-a",
        replicas: int = 20,
        zones: Sequence[str] = (),
        domains: int = 5,
        mode: str = "Rolling",
    ) -> None:
        self.replicas = replicas
        self.scale_set: Obj = {
            "apiVersion": "scalesets.dev/v1alpha1",
            "kind": "ScaleSet",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": "set-uid",
                "generation": 3,
                "creationTimestamp": before(days=3),
            },
            "spec": {
                "replicas": replicas,
                "updateDomains": domains,
                "imageReference": {
                    "publisher": "Canonical",
                    "offer": "0001-com-ubuntu-server-jammy",
                    "sku": "22_04-LTS",
                    "version": "latest",
                },
                "upgradePolicy": {
                    "mode": mode,
                    "automaticOSUpgradePolicy": {"enableAutomaticOSUpgrade": True},
                },
                "template": {
                    "spec": {
                        "containers": [
                            {"name": "os", "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}}}
                        ]
                    }
                },
            },
            "status": {
                "observedGeneration": 3,
                "location": "westeurope",
                "currentModel": MODEL,
                "conditions": [a_condition("Ready")],
            },
        }
        if zones:
            self.scale_set["spec"]["zones"] = list(zones)
        self.zones = tuple(zones)
        self.domains = domains
        self.pods: dict[int, Obj] = {}
        self.upgrades: list[Obj] = []
        self.lost = ""

    @property
    def name(self) -> str:
        return str(self.scale_set["metadata"]["name"])

    @property
    def status(self) -> Obj:
        return self.scale_set["status"]

    @property
    def spec(self) -> Obj:
        return self.scale_set["spec"]

    def on(self, version: str, model: str = MODEL) -> Scene:
        """Every instance runs the version, healthy for three hours."""
        for ordinal in range(self.replicas):
            self.pods[ordinal] = self.a_pod(ordinal, version, model)
        self.status["imageVersion"] = version
        self.status["instances"] = [
            {"ordinals": ordinals.render(range(self.replicas)), "imageVersion": version, "model": model}
        ]
        return self

    def with_extensions(self, *names: str, version: str = "1.0.0", enabled: bool = True) -> Scene:
        """Every instance has these extensions, on one version; ``acme/NAME`` publishes each."""
        self.spec["extensions"] = [
            {
                "name": name,
                "publisher": "acme",
                "type": name.title(),
                "typeHandlerVersion": "1.0",
                "enableAutomaticUpgrade": enabled,
            }
            for name in names
        ]
        for name in names:
            self.installed(name, version, *self.pods)
        state = "Enabled" if enabled else "Disabled"
        self.status["extensions"] = [{"name": n, "version": version, "automaticUpgrade": state} for n in names]
        for group in self.status["instances"]:
            group["extensions"] = [{"name": n, "version": version} for n in names]
        return self

    def installed(self, name: str, version: str, *who: int, seconds: float = 3 * 3600, former: str = "") -> Scene:
        """These have the extension on the version, its container running well for so long."""
        for ordinal in who:
            pod = self.pods[ordinal]
            pod["metadata"]["annotations"][f"extension.scalesets.dev/{name}"] = version
            if former:
                pod["metadata"]["annotations"][f"extension.scalesets.dev/{name}.before"] = former
            probe = {"periodSeconds": 2}
            specs = [c for c in pod["spec"].get("initContainers", []) if c["name"] != name]
            spec = {"name": name, "restartPolicy": "Always", "startupProbe": probe, "readinessProbe": probe}
            pod["spec"]["initContainers"] = [*specs, spec]
            others = [c for c in pod["status"].get("initContainerStatuses", []) if c["name"] != name]
            running = {
                "name": name,
                "containerID": f"sim://{name}-{version}",
                "ready": True,
                "started": True,
                "restartCount": 0,
                "state": {"running": {"startedAt": before(seconds=seconds)}},
            }
            pod["status"]["initContainerStatuses"] = [*others, running]
        return self

    def sidecar_down(self, name: str, *who: int) -> Scene:
        """The extension's container runs, but isn't ready; nor is the pod."""
        for ordinal in who:
            status = self.pods[ordinal]["status"]
            container = next(c for c in status["initContainerStatuses"] if c["name"] == name)
            container |= {"ready": False, "started": False, "containerID": "sim://another"}
            status["conditions"][0] |= {"status": "False", "lastTransitionTime": before(seconds=8)}
        return self

    def extending(self, targets: Sequence[Obj], batches: Sequence[Obj], name: str = "web-ext-4b1d9e02") -> Scene:
        """An extension upgrade holds the lock, begun with every instance in scope."""
        upgrade = an_upgrade(name, set_name=self.name, type_="Extension", code="RollingForward", batches=batches)
        upgrade["status"]["runningStatus"]["startTime"] = before(seconds=40)
        upgrade["status"] |= {
            "scope": ordinals.render(range(self.replicas)),
            "targetModel": MODEL,
            "targetExtensions": list(targets),
        }
        self.upgrades.append(upgrade)
        self.status["currentUpgrade"] = name
        return self

    def condition(self, type_: str, status: bool = True, reason: str = "", message: str = "") -> Scene:
        kept = [c for c in self.status["conditions"] if c["type"] != type_]
        self.status["conditions"] = [*kept, a_condition(type_, status, reason, message)]
        return self

    def without_pods(self, *missing: int) -> Scene:
        for ordinal in missing:
            del self.pods[ordinal]
        return self

    def starting(self, *who: int, version: str = NEW, seconds: float = 12) -> Scene:
        """These are new pods on the version, started but not Ready yet."""
        for ordinal in who:
            pod = self.pods[ordinal] = self.a_pod(ordinal, version, MODEL, seconds=seconds)
            pod["status"]["conditions"][0]["status"] = "False"
            pod["status"]["containerStatuses"][0]["ready"] = False
        return self

    def upgraded(self, *who: int, version: str = NEW, seconds: float = 90) -> Scene:
        """These came back Ready on the version."""
        for ordinal in who:
            self.pods[ordinal] = self.a_pod(ordinal, version, MODEL, seconds=seconds)
        return self

    def unhealthy(self, *who: int, minutes: float = 7) -> Scene:
        """These were Ready and no longer are."""
        for ordinal in who:
            pod = self.pods[ordinal]
            pod["status"]["conditions"][0] |= {"status": "False", "lastTransitionTime": before(minutes=minutes)}
            pod["status"]["containerStatuses"][0]["ready"] = False
        return self

    def failing(self, *who: int, reason: str = "ImagePullBackOff", version: str = NEW, seconds: float = 40) -> Scene:
        """These can't start."""
        self.starting(*who, version=version, seconds=seconds)
        for ordinal in who:
            self.pods[ordinal]["status"]["containerStatuses"][0] |= {
                "started": False,
                "state": {"waiting": {"reason": reason, "message": "back-off pulling image"}},
            }
        return self

    def terminating(self, *who: int) -> Scene:
        for ordinal in who:
            self.pods[ordinal]["metadata"] |= {
                "deletionTimestamp": before(seconds=2),
                "deletionGracePeriodSeconds": 30,
            }
        return self

    def upgrading_to(
        self,
        version: str = NEW,
        *,
        done: int = 0,
        running: bool = True,
        started_by: str = "Platform",
        name: str = "web-os-7f3c2a10",
        waiting_for: str = "",
        scope: Iterable[int] | None = None,
    ) -> Scene:
        """An OS upgrade holds the lock: ``done`` batches succeeded, and the next one is ``running``."""
        planned = self.cells(range(self.replicas) if scope is None else scope)
        batches: list[Obj] = []
        for index, (zone, domain, members) in enumerate(planned[: done + running]):
            over = index < done
            batches.append(
                {
                    "number": index + 1,
                    "zone": zone,
                    "updateDomain": domain,
                    "startTime": before(seconds=30 + 60 * (done - index)),
                    **({"completedTime": before(seconds=30 + 60 * (done - index - 1))} if over else {}),
                    "ordinals": ordinals.render(members),
                    "from": [
                        {
                            "imageVersion": self.status["imageVersion"],
                            "model": MODEL,
                            "ordinals": ordinals.render(members),
                        }
                    ],
                    "outcome": "Succeeded" if over else "Running",
                }
            )
            if over:
                self.upgraded(*members, version=version)
        touched = sum(len(members) for _, _, members in planned[:done])
        working = len(planned[done][2]) if running and done < len(planned) else 0
        everyone = sorted(o for _, _, members in planned for o in members)
        upgrade = an_upgrade(
            name,
            set_name=self.name,
            code="RollingForward",
            started_by=started_by,
            progress=(touched, 0, working, len(everyone) - touched - working),
            target=version,
            started=before(seconds=40 + 60 * done),
            batches=batches,
        )
        upgrade["status"] |= {"scope": ordinals.render(everyone), "targetModel": MODEL}
        if waiting_for:
            upgrade["status"]["waitingFor"] = waiting_for
        self.upgrades.append(upgrade)
        self.status["currentUpgrade"] = name
        return self

    def cells(self, members: Iterable[int]) -> list[tuple[str, int, list[int]]]:
        """Batches of whole cells, in the order of an upgrade."""
        found: dict[tuple[int, int], list[int]] = {}
        for ordinal in sorted(members):
            zone = ordinal % max(1, len(self.zones))
            found.setdefault((zone, placement.update_domain(ordinal, self.zones, self.domains)), []).append(ordinal)
        return [(self.zones[zone] if self.zones else "", domain, who) for (zone, domain), who in sorted(found.items())]

    def a_pod(self, ordinal: int, version: str, model: str, *, seconds: float = 3 * 3600) -> Obj:
        return {
            "metadata": {
                "name": f"{self.name}-{ordinal}",
                "namespace": self.scale_set["metadata"]["namespace"],
                "uid": f"pod-{ordinal}-{version}",
                "resourceVersion": "1",
                "creationTimestamp": before(seconds=seconds),
                "labels": {
                    "scalesets.dev/scaleset": self.name,
                    "scalesets.dev/instance-id": str(ordinal),
                    "scalesets.dev/image-version": version,
                    "scalesets.dev/model": model,
                },
                "annotations": {},
                "ownerReferences": self.owner(),
            },
            "spec": {"nodeName": f"node-{ordinal % 3}", "containers": [{"name": "os", "image": f"os:{version}"}]},
            "status": {
                "phase": "Running",
                "podIP": f"10.0.0.{ordinal}",
                "startTime": before(seconds=seconds),
                "conditions": [a_condition("Ready", since=before(seconds=max(seconds - 2, 0)))],
                "containerStatuses": [
                    {
                        "name": "os",
                        "ready": True,
                        "started": True,
                        "restartCount": 0,
                        "state": {"running": {"startedAt": before(seconds=max(seconds - 1, 0))}},
                    }
                ],
            },
        }

    def owner(self) -> list[Obj]:
        return [{"uid": "set-uid", "kind": "ScaleSet", "name": self.name, "controller": True}]

    def a_revision(self, model: str, number: int = 1, **spec: Any) -> Obj:
        """A model of the set: as its spec is, with these fields otherwise."""
        return {
            "metadata": {
                "name": f"{self.name}-{model}",
                "uid": f"revision-{model}",
                "resourceVersion": "1",
                "labels": {"scalesets.dev/scaleset": self.name, "scalesets.dev/model": model},
                "ownerReferences": self.owner(),
            },
            "revision": number,
            "data": {**models.model_part(self.spec | spec), "resolved": {}},
        }

    def around(self, *images: Obj, old_model: dict[str, Any] | None = None, **more: Any) -> Surroundings:
        """All that bears on the set, with an operator at work. ``old_model``: how OLD_MODEL's spec differs."""
        revisions = [self.a_revision(MODEL, 2)]
        if old_model is not None:
            revisions.append(self.a_revision(OLD_MODEL, 1, **old_model))
        lease = {"spec": {"holderIdentity": "operator-1", "renewTime": before(seconds=3)}}
        return Surroundings(
            snapshot=self.snapshot(),
            images=images,
            revisions=tuple(revisions),
            catalog_namespace="scaleset-system",
            **{"lease": lease, **more},
        )

    def snapshot(self) -> Snapshot:
        return Snapshot(
            scale_set=self.scale_set,
            upgrades=tuple(self.upgrades),
            pods=tuple(self.pods.values()),
            now=NOW,
            lost=self.lost,
        )


def a_set(name: str = "web", **kwargs: Any) -> Scene:
    return Scene(name, **kwargs)


def an_upgrade(
    name: str,
    *,
    set_name: str = "web",
    type_: str = "OSImage",
    code: str = "",
    started_by: str = "Platform",
    progress: tuple[int, int, int, int] = (0, 0, 0, 0),
    target: str = NEW,
    started: str = "",
    completed: str = "",
    batches: Sequence[Obj] = (),
    rolled_back: tuple[int, int] = (0, 0),
    error: tuple[str, str] = ("", ""),
    created: str = "",
) -> Obj:
    """A RollingUpgrade; without a code the operator hasn't begun it."""
    spec = {"scaleSet": set_name, "type": type_, "startedBy": started_by, "cancel": False}
    upgrade: Obj = {
        "apiVersion": "scalesets.dev/v1alpha1",
        "kind": "RollingUpgrade",
        "metadata": {
            "name": name,
            "namespace": "team-a",
            "uid": f"uid-{name}",
            "resourceVersion": "7",
            "creationTimestamp": created or started or before(seconds=5),
        },
        "spec": spec,
    }
    if not code:
        return upgrade
    done, failed, working, pending = progress
    running = {"code": code, "startTime": started, "lastAction": "Start"}
    upgrade["status"] = {
        "runningStatus": running | ({"completedTime": completed} if completed else {}),
        "startedBy": started_by,
        "progress": {
            "successfulInstanceCount": done,
            "failedInstanceCount": failed,
            "inProgressInstanceCount": working,
            "pendingInstanceCount": pending,
        },
        "batches": list(batches),
    }
    if type_ == "OSImage":
        upgrade["status"]["targetImageReference"] = {"publisher": "Canonical", "version": target}
    else:
        upgrade["status"]["targetModel"] = target
    if any(rolled_back):
        upgrade["status"]["rollbackInfo"] = {
            "successfullyRolledbackInstanceCount": rolled_back[0],
            "failedRolledbackInstanceCount": rolled_back[1],
        }
    if error[0]:
        upgrade["status"]["error"] = {"code": error[0], "message": error[1]}
    return upgrade


def an_image(*versions: str | Obj, locations: Sequence[str] = ("westeurope",), recorded: bool = True) -> Obj:
    """A platform image with these versions: a version alone is published and available since ten days."""
    spec_versions = [v if isinstance(v, dict) else {"version": v} for v in versions]
    seen = [
        {
            "version": v["version"],
            "image": f"registry.example/os:{v['version']}",
            "firstSeenTime": before(days=10),
            "regions": [
                {
                    "name": location,
                    "state": v.get("state", "Available"),
                    "since": before(days=10),
                }
                for location in locations
            ],
        }
        for v in spec_versions
    ]
    fields = ("version", "publishedDate", "excludeFromLatest", "endOfLifeDate")
    return {
        "metadata": {
            "name": "ubuntu-jammy",
            "namespace": "scaleset-system",
            "uid": "image-uid",
            "creationTimestamp": before(days=30),
        },
        "spec": {
            "source": "Platform",
            "publisher": "Canonical",
            "offer": "0001-com-ubuntu-server-jammy",
            "sku": "22_04-LTS",
            "osType": "Linux",
            "versions": [
                {
                    "image": f"registry.example/os:{v['version']}",
                    **{key: value for key, value in v.items() if key in fields},
                }
                for v in spec_versions
            ],
        },
        "status": {"versions": seen} if recorded else {},
    }


def an_extension(name: str, *versions: str | Obj, supported: bool = True) -> Obj:
    """An Extension ``acme/NAME`` with these versions."""
    made = an_image(*versions)
    made["metadata"] |= {"name": f"acme-{name}", "uid": f"extension-{name}"}
    made["spec"] = {
        "publisher": "acme",
        "type": name.title(),
        "osType": "Linux",
        "supportsAutomaticUpgrade": supported,
        "versions": made["spec"]["versions"],
    }
    return made


def a_target(name: str, outcome: str, *, to: str = "1.1.0", done: int = 0, failed: int = 0, error: str = "") -> Obj:
    """How one extension of an upgrade fares."""
    counts = {"successfulInstanceCount": done, "failedInstanceCount": failed}
    stopped = {"error": {"code": "MaxUnhealthyUpgradedInstancePercentExceededInRollingUpgrade", "message": error}}
    return {"name": name, "from": "1.0.0", "to": to, "outcome": outcome, **counts, **(stopped if error else {})}


def an_extension_batch(number: int, extension: str, members: str, outcome: str = "Succeeded", **more: Any) -> Obj:
    """A batch of one extension in one cell."""
    return {
        "number": number,
        "extension": extension,
        "updateDomain": (number - 1) // 2,
        "startTime": before(seconds=12),
        "ordinals": members,
        "from": [
            {
                "imageVersion": OLD,
                "model": MODEL,
                "ordinals": members,
                "extensions": [{"name": "logs", "version": "1.0.0"}, {"name": "monitor", "version": "1.0.0"}],
            }
        ],
        "outcome": outcome,
        **more,
    }


def a_budget(name: str, **spec: Any) -> Obj:
    """A PodDisruptionBudget over the set's pods."""
    selector = {"matchLabels": {"scalesets.dev/scaleset": "web"}}
    return {"metadata": {"name": name}, "spec": {"selector": selector, **spec}}
