"""Machines by themselves: the extension of 200 VirtualMachines of one subscription upgraded by turns.

At most 20% of them are at work at once, over both namespaces, so the best that can be is five rounds of the settle
time; that kubelets take up to 2 s to notice a patch comes on top. How many were at work at once is read from the stored
upgrades.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Iterator
from datetime import datetime

import plane as planes
import subjects
from api import JSON_PATCH, Api
from operating import Operator
from plane import Plane, pod_writes
from upgrades import ENDS, Say

INSTANCES = 200
_NAMESPACES = ("machines-a", "machines-b")
_CATALOG = "scaleset-system"
_ROUNDS = 5
_PATIENCE = 300.0


async def measure(plane: Plane, runs: int, say: Say) -> dict[str, float]:
    """Medians and every raw figure."""
    found: list[dict[str, float]] = []
    async with Api(plane.control_plane.kubeconfig) as api:
        say(f"{INSTANCES} machines with an extension")
        await _prepare(api)
        with Operator(plane.control_plane.operator_kubeconfig, plane.directory) as operator:
            await _until_ready(api)
            for run in range(1, runs + 1):
                await asyncio.to_thread(operator.await_at_work)
                await asyncio.to_thread(planes.await_calm, plane)
                found.append(await _upgrade(plane, api, operator, f"1.{run}.0"))
                seconds, cpu = found[-1]["s"], found[-1]["cpu_ms_per_machine"]
                say(f"run {run}: {INSTANCES} machines in {seconds:.2f} s, {cpu:.2f} ms CPU each")
    told = {f"machines_{key}": statistics.median(run[key] for run in found) for key in found[0]}
    told["machines_most_at_once"] = max(run["most_at_once"] for run in found)
    told["machines_ideal_s"] = _ROUNDS * subjects.SETTLE_SECONDS
    told["machines_upgrade_vs_ideal"] = told["machines_s"] / told["machines_ideal_s"]
    return told | {f"machines_s_run_{number}": run["s"] for number, run in enumerate(found, start=1)}


async def _prepare(api: Api) -> None:
    await api.create(subjects.IMAGES.format(_CATALOG), subjects.gallery_image(_CATALOG, subjects.version(1)))
    await api.create(subjects.EXTENSIONS.format(_CATALOG), subjects.extension(_CATALOG, "1.0.0"))
    for namespace in _NAMESPACES:
        labels = {"scalesets.dev/subscription": "bench"}
        await api.create("/api/v1/namespaces", {"metadata": {"name": namespace, "labels": labels}})
        for number in range(INSTANCES // len(_NAMESPACES)):
            body = subjects.machine(namespace, f"vm-{number}")
            await api.create(subjects.MACHINES.format(namespace), body)


async def _upgrade(plane: Plane, api: Api, operator: Operator, version: str) -> dict[str, float]:
    cpu, start = operator.cpu_seconds(), time.time()
    patch = [{"op": "add", "path": "/spec/versions/-", "value": subjects.published_extension(version)}]
    await api.patch(f"{subjects.EXTENSIONS.format(_CATALOG)}/agent", patch, JSON_PATCH)
    upgrades = await _until_finished(api, version)
    seconds = time.time() - start
    await asyncio.to_thread(operator.await_at_work)
    cpu = operator.cpu_seconds() - cpu
    await _check(api, version)
    writes = plane.writes(planes.OPERATOR, since=start)
    counted = sum(n for what, n in writes.items() if what.split()[1] not in ("events", "leases"))
    return {
        "s": seconds,
        "cpu_ms_per_machine": cpu * 1000 / INSTANCES,
        "pod_writes_per_machine": pod_writes(writes) / INSTANCES,
        "writes_per_machine": counted / INSTANCES,
        "most_at_once": _most_at_once(upgrades),
        "rss_mb": operator.memory_mb()[0],
    }


async def _until_ready(api: Api) -> None:
    deadline = time.monotonic() + _PATIENCE
    while (ready := sum(map(subjects.is_ready, await _pods(api)))) < INSTANCES:
        if time.monotonic() > deadline:
            raise TimeoutError(f"only {ready} of {INSTANCES} machines are Ready after {_PATIENCE:.0f} s")
        await asyncio.sleep(0.5)


async def _until_finished(api: Api, version: str) -> list[subjects.Body]:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        ended = [status for status in await _upgrades(api) if _ended(status, version)]
        if len(ended) == INSTANCES:
            codes = {status["runningStatus"]["code"] for status in ended}
            if codes != {"Completed"}:
                raise RuntimeError(f"machines' upgrades to {version} ended {codes}")
            return ended
        await asyncio.sleep(0.2)
    raise TimeoutError(f"{len(ended)} of {INSTANCES} machines were upgraded to {version} in {_PATIENCE:.0f} s")


async def _upgrades(api: Api) -> list[subjects.Body]:
    found = [u for n in _NAMESPACES for u in (await api.get(subjects.UPGRADES.format(n)))["items"]]
    return [upgrade.get("status") or {} for upgrade in found]


def _ended(status: subjects.Body, version: str) -> bool:
    code = (status.get("runningStatus") or {}).get("code")
    return code in ENDS and any(target["to"] == version for target in status.get("targetExtensions") or ())


async def _check(api: Api, version: str) -> None:
    image = subjects.extension_image(version)
    pods = await _pods(api)
    on = [p for p in pods if any(c["image"] == image for c in p["spec"]["initContainers"]) and subjects.is_ready(p)]
    if len(on) != INSTANCES:
        raise RuntimeError(f"{len(on)} of {INSTANCES} machines are Ready on extension version {version}")


async def _pods(api: Api) -> list[subjects.Body]:
    return [pod for namespace in _NAMESPACES for pod in (await api.get(subjects.PODS.format(namespace)))["items"]]


def _most_at_once(statuses: list[subjects.Body]) -> int:
    """The most batches that ran at the same time; in whole seconds, and an end comes before a beginning."""
    changes = sorted(change for status in statuses for change in _changes(status))
    running = most = 0
    for _, change in changes:
        running += change
        most = max(most, running)
    return most


def _changes(status: subjects.Body) -> Iterator[tuple[float, int]]:
    for batch in status.get("batches") or ():
        yield datetime.fromisoformat(batch["startTime"]).timestamp(), 1
        yield datetime.fromisoformat(batch["completedTime"]).timestamp(), -1
