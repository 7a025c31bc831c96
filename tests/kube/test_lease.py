"""Leader election: never two, and the next one soon."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from faulty_server import json, serving, status_object, until

from scalesets.kube.client import Cluster
from scalesets.kube.lease import LeadershipLost, Lease


class LeaseServer:
    """Stores one Lease as an API server does; can be told to fail."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.broken = False
        self.writes = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if self.broken:
            return status_object(503, "ServiceUnavailable", "the server is down")
        if request.method == "GET":
            return json(self.lease) if self.lease else status_object(404, "NotFound", "no such lease")
        body = await request.json()
        if request.method == "POST" and self.lease:
            return status_object(409, "AlreadyExists", "exists")
        if request.method == "PUT":
            if not self.lease:
                return status_object(404, "NotFound", "no such lease")
            if body["metadata"].get("resourceVersion") != self.lease["metadata"]["resourceVersion"]:
                return status_object(409, "Conflict", "modified")
        self.version += 1
        self.writes += 1
        body["metadata"]["resourceVersion"] = str(self.version)
        self.lease = body
        return json(body)

    @property
    def holder(self) -> str:
        return self.lease["spec"]["holderIdentity"] if self.lease else ""


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def a_candidate(cluster: Cluster, name: str, clock: Clock) -> Lease:
    return Lease(cluster, namespace="n", name="l", identity=name, clock=clock, retry_seconds=0.01)


@contextlib.asynccontextmanager
async def a_server() -> AsyncIterator[tuple[LeaseServer, Cluster]]:
    server = LeaseServer()
    async with serving(server.answer) as cluster:
        yield server, cluster


async def test_the_first_one_leads_and_the_second_waits() -> None:
    async with a_server() as (server, cluster):
        clock = Clock()
        one, two = a_candidate(cluster, "one", clock), a_candidate(cluster, "two", clock)
        await one.win()
        assert one.may_write()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await two.win()
        assert not two.may_write()
        assert server.holder == "one"


async def test_a_leader_that_is_gone_is_succeeded_only_after_the_lease_has_run_out() -> None:
    async with a_server() as (server, cluster):
        clock = Clock()
        one, two = a_candidate(cluster, "one", clock), a_candidate(cluster, "two", clock)
        await one.win()
        waiting = asyncio.create_task(two.win())
        await until(lambda: two.holder == "one")
        clock.now += 14.9
        await asyncio.sleep(0.1)
        assert not waiting.done()
        clock.now += 0.2
        await waiting
        assert two.may_write()
        assert not one.may_write()
        assert server.lease is not None
        assert server.lease["spec"]["leaseTransitions"] == 1


async def test_renewals_keep_the_others_waiting_whatever_the_wall_clock_says() -> None:
    async with a_server() as (server, cluster):
        clock = Clock()
        one, two = a_candidate(cluster, "one", clock), a_candidate(cluster, "two", clock)
        await one.win()
        assert server.lease is not None
        server.lease["spec"]["renewTime"] = "1999-01-01T00:00:00.000000Z"  # a clock that is far off
        keeping = asyncio.create_task(one.keep())
        waiting = asyncio.create_task(two.win())
        for _ in range(10):
            clock.now += 5
            writes = server.writes
            await until(lambda w=writes: server.writes > w + 1)  # type: ignore[misc]
            await asyncio.sleep(0.03)
            assert one.may_write()
            assert not waiting.done()
        for task in (keeping, waiting):
            task.cancel()
        await asyncio.gather(keeping, waiting, return_exceptions=True)


async def test_a_released_lease_is_taken_at_once() -> None:
    async with a_server() as (server, cluster):
        clock = Clock()
        one, two = a_candidate(cluster, "one", clock), a_candidate(cluster, "two", clock)
        await one.win()
        await one.release()
        assert not one.may_write()
        await two.win()
        assert server.holder == "two"


async def test_nothing_is_written_once_the_renew_deadline_has_passed() -> None:
    async with a_server() as (server, cluster):
        clock = Clock()
        one = a_candidate(cluster, "one", clock)
        await one.win()
        clock.now += 9.9
        assert one.may_write()
        server.broken = True
        keeping = asyncio.create_task(one.keep())
        await asyncio.sleep(0.05)
        assert one.may_write()
        clock.now += 0.1
        assert not one.may_write()
        with pytest.raises(LeadershipLost, match="could not be renewed"):
            await keeping


async def test_a_short_outage_is_survived() -> None:
    async with a_server() as (server, cluster):
        clock = Clock()
        one = a_candidate(cluster, "one", clock)
        await one.win()
        keeping = asyncio.create_task(one.keep())
        server.broken = True
        await asyncio.sleep(0.05)
        clock.now += 8
        server.broken = False
        writes = server.writes
        await until(lambda: server.writes > writes + 2)  # the one before the last began and was answered since
        clock.now += 9
        assert one.may_write()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_a_leader_whose_lease_was_taken_stops_for_good() -> None:
    async with a_server() as (server, cluster):
        clock = Clock()
        one = a_candidate(cluster, "one", clock)
        await one.win()
        assert server.lease is not None
        server.version += 1
        server.lease = {
            **server.lease,
            "metadata": {**server.lease["metadata"], "resourceVersion": str(server.version)},
            "spec": {**server.lease["spec"], "holderIdentity": "thief"},
        }
        with pytest.raises(LeadershipLost, match="thief"):
            await one.keep()
        assert not one.may_write()


async def test_an_edit_of_the_lease_by_others_costs_nobody_the_lead() -> None:
    async with a_server() as (server, cluster):
        clock = Clock()
        one = a_candidate(cluster, "one", clock)
        await one.win()
        assert server.lease is not None
        server.version += 1
        server.lease["metadata"]["resourceVersion"] = str(server.version)
        keeping = asyncio.create_task(one.keep())
        writes = server.writes
        await until(lambda: server.writes > writes)
        assert one.may_write()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
