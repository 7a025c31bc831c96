"""The API server restarts, drops watches, forgets history, and refuses what it took a moment ago: nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from builders import a_set, an_image
from faultproxy import (
    BROKEN,
    CONFLICT,
    GONE,
    TOO_MANY,
    UNAVAILABLE,
    Delay,
    Expire,
    Fault,
    FaultProxy,
    Request,
    Swallow,
    some,
)
from operators import Operator, Operators
from scene import Scene, code, progress

from scalesets.local.controlplane import ControlPlane


@pytest.fixture
async def proxy(control_plane: ControlPlane, tmp_path: Path) -> AsyncIterator[FaultProxy]:
    async with FaultProxy(control_plane.operator_kubeconfig, tmp_path) as proxy:
        yield proxy


async def started(operators: Operators, proxy: FaultProxy) -> Operator:
    operator = operators.new("--no-leader-election", kubeconfig=proxy.kubeconfig)
    await asyncio.to_thread(operator.start)
    return operator


@asynccontextmanager
async def deployed(operator: Operator) -> AsyncIterator[list[str]]:
    """Start the operator again when it has ended, as a Deployment does; what it said last is kept."""
    ends: list[str] = []

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.1)
            if not operator.running:
                ends.append(operator.output()[-2000:])
                await asyncio.to_thread(operator.start)

    watching = asyncio.create_task(watch())
    try:
        yield ends
    finally:
        watching.cancel()


async def ready_for_an_upgrade(scene: Scene, replicas: int = 10) -> None:
    patient = {"healthTimeout": "PT30S"}  # machines can't tell what they do while nobody listens
    await scene.create(an_image("ubuntu", "1.0.0"), a_set("web", replicas=replicas, claims=True, rolling=patient))
    await scene.until_ready()


async def assert_upgraded(scene: Scene, replicas: int = 10) -> None:
    upgrade = await scene.until_ended(within=90)
    assert (code(upgrade), progress(upgrade)) == ("Completed", (replicas, 0, 0, 0))
    await scene.until_on("2.0.0")
    assert len(scene.upgrades()) == 1


@pytest.mark.parametrize("fault", [CONFLICT, TOO_MANY, BROKEN, UNAVAILABLE], ids=lambda f: f.reason)
async def test_a_third_of_the_writes_is_refused(
    own_operators: Operators, proxy: FaultProxy, scene: Scene, fault: Fault
) -> None:
    operator = await started(own_operators, proxy)
    await ready_for_an_upgrade(scene)
    proxy.rule = some(0.33, fault)
    await scene.publish("ubuntu", "2.0.0")
    await assert_upgraded(scene)
    assert proxy.injected.total() > 5
    assert operator.running


async def test_answers_get_lost_before_and_after_the_deed(
    own_operators: Operators, proxy: FaultProxy, scene: Scene
) -> None:
    operator = await started(own_operators, proxy)
    await ready_for_an_upgrade(scene)
    proxy.rule = some(0.3, Swallow(done=False), Swallow(done=True), Delay(0.5))
    await scene.publish("ubuntu", "2.0.0")
    await assert_upgraded(scene)
    assert proxy.injected.total() > 5
    assert operator.running


async def test_watches_drop_all_the_time(own_operators: Operators, proxy: FaultProxy, scene: Scene) -> None:
    operator = await started(own_operators, proxy)
    await ready_for_an_upgrade(scene)

    async def cut() -> None:
        while True:
            proxy.cut_connections()
            await asyncio.sleep(0.25)

    cutting = asyncio.create_task(cut())
    try:
        await scene.publish("ubuntu", "2.0.0")
        await assert_upgraded(scene)
    finally:
        cutting.cancel()
    assert proxy.injected["cut"] > 5
    assert operator.running


@pytest.mark.parametrize("fault", [GONE, Expire()], ids=["the answer is 410", "the watch says 410"])
async def test_what_was_watched_is_forgotten(
    own_operators: Operators, proxy: FaultProxy, scene: Scene, fault: Fault
) -> None:
    """Every watch that is opened again is told 410, once: the operator lists anew, and finds what went meanwhile."""
    operator = await started(own_operators, proxy)
    await ready_for_an_upgrade(scene)
    told: set[str] = set()

    def once(request: Request) -> Fault | None:
        if not request.watch or request.path in told:
            return None
        told.add(request.path)
        return fault

    proxy.rule = once
    scene.boot_seconds(0.4, 0.6)
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch(2)
    async with deployed(operator):
        proxy.cut_connections()
        await scene.delete("Pod", "web-9", gracePeriodSeconds=0)
        await assert_upgraded(scene)
    assert len(told) >= 5


async def test_it_restarts_in_the_middle_of_a_batch(own_operators: Operators, scene: Scene) -> None:
    operator = own_operators.new().start()
    await ready_for_an_upgrade(scene)
    scene.boot_seconds(0.4, 0.6)
    await scene.publish("ubuntu", "2.0.0")
    await scene.until_batch(2)
    async with deployed(operator):
        await asyncio.to_thread(scene.control_plane.restart_apiserver)
        await assert_upgraded(scene)
