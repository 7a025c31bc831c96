"""Extension upgrades: the same pods patched in place by us and by a bare script, in turn.

The script (`floor_in_place.py`) writes what the operator writes, batch by batch, and waits for the same: another
container, started, the pod Ready, and the settle time. It works while the operator is away, on versions that are
published before, so the operator finds nothing left to do and takes the next version itself. OpenKruise, where it is
to be had, updates pods of its own (`openkruise.py`).
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from pathlib import Path

import orjson

import plane as planes
import subjects
from api import JSON_PATCH, Api
from kruise_program import Program
from openkruise import Peer
from operating import Operator
from plane import Plane, pod_writes
from upgrades import BATCHES, ENDS, Say, until_ready

NAMESPACE = "in-place"
_PATIENCE = 300.0


class Contest:
    """One set with an extension."""

    def __init__(self, plane: Plane, api: Api, instances: int, say: Say) -> None:
        self._plane, self._api, self._instances, self._say = plane, api, instances, say

    async def prepare(self) -> None:
        """Make the set."""
        self._say(f"{self._instances} instances with an extension")
        await self._api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        first = subjects.version(1)
        await self._api.create(subjects.IMAGES.format(NAMESPACE), subjects.gallery_image(NAMESPACE, first))
        await self._api.create(subjects.EXTENSIONS.format(NAMESPACE), subjects.extension(NAMESPACE, "1.0.0"))
        body = subjects.scale_set(NAMESPACE, self._instances)
        body["spec"]["extensions"] = [subjects.AGENT]
        await self._api.create(subjects.SETS.format(NAMESPACE), body)
        with self._operator() as operator:
            await until_ready(self._api, subjects.SETS.format(NAMESPACE), self._instances)
            await asyncio.to_thread(operator.await_at_work)

    async def ours(self, version: str) -> tuple[float, float, float]:
        """Seconds, CPU seconds and pod writes of an upgrade by the operator."""
        await asyncio.to_thread(planes.await_calm, self._plane)
        with self._operator() as operator:
            await asyncio.to_thread(operator.await_at_work)
            cpu, start = operator.cpu_seconds(), time.time()
            await self._publish(version)
            code = await self._until_finished(version)
            seconds = time.time() - start
            await asyncio.to_thread(operator.await_at_work)
            cpu = operator.cpu_seconds() - cpu
            if code != "Completed":
                raise RuntimeError(f"the extension upgrade to {version} ended {code}:\n{operator.log_tail()}")
        await self._check(version)
        writes = self._plane.writes(planes.OPERATOR, since=start, namespace=NAMESPACE)
        return seconds, cpu, pod_writes(writes)

    async def floor(self, version: str) -> tuple[float, float]:
        """Seconds and CPU seconds of the same by the script."""
        await self._publish(version)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(Path(__file__).with_name("floor_in_place.py"))),
            *("--kubeconfig", str(self._plane.control_plane.operator_kubeconfig), "--namespace", NAMESPACE),
            *("--version", version, "--batches", str(BATCHES)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        await asyncio.to_thread(planes.await_calm, self._plane)
        output, _ = await process.communicate(b"go\n")
        if process.returncode:
            raise RuntimeError(f"floor_in_place.py ended with {process.returncode}")
        await self._check(version)
        told = orjson.loads(output)
        return told["end"] - told["start"], told["cpu_s"]

    async def _publish(self, version: str) -> None:
        patch = [{"op": "add", "path": "/spec/versions/-", "value": subjects.published_extension(version)}]
        await self._api.patch(f"{subjects.EXTENSIONS.format(NAMESPACE)}/agent", patch, JSON_PATCH)

    async def _until_finished(self, version: str) -> str:
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            for upgrade in (await self._api.get(subjects.UPGRADES.format(NAMESPACE)))["items"]:
                status = upgrade.get("status") or {}
                code = (status.get("runningStatus") or {}).get("code", "")
                if code in ENDS and any(t["to"] == version for t in status.get("targetExtensions") or ()):
                    return str(code)
            await asyncio.sleep(0.05)
        raise TimeoutError(f"no extension upgrade to {version} ended in {_PATIENCE:.0f} s")

    async def _check(self, version: str) -> None:
        pods = (await self._api.get(subjects.PODS.format(NAMESPACE)))["items"]
        image = subjects.extension_image(version)
        on = [p for p in pods if any(c["image"] == image for c in p["spec"]["initContainers"]) and subjects.is_ready(p)]
        if len(on) != self._instances:
            raise RuntimeError(f"{len(on)} of {self._instances} instances are Ready on extension version {version}")

    def _operator(self) -> Operator:
        return Operator(self._plane.control_plane.operator_kubeconfig, self._plane.directory)


async def measure(plane: Plane, instances: int, runs: int, say: Say, kruise: Program | None) -> dict[str, float]:
    """Medians, ratios and every raw figure; OpenKruise's only where there is its program."""
    ours: list[tuple[float, float, float]] = []
    floor: list[tuple[float, float]] = []
    theirs: list[tuple[float, float, float]] = []
    async with Api(plane.control_plane.kubeconfig) as api:
        contest = Contest(plane, api, instances, say)
        await contest.prepare()
        peer = Peer(plane, api, instances, kruise) if kruise else None
        if peer:
            say(f"{instances} pods of a CloneSet")
            await peer.prepare()
        for run in range(1, runs + 1):
            ours.append(await contest.ours(f"1.{2 * run - 1}.0"))
            say(_line(run, "ours", *ours[-1][:2], instances))
            floor.append(await contest.floor(f"1.{2 * run}.0"))
            say(_line(run, "floor", *floor[-1], instances))
            if peer:
                theirs.append(await peer.upgrade(f"1.{2 * run - 1}.0"))
                say(_line(run, "OpenKruise", *theirs[-1][:2], instances))
    told = {
        "extension_instances": instances,
        "extension_ours_s": statistics.median(s for s, _, _ in ours),
        "extension_floor_s": statistics.median(s for s, _ in floor),
        "extension_writes_per_instance": statistics.median(w for _, _, w in ours) / instances,
        "extension_cpu_ms_per_instance": statistics.median(c for _, c, _ in ours) * 1000 / instances,
        "extension_floor_cpu_ms_per_instance": statistics.median(c for _, c in floor) * 1000 / instances,
    }
    told["extension_upgrade_vs_floor"] = told["extension_ours_s"] / told["extension_floor_s"]
    if theirs:
        told["extension_openkruise_s"] = statistics.median(s for s, _, _ in theirs)
        told["extension_openkruise_cpu_ms_per_instance"] = statistics.median(c for _, c, _ in theirs) * 1000 / instances
        told["extension_openkruise_writes_per_instance"] = statistics.median(w for _, _, w in theirs) / instances
        told["extension_upgrade_vs_openkruise"] = told["extension_ours_s"] / told["extension_openkruise_s"]
    seconds = {"ours": [run[0] for run in ours], "floor": [run[0] for run in floor]}
    for who, each in {**seconds, "openkruise": [run[0] for run in theirs]}.items():
        told |= {f"extension_{who}_s_run_{number}": taken for number, taken in enumerate(each, start=1)}
    return told


def _line(run: int, who: str, seconds: float, cpu: float, instances: int) -> str:
    return f"run {run}: {who} {seconds:.2f} s, {cpu * 1000 / instances:.2f} ms CPU each"
