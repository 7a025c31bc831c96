"""What happened, seen from outside the operator: the pods as a watch shows them, the claims, the upgrade's own account.

The demo ends well only if all of it holds.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType

import aiohttp
import orjson

from scalesets.cli.cluster import Cluster
from scalesets.cli.errors import CommandError
from scalesets.cli.fields import Obj, at, condition, label, name_of, number, text
from scalesets.cli.views import sidecars
from scalesets.cli.views.upgrades import UpgradeView
from scalesets.cli.whose import known
from scalesets.kube.kinds import PODS
from scalesets.kube.names import LABEL_IMAGE_VERSION, LABEL_UPDATE_DOMAIN

SHARE = 0.2
WATCH_TIMEOUT = aiohttp.ClientTimeout(total=3600)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that should hold, and whether it does. ``seen`` is what was seen where it doesn't."""

    claim: str
    holds: bool
    seen: str = ""


@dataclass(frozen=True, slots=True)
class World:
    """Instances and data disks at one moment."""

    pods: dict[str, Obj]
    claims: dict[str, str]  # name, UID

    def ready_on(self, version: str) -> list[str]:
        """The instances that are Ready on a version."""
        return [name for name, pod in self.pods.items() if is_ready(pod) and label(pod, LABEL_IMAGE_VERSION) == version]

    def uid(self, name: str) -> str:
        """The UID of an instance's pod."""
        return text(self.pods.get(name), "metadata.uid")

    def with_extension(self, extension: str, version: str) -> list[str]:
        """The instances that have an extension on a version, by what is noted and by the image."""
        return [
            name
            for name, pod in self.pods.items()
            if sidecars.installed(pod).get(extension) == version and _image(pod, extension).endswith(f":{version}")
        ]

    def restarts(self, name: str) -> dict[str, int]:
        """How often each container of an instance was started anew."""
        status = at(self.pods.get(name), "status", {})
        seen = (*at(status, "initContainerStatuses", []), *at(status, "containerStatuses", []))
        return {text(c, "name"): number(c, "restartCount") for c in seen}


def is_ready(pod: Obj) -> bool:
    """Ready, and not on its way out."""
    ready = condition(pod, "Ready")
    return ready is not None and bool(ready.true) and not at(pod, "metadata.deletionTimestamp")


async def look(cluster: Cluster, name: str) -> World:
    """Read them."""
    named = known(name)
    pods, claims = await asyncio.gather(cluster.pods(named), cluster.claims(named))
    uids = {name_of(c): text(c, "metadata.uid") for c in claims if not at(c, "metadata.deletionTimestamp")}
    return World({name_of(pod): pod for pod in pods}, uids)


class Witness:
    """Follows the pods of a set, or of all machines, from the beginning: which were taken down, and how many were down,
    or only not Ready, at once.
    """

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.touched: set[str] = set()
        self.most_down = 0
        self.most_unready = 0
        self._cluster = cluster
        self._query = {"labelSelector": known(name).pods}
        self._path = PODS.path(cluster.namespace)
        self._alive: dict[str, str] = {}  # name, UID of those that are not on their way out
        self._down: set[str] = set()
        self._ready: set[str] = set()
        self._unready: set[str] = set()
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> Witness:
        version = await self._list()
        self._task = asyncio.create_task(self._follow(version))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, _: object, __: TracebackType | None) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def _follow(self, version: str) -> None:
        while True:
            query = {**self._query, "watch": "1", "resourceVersion": version}
            with contextlib.suppress(CommandError, aiohttp.ClientError, OSError, TimeoutError):
                response = await self._cluster.send("GET", self._path, query=query, within=WATCH_TIMEOUT)
                async with response:
                    async for line in response.content:
                        event = orjson.loads(line)
                        if event["type"] == "ERROR":
                            break
                        self._see(event["object"], gone=event["type"] == "DELETED")
            version = await self._list()

    async def _list(self) -> str:
        """Look at all of them, at the beginning and where the watch was interrupted."""
        listed = await self._cluster.ask("GET", self._path, "pods", query=self._query)
        present = {name_of(pod) for pod in listed["items"]}
        for name in self._alive.keys() - present:
            self._lost(name)
        for pod in listed["items"]:
            self._see(pod, gone=False)
        return text(listed, "metadata.resourceVersion")

    def _see(self, pod: Obj, *, gone: bool) -> None:
        name, uid = name_of(pod), text(pod, "metadata.uid")
        if gone or at(pod, "metadata.deletionTimestamp"):
            if self._alive.get(name) == uid:
                self._lost(name)
            return
        if self._alive.get(name, uid) != uid:  # another pod has its name: the end of the former was missed
            self._lost(name)
        self._alive[name] = uid
        if is_ready(pod):
            self._down.discard(name)
            self._ready.add(name)
            self._unready.discard(name)
        elif name in self._ready:
            self._unready.add(name)
            self.most_unready = max(self.most_unready, len(self._unready))

    def _lost(self, name: str) -> None:
        del self._alive[name]
        self.touched.add(name)
        self._down.add(name)
        self.most_down = max(self.most_down, len(self._down))


