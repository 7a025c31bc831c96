"""Extension upgrades: the same pods patched in place by us and by a bare script, in turn.

The script (`floor_in_place.py`) writes what the operator writes, batch by batch, and waits for the same: another
container, started, the pod Ready, and the settle time. It works while the operator is away, on versions that are
published before, so the operator finds nothing left to do and takes the next version itself.
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
from operating import Operator
from plane import Plane
from upgrades import BATCHES, ENDS, Say, pod_writes, until_ready

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


async def measure(plane: Plane, instances: int, runs: int, say: Say) -> dict[str, float]:
    """Medians, the ratio and every raw figure."""
    ours: list[tuple[float, float, float]] = []
    floor: list[tuple[float, float]] = []
    async with Api(plane.control_plane.kubeconfig) as api:
        contest = Contest(plane, api, instances, say)
        await contest.prepare()
        for run in range(runs):
            ours.append(await contest.ours(f"1.{2 * run + 1}.0"))
            say(f"run {run + 1}: ours {ours[-1][0]:.2f} s, {ours[-1][1] * 1000 / instances:.2f} ms CPU each")
            floor.append(await contest.floor(f"1.{2 * run + 2}.0"))
            say(f"run {run + 1}: floor {floor[-1][0]:.2f} s, {floor[-1][1] * 1000 / instances:.2f} ms CPU each")
    told = {
        "extension_ours_s": statistics.median(s for s, _, _ in ours),
        "extension_floor_s": statistics.median(s for s, _ in floor),
        "extension_writes_per_instance": statistics.median(w for _, _, w in ours) / instances,
        "extension_cpu_ms_per_instance": statistics.median(c for _, c, _ in ours) * 1000 / instances,
        "extension_floor_cpu_ms_per_instance": statistics.median(c for _, c in floor) * 1000 / instances,
    }
    told["extension_upgrade_vs_floor"] = told["extension_ours_s"] / told["extension_floor_s"]
    for number, (mine, bare) in enumerate(zip(ours, floor, strict=True), start=1):
        told[f"extension_ours_s_run_{number}"], told[f"extension_floor_s_run_{number}"] = mine[0], bare[0]
    return told
