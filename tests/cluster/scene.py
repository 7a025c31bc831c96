"""A namespace to play in: what a scenario does and waits for, with the referee watching all the while."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from builders import Body, a_start, version

from apiclient import Api
from scalesets.local.controlplane import ControlPlane
from scalesets.local.machines import steering
from scalesets.local.machines.faults import Mode
from watching import WATCHED, Watching

FINAL = ("Completed", "Cancelled", "Faulted")


class Scene(Watching):
    """Everything in it happens in one namespace of its own."""

    control_plane: ControlPlane

    # -- what users do -------------------------------------------------------------------------------------------------

    async def create(self, *bodies: Body) -> None:
        """Create objects in the namespace."""
        for body in bodies:
            await self._seen(await self.api.create(self._here(body)))

    async def change(self, kind: str, name: str, **spec: Any) -> None:
        """Merge-patch an object's spec."""
        await self.patch(kind, name, {"spec": spec})

    async def patch(self, kind: str, name: str, body: Body) -> None:
        """Merge-patch an object."""
        await self._seen(await self.api.patch(kind, self.namespace, name, body))

    async def publish(self, image: str, number: str, word: str = "", **fields: Any) -> None:
        """Publish one more version of an image."""
        stored = await self.api.get("GalleryImage", self.namespace, image)
        await self.set_versions(image, [*stored["spec"].get("versions", ()), version(number, word, **fields)])

    async def publish_extension(self, name: str, number: str, word: str = "", **fields: Any) -> None:
        """Publish one more version of an extension."""
        stored = await self.api.get("Extension", self.namespace, name)
        image = f"registry.example/ext/{name}:{number}{'-' + word if word else ''}"
        versions = [*stored["spec"].get("versions", ()), {"version": number, "image": image, **fields}]
        await self.change("Extension", name, versions=versions)

    async def start_extensions_together(self, words: dict[str, str]) -> None:
        """Publish 1.1.0 of each extension, so that one upgrade finds all of them: nobody may start meanwhile."""
        self.fail(mode=Mode.UNREADY)
        await self.until(lambda: not any(map(is_ready, self.pods().values())), what="the set to be unhealthy")
        await self.until_condition("Ready", status="False")
        for name, word in words.items():
            await self.publish_extension(name, "1.1.0", word)
        for name in words:
            await self.until_extension_published(name, "1.1.0")
        self.heal()

    async def until_extension_published(self, name: str, number: str) -> None:
        """Wait until the version is the latest somewhere."""

        def latest() -> bool:
            found = (self.find("Extension", name) or {}).get("status", {}).get("latest", ())
            return any(each["version"] == number for each in found)

        await self.until(latest, within=15, what=f"{name} {number} to be the latest")

    async def mark(self, image: str, number: str, **fields: Any) -> None:
        """Change a published version, such as ``excludeFromLatest=True``."""
        stored = await self.api.get("GalleryImage", self.namespace, image)
        versions = [{**v, **fields} if v["version"] == number else v for v in stored["spec"]["versions"]]
        await self.set_versions(image, versions)

    async def withdraw(self, image: str, number: str) -> None:
        """Take a version off the list."""
        stored = await self.api.get("GalleryImage", self.namespace, image)
        await self.set_versions(image, [v for v in stored["spec"]["versions"] if v["version"] != number])

    async def set_versions(self, image: str, versions: list[Body]) -> None:
        """Write the list of versions."""
        await self.change("GalleryImage", image, versions=versions)

    async def start(self, set_name: str, name: str, **spec: Any) -> None:
        """Start an upgrade by hand."""
        await self.create(a_start(set_name, name, **spec))

    def boot_seconds(self, low: float, high: float) -> None:
        """Let every following start take so long, until the scenario is over."""
        with self.control_plane.api() as api:
            steering.set_boot_seconds(api, low, high)

    def patch_seconds(self, low: float, high: float) -> None:
        """Let machines take so long to notice a patched image, until the scenario is over."""
        with self.control_plane.api() as api:
            steering.set_patch_seconds(api, low, high)

    def kubelet(self, node: str, version: str | None) -> None:
        """Let a machine play an older kubelet; None: as the others."""
        with self.control_plane.api() as api:
            steering.set_kubelet_version(api, node, version)

    async def until_kubelet(self, node: str, version: str) -> None:
        """Wait until the node says that it plays this version."""
        async with asyncio.timeout(15):
            while True:
                found = await self.api.get("Node", "", node)
                if found["status"]["nodeInfo"]["kubeletVersion"] == version:
                    return
                await asyncio.sleep(0.1)

    def fail(self, *ordinals: int, mode: Mode = Mode.UNREADY, seconds: float | None = None, **whom: str) -> None:
        """Let instances of `web` fail (all of the set without ordinals), until `heal` or the scenario is over."""
        lasts = timedelta(seconds=seconds) if seconds is not None else None
        with self.control_plane.api() as api:
            if not ordinals:
                steering.fail(api, mode=mode, scaleset=f"{self.namespace}/web", lasts=lasts, **whom)
            for ordinal in ordinals:
                steering.fail(api, mode=mode, instance=f"{self.namespace}/web-{ordinal}", lasts=lasts, **whom)

    def fail_set(self, name: str, mode: Mode = Mode.NEVER_READY) -> None:
        """Let all instances of another set fail."""
        with self.control_plane.api() as api:
            steering.fail(api, mode=mode, scaleset=f"{self.namespace}/{name}")

    def heal(self) -> None:
        """End all failures."""
        with self.control_plane.api() as api:
            steering.heal(api)

    async def delete(self, kind: str, name: str, **options: Any) -> None:
        """Delete an object."""
        await self.api.delete(kind, self.namespace, name, **options)

    # -- what is there -------------------------------------------------------------------------------------------------

    def set(self, name: str = "web") -> Body:
        """A ScaleSet."""
        return self._there("ScaleSet", name)

    def status(self, name: str = "web") -> Body:
        """A ScaleSet's status."""
        return self.set(name).get("status") or {}

    def condition(self, kind: str, name: str = "web") -> Body:
        """A ScaleSet's condition; empty when it has none of the type."""
        return condition(self.set(name), kind)

    def upgrade(self, name: str) -> Body:
        """A RollingUpgrade."""
        return self._there("RollingUpgrade", name)

    def upgrades(self, set_name: str = "web") -> list[Body]:
        """The upgrades of a set, oldest first."""
        found = [u for u in self.all("RollingUpgrade") if u["spec"].get("scaleSet") == set_name]
        return sorted(found, key=lambda u: (u["metadata"]["creationTimestamp"], int(u["metadata"]["resourceVersion"])))

    def pods(self, set_name: str = "web") -> dict[int, Body]:
        """The pods of a set by ordinal."""
        found = {}
        for pod in self.all("Pod"):
            stem, _, tail = pod["metadata"]["name"].rpartition("-")
            if stem == set_name and tail.isdigit():
                found[int(tail)] = pod
        return dict(sorted(found.items()))

    def versions(self, set_name: str = "web") -> list[str]:
        """The image versions of a set's pods, by ordinal."""
        return [label(p, "image-version") for p in self.pods(set_name).values()]

    def uids(self, kind: str = "Pod") -> dict[str, str]:
        """The UIDs of all objects of a kind, by name."""
        return {o["metadata"]["name"]: o["metadata"]["uid"] for o in self.all(kind)}

    async def _seen(self, stored: Body) -> None:
        """Return once the watches have shown what was written: what a scenario waits for next can't be from before."""
        kind, name = stored["kind"], stored["metadata"]["name"]
        written = int(stored["metadata"]["resourceVersion"])

        def shown() -> bool:
            found = self.find(kind, name)
            return found is not None and int(found["metadata"]["resourceVersion"]) >= written

        if kind in WATCHED:
            await self.until(shown, within=10, what=f"the watch to show {kind} {name}")

    def _there(self, kind: str, name: str) -> Body:
        found = self.find(kind, name)
        assert found is not None, f"there is no {kind} {name}"
        return found

    def _here(self, body: Body) -> Body:
        return {**body, "metadata": {"namespace": self.namespace, **body["metadata"]}}

    # -- what a scenario waits for -------------------------------------------------------------------------------------

    async def until_ready(self, name: str = "web", *, replicas: int | None = None, within: float = 30.0) -> None:
        """Wait until all instances are there and Ready, and the set says so."""

        def ready() -> bool:
            obj = self.find("ScaleSet", name)
            if obj is None:
                return False
            wanted = obj["spec"]["replicas"] if replicas is None else replicas
            status = obj.get("status") or {}
            pods = self.pods(name)
            return (
                len(pods) == wanted
                and all(map(is_ready, pods.values()))
                and condition(obj, "Ready").get("status") == "True"
                and status.get("observedGeneration") == obj["metadata"]["generation"]
                and status.get("readyReplicas", 0) == wanted
            )

        await self._until(ready, within, f"{name} to be ready", name)

    async def until_published(self, image: str, number: str, *, within: float = 15.0) -> None:
        """Wait until the version is the latest somewhere."""

        def latest() -> bool:
            found = (self.find("GalleryImage", image) or {}).get("status", {}).get("latest", ())
            return any(each["version"] == number for each in found)

        await self.until(latest, within=within, what=f"{image} {number} to be the latest")

    async def until_on(self, number: str, name: str = "web", *, within: float = 60.0) -> None:
        """Wait until every instance is on the version and Ready, and no upgrade runs."""

        def there() -> bool:
            pods = self.pods(name)
            return (
                len(pods) == self.set(name)["spec"]["replicas"]
                and set(self.versions(name)) == {number}
                and all(map(is_ready, pods.values()))
                and not self.status(name).get("currentUpgrade")
                and condition(self.set(name), "Ready").get("status") == "True"
            )

        await self._until(there, within, f"{name} to be on {number}", name)

    async def until_ended(self, name: str = "", *, set_name: str = "web", count: int = 1, within: float = 60.0) -> Body:
        """Wait until the upgrade (without a name: the set's ``count``-th) is over and the lock is free; returns it."""

        def ended() -> Body | None:
            known = self.upgrades(set_name)
            found = self.find("RollingUpgrade", name) if name else known[count - 1] if len(known) >= count else None
            over = found is not None and code(found) in FINAL and not self.status(set_name).get("currentUpgrade")
            return found if over else None

        return await self._until(ended, within, f"upgrade {name or count} of {set_name} to end", set_name)

    async def until_batch(
        self, number: int = 1, *, set_name: str = "web", count: int = 1, within: float = 30.0
    ) -> Body:
        """Wait until a batch of the set's ``count``-th upgrade was written; returns the upgrade."""

        def written() -> Body | None:
            known = self.upgrades(set_name)
            upgrade = known[count - 1] if len(known) >= count else None
            return upgrade if upgrade is not None and len(batches(upgrade)) >= number else None

        return await self._until(written, within, f"batch {number} of {set_name}", set_name)

    async def until_condition(
        self, kind: str, *, status: str = "True", reason: str = "", name: str = "web", within: float = 30.0
    ) -> Body:
        """Wait until a set's condition has this status (and reason); returns the condition."""

        def holds() -> Body | None:
            obj = self.find("ScaleSet", name)
            found = condition(obj, kind) if obj is not None else {}
            return found if found.get("status") == status and reason in ("", found.get("reason")) else None

        return await self._until(holds, within, f"condition {kind}={status} {reason} of {name}", name)

    async def until_event(self, reason: str, *, within: float = 15.0) -> Body:
        """Wait until an Event with this reason was posted; returns it."""

        def posted() -> Body | None:
            return next((e for e in self.all("Event") if e["reason"] == reason), None)

        return await self.until(posted, within=within, what=f"an Event {reason}; there are {sorted(self.events())}")

    async def _until(self, holds: Callable[[], Any], within: float, what: str, set_name: str) -> Any:
        try:
            return await self.until(holds, within=within, what=what)
        except AssertionError as error:
            error.add_note("\n".join(self._situation(set_name)))
            raise

    def _situation(self, set_name: str) -> Iterable[str]:
        """What there is to see of a set, for a scenario that waits in vain."""
        obj = self.find("ScaleSet", set_name)
        if obj is None:
            return [f"there is no ScaleSet {set_name}"]
        status = obj.get("status") or {}
        lines = [
            f"{set_name}: {status.get('replicas')} of {obj['spec']['replicas']}, {status.get('readyReplicas')} ready"
        ]
        lines += [
            f"  {c['type']}={c['status']} {c['reason']}: {c.get('message', '')}" for c in status.get("conditions", ())
        ]
        for upgrade in self.upgrades(set_name):
            batch = batches(upgrade)[-1] if batches(upgrade) else None
            words = (
                f"  {upgrade['metadata']['name']}: {code(upgrade)} {upgrade.get('status', {}).get('waitingFor', '')}"
            )
            lines.append(f"{words} {batch or ''}")
        return lines


