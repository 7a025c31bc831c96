"""The machines' process: nodes, pods and claims in one event loop, steered through one ConfigMap."""

from __future__ import annotations

import asyncio
import logging
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from scalesets.local.layout import Layout
from scalesets.local.machines.claims import Claims
from scalesets.local.machines.connection import Connection
from scalesets.local.machines.faults import CONFIG_MAP, NAMESPACE, Steering
from scalesets.local.machines.nodes import Nodes, node_names
from scalesets.local.machines.pods import Pods

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What `scalesets local machines run` can be told."""

    directory: Path
    port: int
    nodes: int = 3
    zones: tuple[str, ...] = ()
    boot_seconds: tuple[float, float] = (0.05, 0.3)
    patch_seconds: tuple[float, float] = (0.0, 2.0)
    stop_seconds: tuple[float, float] = (0.02, 0.1)
    slow_seconds: float = 3.0
    heartbeat: float = 4.0
    seed: int = 0


def run_machines(options: Options) -> None:
    """Play the machines until SIGTERM or SIGINT."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    uvloop.run(_until_told(options))


async def _until_told(options: Options) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        await _run(options)
    except asyncio.CancelledError:
        _LOG.info("told to stop")


async def _run(options: Options) -> None:
    machines = node_names(options.nodes)
    async with Connection(port=options.port, pki=Layout(options.directory).pki) as connection:
        nodes = Nodes(connection, nodes=machines, zones=options.zones, heartbeat=options.heartbeat)
        pods = Pods(
            connection,
            nodes=machines,
            boot_seconds=options.boot_seconds,
            patch_seconds=options.patch_seconds,
            stop_seconds=options.stop_seconds,
            slow_seconds=options.slow_seconds,
            seed=options.seed,
        )
        claims = Claims(connection)

        steered = asyncio.Event()

        def steer(data: dict[str, str]) -> None:
            steering = Steering.from_data(data)
            for mistake in steering.mistakes:
                _LOG.warning("ConfigMap %s/%s: %s", NAMESPACE, CONFIG_MAP, mistake)
            nodes.steer(steering)
            pods.steer(steering)
            steered.set()

        def replaced(bodies: list[dict[str, Any]]) -> None:
            steer((bodies[0].get("data") or {}) if bodies else {})

        def changed(kind: str, body: dict[str, Any]) -> None:
            steer({} if kind == "DELETED" else body.get("data") or {})

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(claims.run())
            tasks.create_task(
                connection.follow(
                    f"/api/v1/namespaces/{NAMESPACE}/configmaps",
                    selector=f"metadata.name={CONFIG_MAP}",
                    replace=replaced,
                    event=changed,
                )
            )
            await steered.wait()  # or a machine that people stopped would move for a moment
            tasks.create_task(nodes.run())
            tasks.create_task(pods.run())
