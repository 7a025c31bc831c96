"""What the API server's refusals mean, and the fence before every write."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from aiohttp import web
from faulty_server import json, serving, status_object

from scalesets.kube.client import Outcome, Refusal, refusal_of
from scalesets.kube.kinds import EVENTS, LEASES, PODS, SCALE_SETS

POD: dict[str, Any] = {"kind": "Pod", "metadata": {"name": "a"}}


@pytest.mark.parametrize(
    ("status", "reason", "message", "outcome"),
    [
        (409, "AlreadyExists", 'pods "a" already exists', Outcome.EXISTS),
        (409, "Conflict", "the object has been modified", Outcome.CONFLICT),
        (404, "NotFound", 'pods "a" not found', Outcome.MISSING),
        (422, "Invalid", "spec.containers: Required value", Outcome.INVALID),
        (400, "BadRequest", 'strict decoding error: unknown field "spec.x"', Outcome.INVALID),
        (403, "Forbidden", 'pods "a" is forbidden: exceeded quota: q', Outcome.QUOTA),
        (403, "Forbidden", 'User "x" cannot create resource "pods"', Outcome.FORBIDDEN),
        (403, "Forbidden", 'pods "a" is forbidden: status unknown for quota: q, resources: pods', Outcome.BUSY),
        (410, "Expired", "too old", Outcome.GONE),
        (413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728", Outcome.INVALID),
        (500, "", "etcdserver: request is too large", Outcome.INVALID),
        (500, "", "trying to send message larger than max (2517016 vs. 2097152)", Outcome.INVALID),
        (429, "TooManyRequests", "slow down", Outcome.BUSY),
        (500, "InternalError", "etcdserver: leader changed", Outcome.BUSY),
        (503, "ServiceUnavailable", "apiserver is shutting down", Outcome.BUSY),
        (504, "Timeout", "request timed out", Outcome.BUSY),
    ],
)
def test_each_refusal_has_one_meaning(status: int, reason: str, message: str, outcome: Outcome) -> None:
    raw = orjson.dumps({"kind": "Status", "reason": reason, "message": message})
    refusal = refusal_of(status, raw, "POST /api/v1/pods")
    assert (refusal.outcome, refusal.message, refusal.status) == (outcome, message, status)
    assert str(refusal).startswith("POST /api/v1/pods: ")


def test_a_refusal_without_a_status_object_still_says_something() -> None:
    assert refusal_of(502, b"<html>Bad Gateway</html>", "GET /x").message == "<html>Bad Gateway</html>"
    assert refusal_of(500, b"", "GET /x").message == "status 500"


async def test_the_server_may_say_how_long_to_wait() -> None:
    async def answer(_: web.Request) -> web.Response:
        response = status_object(429, "TooManyRequests", "slow down")
        response.headers["Retry-After"] = "7"
        return response

    async with serving(answer) as cluster:
        with pytest.raises(Refusal) as caught:
            await cluster.create(PODS, "n", POD)
    assert caught.value.retry_after == 7


async def test_no_write_passes_the_fence_but_the_lease() -> None:
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(f"{request.method} {request.path}")
        return json({"kind": "Pod", "metadata": {}})

    async with serving(answer) as cluster:
        cluster.may_write = lambda: False
        writes = [
            cluster.create(PODS, "n", POD),
            cluster.patch(PODS, "n", "a", {}),
            cluster.delete(PODS, "n", "a", uid="u"),
            cluster.replace(PODS, "n", "a", POD),
            cluster.write_status(SCALE_SETS, "n", "a", {}, version="1"),
            cluster.create(EVENTS, "n", {}),
        ]
        for write in writes:
            with pytest.raises(Refusal) as caught:
                await write
            assert caught.value.outcome is Outcome.FENCED
        assert asked == []
        await cluster.get(PODS, "n", "a")
        await cluster.replace(LEASES, "n", "l", {})
    assert len(asked) == 2


async def test_writes_are_counted_by_what_they_cost_the_cluster() -> None:
    async def answer(_: web.Request) -> web.Response:
        return json({"kind": "Pod", "metadata": {}})

    async with serving(answer) as cluster:
        await cluster.create(PODS, "n", POD)
        await cluster.create(PODS, "n", POD, dry_run=True)
        await cluster.create(EVENTS, "n", {})
        await cluster.write_status(SCALE_SETS, "n", "a", {}, version="1")
        stats = cluster.stats
    assert dict(stats.writes) == {"POST pods": 1, "PATCH scalesets/status": 1}
    assert dict(stats.apart) == {"POST pods": 1, "POST events": 1}


async def test_a_status_is_written_for_the_version_that_was_read() -> None:
    bodies: list[Any] = []

    async def answer(request: web.Request) -> web.Response:
        bodies.append((request.content_type, request.path, await request.json()))
        return json({})

    async with serving(answer) as cluster:
        await cluster.write_status(SCALE_SETS, "n", "web", {"replicas": 1}, version="42")
    content_type, path, patch = bodies[0]
    assert content_type == "application/json-patch+json"
    assert path == "/apis/scalesets.dev/v1alpha1/namespaces/n/scalesets/web/status"
    assert patch[0] == {"op": "replace", "path": "/metadata/resourceVersion", "value": "42"}
    assert patch[1] == {"op": "add", "path": "/status", "value": {"replicas": 1}}


async def test_a_connection_that_breaks_is_no_verdict() -> None:
    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        await asyncio.sleep(0)
        return web.Response()

    async with serving(answer) as cluster:
        with pytest.raises(Refusal) as caught:
            await cluster.create(PODS, "n", POD)
    assert caught.value.outcome is Outcome.NO_ANSWER


async def test_a_server_that_does_not_answer_in_time_is_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    monkeypatch.setattr("scalesets.kube.client.WRITE_TIMEOUT", 0.1)
    async with serving(answer) as cluster:
        with pytest.raises(Refusal) as caught:
            await cluster.create(PODS, "n", POD)
    assert caught.value.outcome is Outcome.NO_ANSWER
