"""Who is asked about, how long, and who is told of what was found."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from faulty_server import until
from kube_objects import an_image

from scalesets.kube import discovery
from scalesets.kube.client import Cluster
from scalesets.kube.discovery import Discovery
from scalesets.kube.kinds import IMAGES
from scalesets.kube.metrics import Metrics
from scalesets.kube.registry import Reason
from scalesets.kube.settings import Settings
from scalesets.kube.tags import MATCHING_SECONDS

DIGEST = f"sha256:{'a' * 64}"


class Tags:
    """A registry of one repository."""

    def __init__(self) -> None:
        self.tags: list[str] | None = ["1.0.0"]
        self.without_image = "none"
        self.asked: list[str] = []
        self.patience = 100
        self.since_listed = 0
        self.questions = 0
        self.port = 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.path.endswith("/tags/list"):
            self.questions += 1
            self.since_listed = 0
            return web.json_response({"tags": self.tags})
        self.since_listed += 1
        if self.since_listed > self.patience:
            return web.Response(status=429)
        self.asked.append(request.path.rpartition("/")[2])
        if request.path.endswith(f"/{self.without_image}"):
            return web.Response(status=404)
        return web.Response(headers={"Docker-Content-Digest": DIGEST})

    def image(self, name: str = "ubuntu", **fields: Any) -> dict[str, Any]:
        spec = {"repository": f"127.0.0.1:{self.port}/os/ubuntu", "plainHTTP": True, **fields}
        return an_image(name=name, versions=[], discovery=spec)


@pytest.fixture
async def tags() -> AsyncIterator[Tags]:
    served = Tags()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", served.answer)
    async with TestServer(app) as server:
        served.port = server.port or 0
        yield served


class Woken:
    """A discovery, and whom it woke."""

    def __init__(self, *, meter: Metrics | None = None, **settings: Any) -> None:
        self.told: list[str] = []
        no_cluster: Cluster = None  # type: ignore[assignment]  # only Secrets are read from it
        given = Settings(discovery_registries=("127.0.0.1",), **settings)
        self.discovery = Discovery(no_cluster, given, wake=lambda kind, key: self.told.append(key[1]), meter=meter)

    def found(self, image: dict[str, Any]) -> list[str] | None:
        finding = self.discovery.follow(IMAGES, image)
        return None if finding is None else [found.version for found in finding.versions or ()]


@pytest.fixture
async def woken(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Woken]:
    """Asks again after 20 ms."""
    monkeypatch.setattr(discovery, "pause", lambda *_: 0.02)
    one = Woken()
    yield one
    await one.discovery.close()


async def test_only_what_is_new_wakes_its_object(tags: Tags, woken: Woken) -> None:
    image = tags.image()
    assert woken.found(image) is None
    await until(lambda: tags.questions > 3)
    assert woken.told == ["ubuntu"]
    assert woken.found(image) == ["1.0.0"]

    tags.tags = ["1.0.0", "1.1.0"]
    await until(lambda: len(woken.told) > 1)
    asked = tags.questions
    await until(lambda: tags.questions > asked + 2)
    assert woken.told == ["ubuntu", "ubuntu"]
    assert woken.found(image) == ["1.1.0", "1.0.0"]


async def test_another_spec_is_asked_for_anew_and_another_status_is_not(tags: Tags, woken: Woken) -> None:
    image = tags.image()
    woken.found(image)
    await until(lambda: woken.found({**image, "status": {}}) == ["1.0.0"])
    assert woken.found({**image, "spec": tags.image(maxVersions=3)["spec"]}) is None
    await until(lambda: len(woken.told) == 2)


@pytest.mark.parametrize("ending", ["forgotten", "suspended", "without discovery"])
async def test_nobody_is_asked_about_what_is_followed_no_more(tags: Tags, woken: Woken, ending: str) -> None:
    image = tags.image()
    woken.found(image)
    await until(lambda: tags.questions > 1)
    if ending == "forgotten":
        woken.discovery.forget(IMAGES, (image["metadata"]["namespace"], "ubuntu"))
    elif ending == "suspended":
        assert woken.found({**image, "spec": tags.image(suspend=True)["spec"]}) is None
    else:
        assert woken.found({**image, "spec": {**image["spec"], "discovery": None}}) is None
    await asyncio.sleep(0.05)  # an answer that is under way may still come
    asked = tags.questions
    await asyncio.sleep(0.2)
    assert tags.questions == asked


async def test_switched_off_nobody_is_asked(tags: Tags) -> None:
    off = Woken(discovery=False)
    finding = off.discovery.follow(IMAGES, tags.image())
    assert finding is not None
    assert finding.problem is not None
    assert finding.problem[0] is Reason.OFF
    assert tags.questions == 0
    await off.discovery.close()


async def test_a_secret_is_not_looked_for_where_none_may_be_read(tags: Tags) -> None:
    blind = Woken(read_secrets=False)
    image = tags.image(pullSecretRef={"name": "pull"})
    blind.found(image)
    await until(lambda: bool(blind.told))
    finding = blind.discovery.follow(IMAGES, image)
    assert finding is not None
    assert finding.problem is not None
    assert "--no-read-secrets" in finding.problem[1]
    assert tags.questions == 0
    await blind.discovery.close()


async def test_what_nobody_thought_of_stops_no_timer(tags: Tags, woken: Woken, monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(*_: Any, **__: Any) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(discovery.tags, "choose", choose)
        woken.found(tags.image())
        await until(lambda: tags.questions > 2)
        assert woken.told == ["ubuntu"]
    await until(lambda: len(woken.told) == 2)


async def test_a_slow_pattern_holds_up_nobody_and_is_said(tags: Tags, woken: Woken) -> None:
    tags.tags = [f"{'a' * 120}{n:08d}" for n in range(20_000)]
    image = tags.image(tagPattern="(?P<version>" + "(.?){0,1000}" * 4 + ")")
    woken.found(image)
    longest, last = 0.0, time.monotonic()
    async with asyncio.timeout(30):
        while not woken.told:
            await asyncio.sleep(0.001)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()
    assert longest < MATCHING_SECONDS / 2, "the sets have to be seen to meanwhile"
    finding = woken.discovery.follow(IMAGES, image)
    assert finding is not None
    assert finding.problem is not None
    assert finding.problem[0] is Reason.PATTERN


async def test_a_tag_without_an_image_is_named(tags: Tags, woken: Woken) -> None:
    tags.tags, tags.without_image = ["1.0.0", "1.1.0"], "1.1.0"
    image = tags.image()
    woken.found(image)
    await until(lambda: woken.found(image) == ["1.0.0"])
    finding = woken.discovery.follow(IMAGES, image)
    assert finding is not None
    assert finding.note == "; passed over: 1 tag without an image (1.1.0)"


async def test_a_registry_that_answers_a_few_questions_at_a_time_tells_all_in_the_end(tags: Tags, woken: Woken) -> None:
    tags.tags = [f"1.{n}.0" for n in range(8)]
    tags.patience = 3
    image = tags.image()
    woken.found(image)
    await until(lambda: woken.found(image) == [f"1.{n}.0" for n in range(7, -1, -1)])
    asked = len(tags.asked)
    tags.patience = 100
    await until(lambda: len(tags.asked) >= asked + 8)
    assert set(tags.asked[-8:]) == set(tags.tags), "after that each is asked about again"


async def test_what_can_t_be_called_is_said(tags: Tags, woken: Woken) -> None:
    tags.port = 99999
    image = tags.image()
    woken.found(image)
    await until(lambda: bool(woken.told))
    finding = woken.discovery.follow(IMAGES, image)
    assert finding is not None
    assert finding.problem is not None
    assert finding.problem[0] is Reason.NOT_ALLOWED


@pytest.mark.parametrize("interval", ["PT1S", "P99999999999D", "P999999999D"])
async def test_an_interval_that_nobody_can_count_stops_no_timer(tags: Tags, woken: Woken, interval: str) -> None:
    """The API server takes thirty digits; and what was stored before a rule came stays stored."""
    image = tags.image(interval=interval)
    woken.found(image)
    await until(lambda: woken.found(image) == ["1.0.0"])


async def test_questions_are_counted(tags: Tags, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "pause", lambda *_: 0.02)
    metrics = Metrics()
    one = Woken(meter=metrics)
    one.found(tags.image())
    await until(lambda: tags.questions > 2)
    tags.tags = None
    one.found(tags.image("other", repository="127.0.0.1:1/os/ubuntu"))
    await until(lambda: "other" in one.told)
    await one.discovery.close()
    text = metrics.text().decode()
    assert 'scalesets_discovery_questions_total{outcome="RegistryUnreachable"}' in text
    assert 'scalesets_discovery_questions_total{outcome="Current"}' in text


async def test_one_namespace_does_not_hold_up_another(tags: Tags, woken: Woken) -> None:
    silent = await asyncio.start_server(lambda *_: asyncio.sleep(60), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    for number in range(3 * discovery.AT_ONCE):
        slow = tags.image(f"slow-{number}")
        slow["spec"]["discovery"]["repository"] = f"127.0.0.1:{port}/os/ubuntu"
        slow["metadata"]["namespace"] = "team-slow"
        woken.found(slow)
    await asyncio.sleep(0.05)
    image = tags.image()
    woken.found(image)
    await until(lambda: woken.found(image) == ["1.0.0"])
    silent.close()
