"""The pods on our machines: what the watch says goes into their lives, and what their lives show goes to the API
server.

A pod is known by its UID, so one that is created anew under an old name is another one, and nothing meant for the
former ever reaches it: a status patch names the UID, a delete has it as its precondition. One write per pod is under
way at a time; what changes meanwhile goes out with the next one.
"""

from __future__ import annotations

import asyncio
import datetime
import itertools
import logging
import random
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from scalesets.local.machines.connection import STRATEGIC_PATCH, Connection
from scalesets.local.machines.containers import Container
from scalesets.local.machines.faults import Mode, Rule, Steering, Target, mode_of
from scalesets.local.machines.lifecycle import Pod, Tempo
from scalesets.local.machines.nodes import patches_sidecars
from scalesets.local.machines.references import Lookups

JsonObject = dict[str, Any]

_LOG = logging.getLogger(__name__)
_WRITERS = 24
_RETRY_SECONDS = 0.2
_SCALESET = "scalesets.dev/scaleset"
_IMAGE_VERSION = "scalesets.dev/image-version"


@dataclass(slots=True)
class _Resident:
    """A pod and what is still to be written of it."""

    pod: Pod
    unwritten: bool = True
    queued: bool = False
    ends_at: float | None = None
    """When its containers will have stopped; None: nobody asked it to end."""
    gone: bool = False
    written_version: int = 0
    """The resourceVersion that our last status patch made."""
    timer: asyncio.TimerHandle | None = None


