"""Many sets at rest: what the operator costs when nothing happens, and what it costs to start among them."""

from __future__ import annotations

import asyncio
import time

import plane as planes
import subjects
from api import Api
from operating import Operator
from plane import Plane
from upgrades import Say, until_ready

NAMESPACE = "fleet"
SETS, EACH = 100, 100
MINUTE = 60.0


async def measure(plane: Plane, say: Say) -> dict[str, float]:
    """Figures of a quiet minute and of a start."""
    count = SETS * EACH
    told: dict[str, float] = {"fleet_sets": SETS, "fleet_instances": count}
    async with Api(plane.control_plane.kubeconfig) as api:
        await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        await api.create(subjects.IMAGES.format(NAMESPACE), subjects.gallery_image(NAMESPACE, subjects.version(1)))
        with _operator(plane) as operator:
            say(f"{SETS} sets of {EACH}")
            start = time.time()
            for number in range(SETS):
                body = subjects.scale_set(NAMESPACE, EACH, name=f"web{number}")
                await api.create(subjects.SETS.format(NAMESPACE), body)
            await until_ready(api, subjects.SETS.format(NAMESPACE), count)
            told["fleet_create_s"] = time.time() - start
            told["fleet_create_cpu_s"] = operator.cpu_seconds()
            say(f"all Ready after {told['fleet_create_s']:.0f} s; now a quiet minute")
            await asyncio.to_thread(operator.await_at_work, quiet_seconds=5.0)
            told |= await _quiet_minute(plane, operator)
            told["fleet_create_peak_rss_mb"] = operator.memory_mb()[1]
        say("started anew among them")
        await asyncio.to_thread(planes.await_calm, plane)
        with _operator(plane) as operator:
            start = time.time()
            await asyncio.to_thread(operator.await_at_work)
            synced = operator.figures()["marks"]["synced"]
            told["sync_10k_cpu_s"] = synced["cpu_seconds"]
            told["sync_10k_s"] = synced["seconds_since_start"]
            told["sync_10k_until_quiet_cpu_s"] = operator.cpu_seconds()
            told["sync_10k_writes"] = _without_lease(plane.writes(planes.OPERATOR, since=start))
            told["sync_10k_peak_rss_mb"] = operator.memory_mb()[1]
    told["peak_rss_mb"] = max(told["fleet_create_peak_rss_mb"], told["sync_10k_peak_rss_mb"])
    return told


async def _quiet_minute(plane: Plane, operator: Operator) -> dict[str, float]:
    start, cpu = time.time(), operator.cpu_seconds()
    await asyncio.sleep(MINUTE)
    writes = plane.writes(planes.OPERATOR, since=start)
    return {
        "idle_writes_per_minute": _without_lease(writes),
        "idle_lease_writes_per_minute": writes["update leases"] + writes["patch leases"],
        "idle_cpu_s_per_minute": operator.cpu_seconds() - cpu,
        "idle_rss_mb": operator.memory_mb()[0],
    }


def _without_lease(writes: dict[str, int]) -> int:
    return sum(count for what, count in writes.items() if not what.endswith(" leases"))


def _operator(plane: Plane) -> Operator:
    return Operator(plane.control_plane.operator_kubeconfig, plane.directory)