async def until_empty(api: Api, namespace: str, *, within: float) -> None:
    """Wait until no pod is left in a namespace."""
    async with asyncio.timeout(within):
        while True:
            if not (await api.list("Pod", namespace)).get("items"):
                return
            await asyncio.sleep(0.2)


def installed(pod: Body) -> dict[str, str]:
    """The versions of an instance's extensions."""
    prefix = "extension.scalesets.dev/"
    annotations = pod["metadata"].get("annotations", {})
    found = {k.removeprefix(prefix): v for k, v in annotations.items() if k.startswith(prefix)}
    return {name: version for name, version in found.items() if not name.endswith(".before")}


def restarts(pods: dict[int, Body]) -> dict[int, dict[str, int]]:
    """How often each container was started again, by ordinal and name."""
    parts = ("initContainerStatuses", "containerStatuses")
    return {
        ordinal: {c["name"]: c["restartCount"] for part in parts for c in pod["status"].get(part) or ()}
        for ordinal, pod in pods.items()
    }


def label(obj: Body, name: str) -> str:
    """One of our labels."""
    return obj["metadata"].get("labels", {}).get(f"scalesets.dev/{name}", "")


def is_ready(pod: Body) -> bool:
    """Whether a pod is Ready and stays."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def condition(obj: Body, kind: str) -> Body:
    """A condition of an object; empty when it has none of the type."""
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((c for c in found if c["type"] == kind), {})


def code(upgrade: Body) -> str:
    """A RollingUpgrade's running status."""
    return ((upgrade.get("status") or {}).get("runningStatus") or {}).get("code", "")


def error_code(upgrade: Body) -> str:
    """Why a RollingUpgrade stopped."""
    return ((upgrade.get("status") or {}).get("error") or {}).get("code", "")


def progress(upgrade: Body) -> tuple[int, int, int, int]:
    """Successful, failed, in progress, pending."""
    counts = (upgrade.get("status") or {}).get("progress") or {}
    return tuple(counts.get(f"{n}InstanceCount", 0) for n in ("successful", "failed", "inProgress", "pending"))  # type: ignore[return-value]


def batches(upgrade: Body) -> list[Body]:
    """Its batches so far."""
    return (upgrade.get("status") or {}).get("batches") or []


def image_of(pod: Body, container: str = "os") -> str:
    """The image of a container, init containers included."""
    spec = pod["spec"]
    return next(c["image"] for c in (*spec["containers"], *spec.get("initContainers", ())) if c["name"] == container)
