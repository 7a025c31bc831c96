"""A scale set, machine or availability set, followed live: its object, its upgrades and its pods, each kept up to date
by a list and then a watch.

A lost connection doesn't end it: the snapshots say so and go on with what was last seen, so that a display outlives a
restart of the API server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import aiohttp
import orjson

from scalesets.cli import whose
from scalesets.cli.cluster import Cluster, upgrades_of
from scalesets.cli.errors import CommandError, not_found
from scalesets.cli.fields import Obj, name_of, text
from scalesets.cli.snapshot import Snapshot
from scalesets.cli.whose import Named
from scalesets.kube.kinds import MACHINES, PODS, UPGRADES, Kind

# The server ends a watch after so many seconds and it is begun anew: one whose connection died would else be silent.
WATCH_SECONDS = 240
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0


async def follow(
    cluster: Cluster, name: str, *, shortest: float = 0.25, longest: float = 1.0
) -> AsyncGenerator[Snapshot]:
    """Snapshots of a set while it exists: one at once, then one at every change and one as time goes by.

    They come at least ``shortest`` and at most ``shortest + longest`` seconds apart, and seldom enough that drawing
    them takes a quarter of the time at most.
    """
    named = whose.known(name)
    await cluster.fleet(named)  # its absence is said in words before anything is watched
    changed = asyncio.Event()
    mirrors = _mirrors(cluster, named, changed)
    sets, upgrades, pods, *members = mirrors
    await asyncio.gather(*(mirror.fill() for mirror in mirrors))
    tasks = [asyncio.create_task(mirror.keep_up()) for mirror in mirrors]
    try:
        while True:
            changed.clear()
            if named.name not in sets.objects:
                what = f'{named.owner.kind.kind} "{named.name}"'
                raise not_found(f'{what} was deleted from namespace "{cluster.namespace}" meanwhile')
            began = asyncio.get_running_loop().time()
            yield Snapshot(
                scale_set=named.as_set(sets.objects[named.name]),
                upgrades=upgrades_of(named.name, upgrades.objects.values(), field=named.owner.field),
                pods=tuple(pods.objects.values()),
                now=datetime.now(UTC),
                lost=next((mirror.lost for mirror in mirrors if mirror.lost), ""),
                whose=named,
                machines=tuple(machine for mirror in members for machine in mirror.objects.values()),
            )
            drawn = asyncio.get_running_loop().time() - began
            await asyncio.sleep(max(shortest, 3 * drawn))
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), longest)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _mirrors(cluster: Cluster, named: Named, changed: asyncio.Event) -> tuple[Mirror, ...]:
    """Of itself, its upgrades and its pods; of an availability set its machines too."""
    members = {"fieldSelector": f"spec.availabilitySet={named.name}"}
    return (
        Mirror(cluster, named.owner.kind, {"fieldSelector": f"metadata.name={named.name}"}, changed),
        Mirror(cluster, UPGRADES, {}, changed),
        Mirror(cluster, PODS, {"labelSelector": named.pods}, changed),
        *([Mirror(cluster, MACHINES, members, changed)] if named.owner is whose.AVAILABILITY_SET else []),
    )


class Mirror:
    """The objects of one kind by name, and in ``lost`` what keeps them from being up to date."""

    def __init__(self, cluster: Cluster, kind: Kind, query: dict[str, str], changed: asyncio.Event) -> None:
        self.objects: dict[str, Obj] = {}
        self.lost = ""
        self._cluster = cluster
        self._path = kind.path(cluster.namespace)
        self._what = kind.plural
        self._query = query
        self._changed = changed
        self._version = ""

    async def fill(self) -> None:
        """Read them all."""
        answer = await self._cluster.ask("GET", self._path, self._what, query=self._query)
        self.objects = {name_of(o): o for o in answer.get("items") or ()}
        self._version = text(answer, "metadata.resourceVersion")
        self.lost = ""
        self._changed.set()

    async def keep_up(self) -> None:
        """Watch for ever; after whatever goes wrong, list and watch again."""
        pause = FIRST_PAUSE
        while True:
            try:
                await self._watch()
                await self.fill()
                pause = FIRST_PAUSE
            except (CommandError, aiohttp.ClientError, OSError, TimeoutError, ValueError, KeyError) as error:
                broken = isinstance(error, (aiohttp.ClientError, OSError, TimeoutError))
                self.lost = str(self._cluster.no_connection(error) if broken else error) or type(error).__name__
                self._changed.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                with contextlib.suppress(CommandError):
                    await self._cluster.renew()
                    await self.fill()

    async def _watch(self) -> None:
        """Until the server ends it, or says that our version is too old."""
        query = {"watch": "1", "resourceVersion": self._version, "timeoutSeconds": str(WATCH_SECONDS), **self._query}
        within = aiohttp.ClientTimeout(total=WATCH_SECONDS + 30, sock_connect=5)
        response = await self._cluster.send("GET", self._path, query=query, within=within)
        if response.status >= 400:
            await self._cluster.read(response, self._what)
        async with response:
            async for line in response.content:
                event = orjson.loads(line)
                if event["type"] == "ERROR":
                    return
                obj = event["object"]
                if event["type"] == "DELETED":
                    self.objects.pop(name_of(obj), None)
                else:
                    self.objects[name_of(obj)] = obj
                self._changed.set()