class Pods:
    """All pods on the simulated machines."""

    def __init__(
        self,
        connection: Connection,
        *,
        nodes: dict[str, str],
        boot_seconds: tuple[float, float],
        patch_seconds: tuple[float, float],
        stop_seconds: tuple[float, float],
        slow_seconds: float,
        seed: int,
    ) -> None:
        """`nodes` maps the names of our machines to their addresses."""
        self._loop = asyncio.get_running_loop()
        self._connection = connection
        self._lookups = Lookups(connection.find)
        self._questions: set[asyncio.Task[None]] = set()
        self._nodes = nodes
        self._random = random.Random(seed)
        self._default_boot = self._boot = boot_seconds
        self._default_patch = self._patch = patch_seconds
        self._stop = stop_seconds
        self._tempo = Tempo(
            boot=lambda: self._random.uniform(*self._boot),
            patch_delay=lambda: self._random.uniform(*self._patch),
            slow_seconds=slow_seconds,
        )
        self._residents: dict[str, _Resident] = {}
        self._queue: asyncio.Queue[_Resident] = asyncio.Queue()
        self._addresses = itertools.count(1)
        self._steering = Steering()
        self._rules: tuple[Rule, ...] = ()
        self._rules_timer: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Follow the pods for ever."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_WRITERS):
                tasks.create_task(self._write_for_ever())
            tasks.create_task(
                self._connection.follow(
                    "/api/v1/pods",
                    selector="spec.nodeName!=",
                    replace=self._replace,
                    event=self._event,
                    known=self._knows,
                )
            )

    # What the watch says.

    def _replace(self, bodies: Iterable[JsonObject]) -> None:
        seen = set()
        for body in bodies:
            seen.add(body["metadata"]["uid"])
            self._event("MODIFIED", body)
        for uid in self._residents.keys() - seen:
            self._forget(uid)

    def _knows(self, kind: str, uid: str, version: int) -> bool:
        """Say whether an event has nothing new: what we wrote ourselves, and pods that are on their way out."""
        if kind == "DELETED":
            self._forget(uid)
            return True
        resident = self._residents.get(uid)
        return resident is not None and (resident.ends_at is not None or version == resident.written_version)

    def _event(self, kind: str, body: JsonObject) -> None:
        metadata = body["metadata"]
        uid = metadata["uid"]
        if kind == "DELETED":
            self._forget(uid)
            return
        now = time.time()
        resident = self._residents.get(uid)
        if resident is None:
            resident = self._take_in(body, now)
            if resident is None:
                return
        pod = resident.pod
        if "deletionTimestamp" in metadata:
            if resident.ends_at is None and metadata.get("deletionGracePeriodSeconds"):
                grace = float(metadata["deletionGracePeriodSeconds"])
                resident.ends_at = now + min(grace, self._random.uniform(*self._stop))
        else:
            pod.generation = metadata.get("generation", 0)
            conditions = (body.get("status") or {}).get("conditions") or ()
            pod.see_conditions(conditions)
            for container in self._patchable(pod, body["spec"]):
                pod.set_image(container["name"], container["image"], now)
            if not resident.unwritten and int(metadata["resourceVersion"]) > resident.written_version:
                resident.unwritten = _says_ready(conditions) is not pod.ready  # others wrote it, for a lost machine
        self._look(resident, now)

    def _patchable(self, pod: Pod, spec: JsonObject) -> Iterator[JsonObject]:
        """Return the containers whose images its machine looks after."""
        if patches_sidecars(self._steering.kubelet_versions.get(pod.node)):
            yield from spec.get("initContainers", ())
        yield from spec["containers"]

    def _take_in(self, body: JsonObject, now: float) -> _Resident | None:
        node = body["spec"]["nodeName"]
        if node not in self._nodes:
            return None
        pod = Pod(
            body,
            now=now,
            ip=self._address(),
            node_ip=self._nodes[node],
            tempo=self._tempo,
            mode_of=self._mode_of,
        )
        # A status that was written before is not written again; a fresh pod's is first written when something started.
        resident = _Resident(pod, unwritten=False)
        self._residents[pod.uid] = resident
        return resident

    def _forget(self, uid: str) -> None:
        if resident := self._residents.pop(uid, None):
            resident.gone = True
            if resident.timer:
                resident.timer.cancel()

    # What people set.

    def steer(self, steering: Steering) -> None:
        """Take over new rules, boot times and stopped machines."""
        returned = self._steering.stopped_nodes - steering.stopped_nodes
        self._steering = steering
        self._boot = steering.boot_seconds or self._default_boot
        self._patch = steering.patch_seconds or self._default_patch
        self._apply_rules()
        now = time.time()
        for resident in list(self._residents.values()):
            if resident.pod.node in returned:
                resident.unwritten = True  # others have called the pod unready meanwhile
                self._look(resident, now)

    def _apply_rules(self) -> None:
        moment = datetime.datetime.now(datetime.UTC)
        if self._rules_timer:
            self._rules_timer.cancel()
            self._rules_timer = None
        if change := self._steering.next_change(moment):
            seconds = (change - moment).total_seconds()
            self._rules_timer = self._loop.call_later(seconds + 0.001, self._apply_rules)
        rules = self._steering.in_force(moment)
        if rules == self._rules:
            return
        self._rules = rules
        now = time.time()
        for resident in list(self._residents.values()):
            if resident.pod.node not in self._steering.stopped_nodes and resident.pod.react(now):
                resident.unwritten = True
                self._look(resident, now)

    def _mode_of(self, pod: Pod, container: Container) -> Mode:
        labels = pod.labels
        return mode_of(
            Target(
                namespace=pod.namespace,
                pod=pod.name,
                scaleset=labels.get(_SCALESET, ""),
                image_version=labels.get(_IMAGE_VERSION, ""),
                image=container.image,
                main=container.main,
            ),
            self._rules,
        )

    # What is due, and written.

    def _look(self, resident: _Resident, now: float) -> None:
        """Let a pod's life go on; what follows is queued, or a timer set for it."""
        if resident.gone or resident.pod.node in self._steering.stopped_nodes:
            return
        pod = resident.pod
        ends_at = resident.ends_at
        if ends_at is None and pod.advance(now):
            resident.unwritten = True
        while pod.questions:
            task = self._loop.create_task(self._answer(resident, pod.questions.pop()))
            self._questions.add(task)
            task.add_done_callback(self._questions.discard)
        if resident.unwritten if ends_at is None else ends_at <= now:
            if not resident.queued:
                resident.queued = True
                self._queue.put_nowait(resident)
            return
        due = ends_at if ends_at is not None else pod.next_due
        if resident.timer:
            resident.timer.cancel()
            resident.timer = None
        if due is not None:
            # A millisecond more: a timer that fires early would only be set again.
            resident.timer = self._loop.call_later(max(0.0, due - now) + 0.001, self._on_time, resident)

    def _on_time(self, resident: _Resident) -> None:
        resident.timer = None
        self._look(resident, time.time())

    async def _answer(self, resident: _Resident, container: Container) -> None:
        """Look for what a container needs, and tell its pod."""
        pod = resident.pod
        unmounted = await self._lookups.problem(pod.mounts(container), pod.namespace)
        missing = "" if unmounted else await self._lookups.problem(container.variables, pod.namespace)
        now = time.time()
        resident.unwritten |= pod.told(container, now, unmounted=unmounted, missing=missing)
        self._look(resident, now)

    async def _write_for_ever(self) -> None:
        while True:
            resident = await self._queue.get()
            silent = resident.gone or resident.pod.node in self._steering.stopped_nodes
            if not silent and not await self._write(resident):
                await asyncio.sleep(_RETRY_SECONDS)
            resident.queued = False
            self._look(resident, time.time())

    async def _write(self, resident: _Resident) -> bool:
        """Write what is due; False: it has to be tried again."""
        pod = resident.pod
        path = f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}"
        now = time.time()
        if resident.ends_at is not None:
            if resident.ends_at > now:
                return True
            options = {"gracePeriodSeconds": 0, "preconditions": {"uid": pod.uid}}
            status, answer = await self._connection.send("DELETE", path, options)
            resident.gone = status < 300 or status in (404, 409)
        else:
            resident.unwritten = False
            patch = {"metadata": {"uid": pod.uid}, "status": pod.status(now)}
            status, answer = await self._connection.send("PATCH", f"{path}/status", patch, STRATEGIC_PATCH)
            if status == 200:
                resident.written_version = _resource_version(answer)
            elif status not in (404, 409):
                resident.unwritten = True
        if status >= 400 and status not in (404, 409):
            words = answer[:300].decode(errors="replace")
            _LOG.warning("pod %s/%s: %s %s", pod.namespace, pod.name, status, words)
            if status == 422:  # another pod has the name now
                resident.unwritten = False
                return True
            return False
        return True

    def _address(self) -> str:
        number = next(self._addresses) % (1 << 22)
        return f"10.{64 + (number >> 16)}.{(number >> 8) & 255}.{number & 255}"


def _says_ready(conditions: Iterable[JsonObject]) -> bool:
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def _resource_version(answer: bytes) -> int:
    """Find the object's resourceVersion without decoding it: the first one is the metadata's."""
    _, found, rest = answer.partition(b'"resourceVersion":"')
    return int(rest[: rest.index(b'"')]) if found else 0
