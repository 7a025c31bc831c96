"""When kopf gives up, one line says so; a Deployment starts the process again."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from aiohttp import web
from faulty_server import json, serving

from scalesets.kube import handlers
from scalesets.kube.settings import Settings
from scalesets.kube.startchecks import Findings


async def test_that_kopf_gave_up_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def nothing(_: web.Request) -> web.Response:
        return json({"metadata": {"resourceVersion": "1"}, "items": []})

    async def expired() -> None:
        raise ValueError("too old resource version", {"kind": "Status", "code": 410})

    async def watches(**_: Any) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(expired())]

    caplog.set_level(logging.INFO)
    async with serving(nothing) as cluster:

        async def connect(*_: Any, **__: Any) -> Any:
            return cluster

        async def all_is_well(*_: Any) -> Findings:
            return Findings()

        monkeypatch.setattr(handlers, "connect", connect)
        monkeypatch.setattr(handlers.startchecks, "examine", all_is_well)
        monkeypatch.setattr(handlers.kopf, "spawn_tasks", watches)
        failure = await handlers.run(Settings())
    assert str(failure) == "the watches of our kinds ended: ValueError: too old resource version"
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize(
    ("server", "bound"), [("10.0.0.1", "http://0.0.0.0:8080/healthz"), ("fd00::1", "http://[::]:8080/healthz")]
)
async def test_probes_are_answered_where_the_cluster_has_its_addresses(
    monkeypatch: pytest.MonkeyPatch, server: str, bound: str
) -> None:
    async def nothing(_: web.Request) -> web.Response:
        return json({"metadata": {"resourceVersion": "1"}, "items": []})

    told: dict[str, Any] = {}

    async def watches(**options: Any) -> list[asyncio.Task[None]]:
        told.update(options)
        return [asyncio.create_task(asyncio.sleep(0))]

    async def all_is_well(*_: Any) -> Findings:
        return Findings()

    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", server)
    async with serving(nothing) as cluster:

        async def connect(*_: Any, **__: Any) -> Any:
            return cluster

        monkeypatch.setattr(handlers, "connect", connect)
        monkeypatch.setattr(handlers.startchecks, "examine", all_is_well)
        monkeypatch.setattr(handlers.kopf, "spawn_tasks", watches)
        await handlers.run(Settings(liveness_port=8080))
    assert told["liveness_endpoint"] == bound
