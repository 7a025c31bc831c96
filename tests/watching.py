"""The referee at the API server: raw watches feed it in the order of storage, by a client of our own.

`async with watching(kubeconfig, "team-a") as scene:` watches one namespace and, when it is left, fails the test that
saw an invariant broken. The watches of different kinds come at their own pace, so events are put in order by their
resourceVersion before the referee sees them: the API server counts all kinds in one sequence. What the latest event
said of an object is in `scene.objects`, at once.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp

from apiclient import Api, Body, Refused
from referee import LISTED, FoulError, Referee

OURS = ("ScaleSet", "VirtualMachine", "AvailabilitySet", "RollingUpgrade", "GalleryImage", "Extension")
WATCHED = (*OURS, "Pod", "PersistentVolumeClaim", "ControllerRevision", "Event")
CATALOGUE = ("GalleryImage", "Extension")
CATALOG_NAMESPACE = "scaleset-system"

REORDERING = 0.6
"""Seconds that an event waits for older ones of other kinds."""
_POLL = 0.02


class Watching:
    """Live watches of one namespace (and of the catalogue), and the referee that they feed. ``beside`` names namespaces
    that the referee sees too: those of the same subscription share a budget.
    """

    def __init__(
        self, api: Api, namespace: str, *, beside: Sequence[str] = (), catalog_namespace: str = CATALOG_NAMESPACE
    ) -> None:
        self.api = api
        self.namespace = namespace
        self.beside = tuple(beside)
        self.referee = Referee(catalog_namespace=catalog_namespace)
        self.objects: dict[tuple[str, str], Body] = {}  # kind and name, in the namespace
        self.late = 0
        self._streams = [(kind, where) for where in (namespace, *beside) for kind in WATCHED]
        self._streams += [("Namespace", "")] if beside else []
        self._streams += [(kind, catalog_namespace) for kind in CATALOGUE if catalog_namespace != namespace]
        self._known: dict[tuple[str, str], dict[str, Body]] = {stream: {} for stream in self._streams}
        self._heap: list[tuple[int, bool, int, float, datetime, str, str, Body]] = []
        self._count = itertools.count()
        self._fed = 0
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """List everything, then follow it."""
        since = {stream: await self._list(stream, LISTED) for stream in self._streams}
        self._feed(before=None)
        self._tasks = [asyncio.create_task(self._follow(stream, since[stream])) for stream in self._streams]
        self._tasks.append(asyncio.create_task(self._feed_for_ever()))

    async def close(self) -> None:
        """End the watches."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- what tests ask ------------------------------------------------------------------------------------------------

    def find(self, kind: str, name: str) -> Body | None:
        """The object as the latest event showed it."""
        return self.objects.get((kind, name))

    def all(self, kind: str) -> list[Body]:
        """All objects of a kind, by name."""
        return [obj for (each, _), obj in sorted(self.objects.items()) if each == kind]

    def all_in(self, kind: str, namespace: str) -> list[Body]:
        """All objects of a kind in one of the namespaces, by name."""
        return [obj for _, obj in sorted(self._known[kind, namespace].items())]

    async def until(self, holds: Callable[[], Any], *, within: float = 30.0, what: str = "") -> Any:
        """Wait until something holds, looking again after every event; returns what it returned."""
        try:
            async with asyncio.timeout(within):
                while True:
                    self._changed.clear()
                    if found := holds():
                        return found
                    with suppress(TimeoutError):
                        async with asyncio.timeout(0.5):
                            await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"waited {within} s in vain{' for ' + what if what else ''}") from None

    async def caught_up(self) -> None:
        """Return once the referee has seen everything that is stored now."""
        wanted: dict[tuple[str, str], dict[str, int]] = {}
        for stream in self._streams:
            answer = await self._listed(stream)
            wanted[stream] = {o["metadata"]["name"]: _version(o) for o in answer.get("items") or ()}

        def seen() -> bool:
            for stream, names in wanted.items():
                known = self._known[stream]
                for name, version in names.items():
                    if name in known and _version(known[name]) < version:
                        return False
            return True

        await self.until(seen, within=10, what="the watches to catch up")
        self._feed(before=None)

    async def at_rest(self, *, patience: float = 15.0) -> None:
        """Wait until every upgrade has ended, then let the referee say which one has not (I7)."""
        deadline = asyncio.get_running_loop().time() + patience
        await self.caught_up()  # one may have started that the referee hasn't seen yet
        while self.referee.unfinished() and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(_POLL)
            await self.caught_up()
        self.referee.at_rest(_now())

    async def assert_quiet(self, seconds: float) -> None:
        """Let some time pass, in which nothing may change (I9)."""
        await self.caught_up()
        start = _now()
        await asyncio.sleep(seconds)
        await self.caught_up()
        self.referee.quiet_between(start, _now())

    # -- watches -------------------------------------------------------------------------------------------------------

    async def _listed(self, stream: tuple[str, str]) -> Body:
        kind, namespace = stream
        while True:
            try:
                return await self.api.list(kind, namespace)
            except (aiohttp.ClientError, OSError, TimeoutError, Refused):
                await asyncio.sleep(_POLL)

    async def _list(self, stream: tuple[str, str], event_type: str) -> str:
        """Take in a list: what is new or changed, and what is gone since the last one."""
        answer = await self._listed(stream)
        since = answer["metadata"]["resourceVersion"]
        known = dict(self._known[stream])
        for obj in answer.get("items") or ():
            before = known.pop(obj["metadata"]["name"], None)
            if before is None or _version(before) != _version(obj):
                self._take(stream, event_type if before is None else "MODIFIED", obj, _version(obj))
        for obj in known.values():
            self._take(stream, "DELETED", obj, int(since))
        return since

    async def _follow(self, stream: tuple[str, str], since: str) -> None:
        kind, namespace = stream
        while True:
            try:
                async for event_type, obj in self.api.watch(kind, namespace, since=since):
                    since = obj["metadata"]["resourceVersion"]
                    if event_type != "BOOKMARK":
                        self._take(stream, event_type, obj, int(since))
            except Refused as refused:
                if refused.status == 410:
                    since = await self._list(stream, "ADDED")
                else:
                    await asyncio.sleep(_POLL)
            except (aiohttp.ClientError, OSError, TimeoutError):
                await asyncio.sleep(_POLL)

    def _take(self, stream: tuple[str, str], event_type: str, obj: Body, version: int) -> None:
        kind, namespace = stream
        name = obj["metadata"]["name"]
        key = (kind, name)
        if event_type == "DELETED":
            self._known[stream].pop(name, None)
        else:
            self._known[stream][name] = obj
        if kind == "Namespace" and name not in (self.namespace, *self.beside):
            return
        if namespace == self.namespace:
            if event_type == "DELETED":
                self.objects.pop(key, None)
            else:
                self.objects[key] = obj
        due = asyncio.get_running_loop().time() + REORDERING
        order = (version, event_type == "DELETED", next(self._count))
        heapq.heappush(self._heap, (*order, due, _now(), kind, event_type, obj))
        self._changed.set()

    # -- order ---------------------------------------------------------------------------------------------------------

    async def _feed_for_ever(self) -> None:
        while True:
            await asyncio.sleep(REORDERING / 3)
            self._feed(before=asyncio.get_running_loop().time())

    def _feed(self, *, before: float | None) -> None:
        """Let the referee see what has waited long enough, in order."""
        while self._heap and (before is None or self._heap[0][3] <= before):
            version, _, _, _, at, kind, event_type, obj = heapq.heappop(self._heap)
            self.late += version < self._fed and event_type != LISTED
            self._fed = max(self._fed, version)
            self.referee.see(kind, event_type, obj, at)

    def events(self) -> Counter[str]:
        """The reasons of the Events that were posted, with how often."""
        found: Counter[str] = Counter()
        for event in self.all("Event"):
            found[event["reason"]] += max(1, (event.get("series") or {}).get("count") or event.get("count") or 1)
        return found


Scene = TypeVar("Scene", bound=Watching)


@asynccontextmanager
async def watching(
    kubeconfig: Path | str, namespace: str, *, unfinished: bool = False, kind: type[Scene] = Watching, **options: Any
) -> AsyncIterator[Scene]:
    """Watch a namespace; leaving it, every upgrade must have ended (unless ``unfinished``) and nothing be broken."""
    async with Api(kubeconfig) as api:
        scene = kind(api, namespace, **options)
        await scene.open()
        try:
            yield scene
            if unfinished:
                await scene.caught_up()
            else:
                await scene.at_rest()
            scene.referee.check()
        except BaseException as error:
            if not isinstance(error, FoulError):
                error.add_note(scene.referee.report())
            error.add_note(f"{scene.late} events came late")
            raise
        finally:
            await scene.close()


def _version(obj: Body) -> int:
    return int(obj["metadata"]["resourceVersion"])


def _now() -> datetime:
    return datetime.now(UTC)
