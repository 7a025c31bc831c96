"""Traces, as a collector on loopback receives them: what is sent, when, and that nobody ever waits for it."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import web
from faulty_server import json, serving, status_object
from kube_objects import NAMESPACE, a_set, stored

from collector import QUICKLY, Collector, collecting
from scalesets.kube import times, tracing
from scalesets.kube.client import Cluster, Refusal
from scalesets.kube.fleet import utc_now
from scalesets.kube.kinds import PODS
from scalesets.kube.queue import Again
from scalesets.kube.tracing import OFF, CannotTrace, Traces
from scalesets.kube.work import Topic, Work

UID = "0f3c1a52-7d6e-4b1b-9c55-2a6f0e8d4b11"
WORK = Work(Topic.SCALE_SET, NAMESPACE, "web")


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    for name, value in QUICKLY.items():
        monkeypatch.setenv(name, value)
    with collecting() as collector:
        monkeypatch.setenv(tracing.ENDPOINT, collector.url)
        yield collector


@asynccontextmanager
async def sending(collector: Collector, instance: str = "one", **environment: str) -> AsyncIterator[Traces]:
    traces = tracing.start({tracing.ENDPOINT: collector.url, **environment}, instance=instance)
    try:
        yield traces
    finally:
        await traces.close()


def an_upgrade(code: str = "Completed", *, ago: float = 5, uid: str = UID, batches: int = 2) -> dict[str, Any]:
    end = utc_now() - timedelta(seconds=ago)
    start = end - timedelta(seconds=60)
    every = [
        {
            "number": number,
            "startTime": times.render(start),
            "completedTime": times.render(end),
            "ordinals": str(number),
            "outcome": "Succeeded",
        }
        for number in range(1, batches + 1)
    ]
    running = {"code": code, "startTime": times.render(start), "completedTime": times.render(end)}
    return stored(
        {
            "kind": "RollingUpgrade",
            "metadata": {"name": "web-os-1", "namespace": NAMESPACE, "uid": uid},
            "spec": {"scaleSet": "web", "type": "OSImage"},
            "status": {"runningStatus": running, "batches": every},
        }
    )


# -- whether -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "where"),
    [
        ({}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, ""),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, "http://collector:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"}, "http://collector:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/own"}, "https://c/own"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/own", tracing.ENDPOINT: "http://d"}, "https://c/own"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://me:secret@c:4318"}, "https://c:4318/v1/traces"),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "http://localhost:4318/v1/traces"),
        ({"OTEL_TRACES_EXPORTER": "none", tracing.ENDPOINT: "http://c"}, ""),
        ({"OTEL_SDK_DISABLED": "true", tracing.ENDPOINT: "http://c"}, ""),
        ({"OTEL_SDK_DISABLED": "false", tracing.ENDPOINT: "http://c"}, "http://c/v1/traces"),
        ({"OTEL_TRACES_SAMPLER": "always_off", tracing.ENDPOINT: "http://c"}, ""),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ""),
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, ""),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf", tracing.ENDPOINT: "http://c"}, "http://c/v1/traces"),
    ],
)
def test_where_they_go(environment: dict[str, str], where: str) -> None:
    assert tracing.check(environment) == where


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        (
            {tracing.ENDPOINT: "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http",
        ),
        ({tracing.ENDPOINT: "http://c", "OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER=zipkin"),
        ({tracing.ENDPOINT: "http://[::1"}, "is no URL like"),
        ({tracing.ENDPOINT: "http://collector:otlp"}, "is no URL like"),
        ({tracing.ENDPOINT: "collector:4318"}, "'collector:4318', is no URL like http://localhost:4318"),
    ],
)
def test_what_cannot_be_is_said(environment: dict[str, str], words: str) -> None:
    with pytest.raises(CannotTrace, match=words):
        tracing.check(environment)


def test_without_the_packages_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("opentelemetry", "opentelemetry.sdk"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CannotTrace, match=r"install scaleset-operator\[tracing\]"):
        tracing.start({tracing.ENDPOINT: "http://c"}, instance="one")
    assert tracing.start({}, instance="one") is OFF


def test_a_setting_that_the_sdk_refuses_is_said(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1")
    with pytest.raises(CannotTrace, match=r"max_queue_size.*look at the OTEL_ variables"):
        tracing.start({tracing.ENDPOINT: collector.url}, instance="one")


def test_nothing_of_it_is_imported_while_nobody_asks() -> None:
    program = (
        "import sys; from scalesets.kube import handlers, tracing; "
        "assert tracing.start({}, instance='one') is tracing.OFF; "
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'google.protobuf', 'requests'))])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "opentelemetry" not in done.stdout and "protobuf" not in done.stdout


async def test_switched_off_everything_is_as_without_it() -> None:
    async def look(work: Work) -> Again:
        return Again()

    assert OFF.followed(look) is look
    OFF.lead([an_upgrade()])
    OFF.upgrade_changed(None, an_upgrade())
    await OFF.close()


# -- upgrades ----------------------------------------------------------------------------------------------------------


async def test_an_upgrade_arrives_as_one_trace(collector: Collector) -> None:
    async with sending(collector) as traces:
        traces.lead(())
        running, ended = an_upgrade("RollingForward"), an_upgrade()
        traces.upgrade_changed(None, running)
        traces.upgrade_changed(running, ended)
        traces.upgrade_changed(ended, {**ended, "metadata": {**ended["metadata"], "resourceVersion": "9999"}})

    root, *batches = collector.spans
    assert [span.name for span in collector.spans] == ["upgrade OSImage", "batch", "batch"]
    assert {span.trace for span in collector.spans} == {UID.replace("-", "")}
    assert root.parent == "" and {batch.parent for batch in batches} == {root.id}
    assert root.end - root.start == 60 * 10**9
    assert root.attributes["scaleset.name"] == "web" and not root.failed
    assert root.service["service.name"] == "scaleset-operator"
    assert root.service["service.instance.id"] == "one"


async def test_who_tells_again_tells_the_same(collector: Collector) -> None:
    ended = an_upgrade(batches=7)
    for instance in ("one", "two"):
        async with sending(collector, instance) as traces:
            traces.lead([ended])

    assert len(collector.spans) == 16
    assert len({(span.trace, span.id, span.parent, span.start, span.end) for span in collector.spans}) == 8
    assert {span.service["service.instance.id"] for span in collector.spans} == {"one", "two"}


async def test_only_the_leader_tells_and_of_the_past_only_what_is_fresh(collector: Collector) -> None:
    lately, long_ago = an_upgrade(), an_upgrade(ago=3600, uid=UID.replace("0", "1"))
    async with sending(collector) as traces:
        traces.upgrade_changed(an_upgrade("RollingForward"), lately)
        traces.upgrade_changed(None, long_ago)
        traces.lead([lately, long_ago])
        traces.upgrade_changed(long_ago, long_ago)

    assert {span.trace for span in collector.spans} == {UID.replace("-", "")}


async def test_who_stands_by_tells_nothing(collector: Collector) -> None:
    async with sending(collector) as traces:
        traces.upgrade_changed(an_upgrade("RollingForward"), an_upgrade())

    assert collector.spans == []


async def test_upgrades_are_told_whatever_the_sampler_leaves_out(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")

    async def look(work: Work) -> Again:
        tracing.decided(0.001)
        return Again()

    async with sending(collector) as traces:
        traces.lead([an_upgrade()])
        await traces.followed(look)(WORK)

    assert [span.name for span in collector.spans] == ["upgrade OSImage", "batch", "batch"]


async def test_a_status_that_makes_no_sense_is_said_and_passed_over(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    bad = an_upgrade(uid="other")
    bad["status"]["batches"][0]["startTime"] = "2026-02-30T00:00:00Z"
    async with sending(collector) as traces:
        traces.lead([bad, an_upgrade()])

    assert len(collector.spans) == 3
    assert "no trace of RollingUpgrade web-os-1" in caplog.text


# -- looks -------------------------------------------------------------------------------------------------------------


async def answer(request: web.Request) -> web.StreamResponse:
    if request.method == "POST":
        return status_object(409, "AlreadyExists", "it is there")
    return json(a_set())


async def a_look(cluster: Cluster) -> None:
    tracing.decided(0.25)
    await cluster.get(PODS, NAMESPACE, "web-0")
    tracing.belong_to(tracing.part_of(), failures=3)
    with pytest.raises(Refusal):
        await cluster.create(PODS, NAMESPACE, {})


async def test_a_look_with_its_decision_and_its_requests(collector: Collector) -> None:
    async with serving(answer) as cluster, sending(collector) as traces:

        async def look(work: Work) -> Again:
            await a_look(cluster)
            return Again(failed=True)

        await cluster.get(PODS, NAMESPACE, "web-1")  # of no look
        await traces.followed(look)(WORK)
        await cluster.get(PODS, NAMESPACE, "web-1")

    (whole,) = collector.named("reconcile scaleset")
    assert whole.failed and whole.message == "tried again later"
    assert whole.attributes == {"k8s.namespace.name": NAMESPACE, "scaleset.kind": "ScaleSet", "scaleset.name": "web"}
    parts = [span for span in collector.spans if span is not whole]
    assert {(span.trace, span.parent) for span in parts} == {(whole.trace, whole.id)}
    decide, get, post = sorted(parts, key=lambda span: span.end)
    assert [span.name for span in (decide, get, post)] == ["decide", "GET pods", "POST pods"]
    assert decide.end - decide.start == 250_000_000
    assert get.attributes == {
        "http.request.method": "GET",
        "http.response.status_code": 200,
        "url.path": f"/api/v1/namespaces/{NAMESPACE}/pods/web-0",
        "scaleset.api.resource": "pods",
    }
    assert (get.kind, get.failed) == (3, False)  # a client's
    assert post.failed and post.attributes["error.type"] == "409"
    assert post.attributes["http.request.resend_count"] == 3


@pytest.mark.parametrize(
    ("work", "name", "kind", "whose"),
    [
        (Work(Topic.SCALE_SET, "a", "virtualmachine/db"), "reconcile scaleset", "VirtualMachine", "db"),
        (Work(Topic.SCALE_SET, "a", "availabilityset/dbs"), "reconcile scaleset", "AvailabilitySet", "dbs"),
        (Work(Topic.IMAGE, "a", "jammy"), "reconcile galleryimage", "GalleryImage", "jammy"),
        (Work(Topic.EXTENSION, "a", "log"), "reconcile extension", "Extension", "log"),
    ],
)
async def test_a_look_says_whose_it_is(collector: Collector, work: Work, name: str, kind: str, whose: str) -> None:
    async def look(work: Work) -> Again:
        return Again()

    async with sending(collector) as traces:
        await traces.followed(look)(work)

    (span,) = collector.spans
    assert (span.name, span.attributes["scaleset.kind"], span.attributes["scaleset.name"]) == (name, kind, whose)
    assert not span.failed


async def test_what_a_look_began_is_its_part_though_it_is_over(collector: Collector) -> None:
    async with serving(answer) as cluster, sending(collector) as traces:
        begun: list[tracing.Part | None] = []

        async def look(work: Work) -> Again:
            begun.append(tracing.part_of())
            return Again()

        async def act() -> None:
            tracing.belong_to(begun[0])
            await cluster.get(PODS, NAMESPACE, "web-0")

        followed = traces.followed(look)
        await followed(WORK)
        await followed(WORK)
        assert tracing.part_of() is None
        await asyncio.create_task(act())

    first, _ = sorted(collector.named("reconcile scaleset"), key=lambda span: span.start)
    (request,) = collector.named("GET pods")
    assert (request.trace, request.parent) == (first.trace, first.id)


async def test_a_look_that_breaks_is_told_and_breaks_all_the_same(collector: Collector) -> None:
    async def look(work: Work) -> Again:
        raise KeyError("a bug")

    async with sending(collector) as traces:
        with pytest.raises(KeyError):
            await traces.followed(look)(WORK)

    assert collector.spans[0].failed


# -- to the collector --------------------------------------------------------------------------------------------------


async def test_the_environment_says_who_it_is_and_how_to_get_in(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "fleet")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.instance.id=mine")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20abc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    async with sending(collector) as traces:
        traces.lead([an_upgrade()])

    service = collector.spans[0].service
    assert service["service.name"] == "fleet" and service["service.instance.id"] == "mine"
    assert service["deployment.environment.name"] == "test"
    assert collector.headers[0]["authorization"] == "Bearer abc"


async def test_a_dead_collector_holds_nothing_up_and_is_said_once(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    collector.status = 401

    async def look(work: Work) -> Again:
        tracing.decided(0.001)
        return Again()

    async with sending(collector) as traces:
        followed = traces.followed(look)
        longest = 0.0
        began = time.monotonic()
        while collector.tries < 5 and time.monotonic() - began < 20:
            for _ in range(200):
                before = time.monotonic()
                await followed(WORK)
                longest = max(longest, time.monotonic() - before)
            await asyncio.sleep(0.02)
        said = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert collector.tries >= 5
        assert [record.name for record in said] == ["scalesets.kube.otlp"]
        assert f"don't arrive at {collector.url}/v1/traces" in said[0].getMessage() and "401" in said[0].getMessage()
        assert longest < 1

        collector.status = 200
        await followed(WORK)
        await asyncio.to_thread(collector.until, 1)
    again = [record.getMessage() for record in caplog.records if "arrive again" in record.getMessage()]
    assert len(again) == 1


async def test_one_that_is_not_there_neither(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(tracing.ENDPOINT, "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")
    async with sending(collector, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1") as traces:
        traces.lead([an_upgrade()])

    (said,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "127.0.0.1:1/v1/traces" in said and "refused" in said


async def test_the_end_waits_some_seconds_for_one_that_hangs(
    collector: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    collector.answers.clear()
    began = time.monotonic()
    async with sending(collector) as traces:
        traces.lead([an_upgrade()])

    assert 2.5 < time.monotonic() - began < 6
    assert "the last traces were not sent" in caplog.text
