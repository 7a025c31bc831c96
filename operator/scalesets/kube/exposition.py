"""Serves the metrics over HTTP: plain text at /metrics, for Prometheus to scrape."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from scalesets.kube.metrics import Metrics

PATH = "/metrics"


class PortTaken(Exception):  # noqa: N818
    """The port can't be had."""


@asynccontextmanager
async def serving(metrics: Metrics, port: int | None) -> AsyncIterator[None]:
    """Serve while in it; nothing without a port. PortTaken when it can't be had."""
    if port is None:
        yield
        return

    async def text(_: web.Request) -> web.Response:
        return web.Response(body=metrics.text(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.router.add_get(PATH, text)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, None, port).start()
        except OSError as error:
            raise PortTaken(f"metrics can't be served at port {port}: {error.strerror}; choose another") from error
        yield
    finally:
        await runner.cleanup()