def of_good(upgrade: UpgradeView, version: str, before: World, after: World, witness: Witness) -> list[Finding]:
    """What an upgrade to a good version should have left."""
    count = len(before.pods)
    most = max(1, int(SHARE * count))
    sizes = [len(batch.members) for batch in upgrade.batches]
    ready = after.ready_on(version)
    return [
        Finding(
            f"all {count} instances are Ready on {version}, each by its former name",
            set(ready) == before.pods.keys() == after.pods.keys(),
            f"{len(ready)} of {len(after.pods)} are",
        ),
        Finding(
            f"{len(sizes)} batches, none above 20% of the set ({most}), each inside one update domain",
            bool(sizes) and max(sizes) <= most and in_domains(upgrade, after),
            f"their sizes are {sizes}",
        ),
        Finding(
            f"never more than {most} were down at the same time",
            0 < witness.most_down <= most,
            f"{witness.most_down} were",
        ),
        Finding("the upgrade says Completed", upgrade.code == "Completed", f"it says {upgrade.code} {upgrade.error}"),
        kept_claims(before, after),
    ]


def of_broken(upgrade: UpgradeView, version: str, before: World, after: World, witness: Witness) -> list[Finding]:
    """What an upgrade to a broken version should have left; ``version`` is the good one before."""
    members = {name for batch in upgrade.batches for name in names(batch.members, before)}
    others = before.pods.keys() - members
    changed = sorted(name for name in others if before.uid(name) != after.uid(name))
    ready = after.ready_on(version)
    return [
        Finding(
            f"the first batch ({len(members)}) failed, and no second was begun",
            len(upgrade.batches) == 1 and {o for b in upgrade.batches for o in b.failed} == set(_members(upgrade)),
            f"{len(upgrade.batches)} batches, failed: {_listed(upgrade.failed_members)}",
        ),
        Finding(
            f"all {len(before.pods)} instances are Ready on {version}: the failed ones were put back",
            set(ready) == before.pods.keys() == after.pods.keys() and upgrade.rolled_back == len(members),
            f"{len(ready)} are, {upgrade.rolled_back} were put back",
        ),
        Finding(
            "the upgrade stopped: Faulted, because too many of the upgraded failed",
            upgrade.code == "Faulted" and upgrade.error_code.startswith("MaxUnhealthyUpgradedInstancePercent"),
            f"it says {upgrade.code} {upgrade.error_code}",
        ),
        Finding(
            f"the other {len(others)} instances were not touched",
            not changed and witness.touched == members,
            f"touched: {', '.join(sorted(witness.touched | set(changed)))}",
        ),
        kept_claims(before, after),
    ]


def kept_claims(before: World, after: World) -> Finding:
    """No data disk may be lost or replaced."""
    kept = before.claims == after.claims
    lost = sorted(name for name, uid in before.claims.items() if after.claims.get(name) != uid)
    return Finding(f"all {len(before.claims)} data disks are the same as before", kept, f"lost: {', '.join(lost)}")


def in_domains(upgrade: UpgradeView, after: World) -> bool:
    """Whether each batch lay in one update domain."""
    domains = {
        batch.number: {label(after.pods[n], LABEL_UPDATE_DOMAIN) for n in names(batch.members, after)}
        for batch in upgrade.batches
    }
    return all(len(found) == 1 for found in domains.values())


def _members(upgrade: UpgradeView) -> Iterable[int]:
    return (ordinal for batch in upgrade.batches for ordinal in batch.members)


def names(members: Iterable[int], world: World) -> list[str]:
    """The instances with these ordinals."""
    wanted = {str(ordinal) for ordinal in members}
    return [name for name in world.pods if name.rpartition("-")[2] in wanted]


def _listed(members: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(members))) or "none"


def _image(pod: Obj, container: str) -> str:
    return next((text(c, "image") for c in at(pod, "spec.initContainers", []) if text(c, "name") == container), "")
