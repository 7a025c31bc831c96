"""A loopback HTTP server that answers as an API server does in trouble: what a real one can't be made to do at will."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
from aiohttp import web
from kubernetes.aio.client import Configuration

from scalesets.kube.client import Cluster
from scalesets.kube.stats import Stats

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


def status_object(code: int, reason: str, message: str) -> web.Response:
    """A refusal in the API server's words."""
    body = {"kind": "Status", "status": "Failure", "reason": reason, "message": message, "code": code}
    return web.Response(status=code, body=orjson.dumps(body), content_type="application/json")


def json(body: Any, *, status: int = 200) -> web.Response:
    """An answer."""
    return web.Response(status=status, body=orjson.dumps(body), content_type="application/json")


@contextlib.asynccontextmanager
async def serving(answer: Answer) -> AsyncIterator[Cluster]:
    """A connection to a server that gives these answers."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    cluster = Cluster(Configuration(host=f"http://127.0.0.1:{port}"), Stats())
    try:
        yield cluster
    finally:
        await cluster.close()
        await runner.cleanup()


async def until(holds: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - any condition, not only an event's
            await asyncio.sleep(0.005)
