"""A scale set, followed live: its object, its upgrades and its pods, each kept up to date by a list and then a watch.

A lost connection doesn't end it: the snapshots say so and go on with what was last seen, so that a display outlives a
restart of the API server.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson

from scalesets.cli.cluster import TIMED, Cluster, upgrades_of
from scalesets.cli.errors import CommandError, not_found
from scalesets.cli.fields import Obj, name_of, text
from scalesets.cli.snapshot import Snapshot
from scalesets.kube.names import GROUP, LABEL_SET, VERSION

# The server ends a watch after so many seconds and it is begun anew: one whose connection died would else be silent.
WATCH_SECONDS = 240
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0


async def follow(
    cluster: Cluster, name: str, *, shortest: float = 0.25, longest: float = 1.0
) -> AsyncGenerator[Snapshot]:
    """Snapshots of a set while it exists: one at once, then one at every change and one as time goes by.

    They come at least ``shortest`` and at most ``shortest + longest`` seconds apart.
    """
    await cluster.scale_set(name)  # its absence is said in words before anything is watched
    changed = asyncio.Event()
    mirrors = _mirrors(cluster, name, changed)
    sets, upgrades, pods = mirrors
    await asyncio.gather(*(mirror.fill() for mirror in mirrors))
    tasks = [asyncio.create_task(mirror.keep_up()) for mirror in mirrors]
    try:
        while True:
            changed.clear()
            if name not in sets.objects:
                raise not_found(f'ScaleSet "{name}" was deleted from namespace "{cluster.namespace}" meanwhile')
            yield Snapshot(
                scale_set=sets.objects[name],
                upgrades=upgrades_of(name, upgrades.objects.values()),
                pods=tuple(pods.objects.values()),
                now=datetime.now(UTC),
                lost=next((mirror.lost for mirror in mirrors if mirror.lost), ""),
            )
            await asyncio.sleep(shortest)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(changed.wait(), longest)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _mirrors(cluster: Cluster, name: str, changed: asyncio.Event) -> tuple[Mirror, Mirror, Mirror]:
    custom = cluster.custom.list_namespaced_custom_object_without_preload_content
    pods = cluster.core.list_namespaced_pod_without_preload_content
    namespace = cluster.namespace
    own: dict[str, Any] = {"field_selector": f"metadata.name={name}"}
    labelled: dict[str, Any] = {"label_selector": f"{LABEL_SET}={name}"}
    return (
        Mirror(cluster, lambda **kw: custom(GROUP, VERSION, namespace, "scalesets", **own, **kw), "scalesets", changed),
        Mirror(
            cluster, lambda **kw: custom(GROUP, VERSION, namespace, "rollingupgrades", **kw), "rollingupgrades", changed
        ),
        Mirror(cluster, lambda **kw: pods(namespace, **labelled, **kw), "its pods", changed),
    )


class Mirror:
    """The objects of one kind by name, and in ``lost`` what keeps them from being up to date."""

    def __init__(
        self,
        cluster: Cluster,
        call: Callable[..., Awaitable[aiohttp.ClientResponse]],
        what: str,
        changed: asyncio.Event,
    ) -> None:
        self.objects: dict[str, Obj] = {}
        self.lost = ""
        self._cluster = cluster
        self._call = call
        self._what = what
        self._changed = changed
        self._version = ""

    async def fill(self) -> None:
        """Read them all."""
        answer = await self._cluster.ask(lambda: self._call(**TIMED), self._what)
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
                self.lost = str(error) or type(error).__name__
                self._changed.set()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
                with contextlib.suppress(CommandError):
                    await self._cluster.renew()
                    await self.fill()

    async def _watch(self) -> None:
        """Until the server ends it, or says that our version is too old."""
        timeout = WATCH_SECONDS + 30.0
        settings = {"watch": True, "resource_version": self._version, "timeout_seconds": WATCH_SECONDS}
        response = await self._cluster.send(lambda: self._call(**settings, _request_timeout=timeout))
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
