"""Watches the pods of a namespace from outside while somebody upgrades them, and tells afterwards what happened when.

The same witness stands beside all three. While it watches it only keeps what comes with the time at which it came; it
is decoded when all is over, so that it costs next to nothing while the clock runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from itertools import pairwise

import aiohttp
import orjson

from api import Api
from subjects import PODS, image, image_of, is_ready


@dataclass(slots=True)
class Life:
    """What was seen of one instance's upgrade."""

    touched: float = 0.0  # its old pod was first seen terminating, or gone
    ready: float = 0.0  # its new pod was first seen Ready
    touches: int = 0  # pods of it that were taken down


@dataclass(slots=True)
class Account:
    """What was seen of the upgrade. Times are seconds since the epoch."""

    lives: dict[str, Life] = field(default_factory=dict)
    most_down: int = 0
    wrong: tuple[str, ...] = ()  # instances that didn't end Ready on the target

    @property
    def first_touch(self) -> float:
        """When the first pod was taken down."""
        return min(life.touched for life in self.lives.values())

    @property
    def last_ready(self) -> float:
        """When the last instance was Ready on the target."""
        return max(life.ready for life in self.lives.values())

    def gaps(self, batches: dict[str, int]) -> list[float]:
        """Seconds from the last Ready of a batch to the first touch of the next. ``batches``: whose batch was which."""
        first: dict[int, float] = {}
        last: dict[int, float] = {}
        for name, life in self.lives.items():
            batch = batches[name]
            first[batch] = min(first.get(batch, life.touched), life.touched)
            last[batch] = max(last.get(batch, life.ready), life.ready)
        order = sorted(first, key=lambda batch: first[batch])
        return [first[later] - last[earlier] for earlier, later in pairwise(order)]


class Witness:
    """Use with ``async with``; ``account`` when it is over."""

    def __init__(self, api: Api, namespace: str, selector: str = "") -> None:
        self._api = api
        self._path = PODS.format(namespace) + (f"?labelSelector={selector}" if selector else "?")
        self._before: dict[str, str] = {}
        self._seen: list[tuple[float, bytes]] = []
        self._task: asyncio.Task[None]
        self.interruptions = 0

    async def __aenter__(self) -> Witness:
        listed = await self._api.get(self._path)
        self._before = {pod["metadata"]["name"]: pod["metadata"]["uid"] for pod in listed["items"]}
        self._task = asyncio.create_task(self._watch(listed["metadata"]["resourceVersion"]))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task  # a watch that failed before fails the bench here

    async def _watch(self, version: str) -> None:
        while True:
            before = len(self._seen)
            with contextlib.suppress(aiohttp.ClientPayloadError):
                async for chunk in self._api.chunks(f"{self._path}&watch=1&resourceVersion={version}"):
                    self._seen.append((time.time(), chunk))
            # The API server closes a watch that is read too slowly. It goes on where it was; half an event is dropped.
            tail = b"".join(chunk for _, chunk in self._seen[before:])
            whole, _, half = tail.rpartition(b"\n")
            if half:
                self._seen.append((time.time(), b"\n"))
            if whole:
                version = orjson.loads(whole.rpartition(b"\n")[2])["object"]["metadata"]["resourceVersion"]
            self.interruptions += 1

    async def until_upgraded(self, version: str, *, patience: float) -> None:
        """Wait until all pods are there, Ready and on the version."""
        deadline = time.monotonic() + patience
        while wrong := await self._not_upgraded(version):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(wrong)} of {len(self._before)} are not on {version} after {patience:.0f} s")
            await asyncio.sleep(0.5)

    async def _not_upgraded(self, version: str) -> list[str]:
        pods = {p["metadata"]["name"]: p for p in (await self._api.get(self._path))["items"]}
        return [
            n for n in self._before if n not in pods or not is_ready(pods[n]) or image_of(pods[n]) != image(version)
        ]

    def account(self, version: str) -> Account:
        """Decode what was seen."""
        target = image(version)
        lives = {name: Life() for name in self._before}
        uids = dict(self._before)
        down: set[str] = set()
        told = Account(lives)
        ends_well: set[str] = set()
        rest = b""
        for at, chunk in self._seen:
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                try:
                    event = orjson.loads(line)
                except orjson.JSONDecodeError:
                    continue  # the half event before an interruption: it comes again, whole
                pod = event["object"]
                if event["type"] == "ERROR":
                    raise RuntimeError(f"the watch of the witness failed: {pod}")
                name, uid = pod["metadata"]["name"], pod["metadata"]["uid"]
                life = lives.setdefault(name, Life())
                leaving = event["type"] == "DELETED" or "deletionTimestamp" in pod["metadata"]
                if leaving:
                    ends_well.discard(name)
                    if uids.get(name) == uid:
                        uids.pop(name)
                        life.touches += 1
                        life.touched = life.touched or at
                        down.add(name)
                        told.most_down = max(told.most_down, len(down))
                    continue
                uids[name] = uid
                if is_ready(pod):
                    down.discard(name)
                    if image_of(pod) == target and uid != self._before.get(name):
                        ends_well.add(name)
                        life.ready = life.ready or at
                else:
                    ends_well.discard(name)
        told.wrong = tuple(name for name in lives if name not in ends_well)
        return told
