"""How soon the next batch begins: from the last Ready of a batch to the first touch of the next, seen from outside.

The comparison has four such moments per upgrade, too few for a 99th percentile. So here a set of as many instances in
20 update domains, thus 20 batches, is upgraded some times: 19 moments each.
"""

from __future__ import annotations

import asyncio

import plane as planes
import subjects
from api import JSON_PATCH, Api
from operating import Operator
from plane import Plane
from upgrades import Say, ordinal, until_finished, until_ready
from witness import Witness

NAMESPACE = "latency"
DOMAINS = 20
ROUNDS = 5
_PATIENCE = 300.0


async def measure(plane: Plane, instances: int, say: Say) -> list[float]:
    """Milliseconds, one for each change of batches."""
    gaps: list[float] = []
    async with Api(plane.control_plane.kubeconfig) as api:
        await api.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
        await api.create(subjects.IMAGES.format(NAMESPACE), subjects.gallery_image(NAMESPACE, subjects.version(1)))
        body = subjects.scale_set(NAMESPACE, instances, update_domains=DOMAINS)
        await api.create(subjects.SETS.format(NAMESPACE), body)
        with Operator(plane.control_plane.operator_kubeconfig, plane.directory) as operator:
            await until_ready(api, subjects.SETS.format(NAMESPACE), instances)
            for number in range(2, ROUNDS + 2):
                await asyncio.to_thread(operator.await_at_work)
                await asyncio.to_thread(planes.await_calm, plane)
                seen = await _upgrade(api, subjects.version(number))
                say(f"{DOMAINS} batches: {min(seen):.0f} to {max(seen):.0f} ms between them")
                gaps.extend(seen)
    return gaps


async def _upgrade(api: Api, version: str) -> list[float]:
    async with Witness(api, NAMESPACE) as witness:
        patch = [{"op": "add", "path": "/spec/versions/-", "value": subjects.published(version)}]
        await api.patch(f"{subjects.IMAGES.format(NAMESPACE)}/bench", patch, JSON_PATCH)
        code = await until_finished(api, NAMESPACE, version)
        await witness.until_upgraded(version, patience=_PATIENCE)
    account = witness.account(version)
    if code != "Completed" or account.wrong:
        raise RuntimeError(f"the upgrade to {version} ended {code}, {len(account.wrong)} instances are not on it")
    return [gap * 1000 for gap in account.gaps({name: ordinal(name) % DOMAINS for name in account.lives})]


def percentile(samples: list[float], share: float) -> float:
    """The smallest sample that so large a share of all does not exceed."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]
