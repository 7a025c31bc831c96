"""The reflector against a server that drops, forgets and stutters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web
from faulty_server import json, serving, status_object, until

from scalesets.kube.cache import Store, keep
from scalesets.kube.client import Cluster
from scalesets.kube.kinds import PODS
from scalesets.kube.names import Raw
from scalesets.kube.reflector import Reflector, WatchLost


def a_pod(name: str, version: int, *, uid: str = "") -> dict[str, Any]:
    metadata = {"namespace": "n", "name": name, "uid": uid or f"uid-{name}", "resourceVersion": str(version)}
    return {"kind": "Pod", "metadata": metadata}


def an_event(kind: str, raw: dict[str, Any]) -> bytes:
    return orjson.dumps({"type": kind, "object": raw}) + b"\n"


class Script:
    """Answers lists and watches; ``watches`` are taken in turn, the last one again and again."""

    def __init__(self) -> None:
        self.pods: dict[str, dict[str, Any]] = {}
        self.version = 10
        self.lists: list[dict[str, str]] = []
        self.watched_from: list[int] = []
        self.watches: list[Callable[[web.StreamResponse], Any]] = []
        self.list_failures: list[web.Response] = []

    def there(self, *pods: dict[str, Any]) -> None:
        self.pods = {pod["metadata"]["name"]: pod for pod in pods}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if "watch" not in request.query:
            self.lists.append(dict(request.query))
            if self.list_failures:
                return anew(self.list_failures.pop(0))
            return self._page(request)
        self.watched_from.append(int(request.query["resourceVersion"]))
        response = web.StreamResponse()
        play = self.watches.pop(0) if len(self.watches) > 1 else self.watches[0]
        if isinstance(play, web.Response):
            return anew(play)
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            await play(response)
        return response

    def _page(self, request: web.Request) -> web.Response:
        limit, start = int(request.query["limit"]), int(request.query.get("continue") or 0)
        pods = sorted(self.pods.values(), key=lambda p: p["metadata"]["name"])
        metadata = {"resourceVersion": str(self.version)}
        if start + limit < len(pods):
            metadata["continue"] = str(start + limit)
        return json({"kind": "PodList", "metadata": metadata, "items": pods[start : start + limit]})


def anew(answer: web.Response) -> web.Response:
    """The same answer once more; a response can be sent only once."""
    return web.Response(status=answer.status, body=answer.body, content_type=answer.content_type)


async def silent(_: web.StreamResponse) -> None:
    await asyncio.sleep(60)


def told(*parts: bytes) -> Callable[[web.StreamResponse], Any]:
    """Write these bytes, one packet each, then stay open."""

    async def play(response: web.StreamResponse) -> None:
        for part in parts:
            await response.write(part)
            await asyncio.sleep(0.01)
        await asyncio.sleep(60)

    return play


def told_then_dropped(*parts: bytes) -> Callable[[web.StreamResponse], Any]:
    async def play(response: web.StreamResponse) -> None:
        for part in parts:
            await response.write(part)
        assert response._req is not None and response._req.transport is not None
        response._req.transport.abort()

    return play


@contextlib.asynccontextmanager
async def following(cluster: Cluster, *, silence: float = 30.0) -> AsyncIterator[tuple[Reflector, Store[Raw]]]:
    store: Store[Raw] = Store(keep)
    reflector = Reflector(cluster, PODS, store, selector="scalesets.dev/scaleset", silence=silence)
    task = asyncio.create_task(reflector.run())
    try:
        yield reflector, store
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def names(store: Store[Raw]) -> set[str]:
    return {key[1] for key in store.all_keys()}


async def test_it_lists_in_pages_and_watches_from_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scalesets.kube.client.PAGE", 2)
    script = Script()
    script.there(*(a_pod(f"p{i}", i + 1) for i in range(5)))
    script.watches = [told(an_event("ADDED", a_pod("new", 11)))]
    async with serving(script.answer) as cluster, following(cluster) as (reflector, store):
        await reflector.synced.wait()
        await until(lambda: "new" in names(store))
    assert names(store) == {"p0", "p1", "p2", "p3", "p4", "new"}
    assert len(script.lists) == 3
    assert script.watched_from == [10]
    assert all(query["labelSelector"] == "scalesets.dev/scaleset" for query in script.lists)
    assert all("resourceVersion" not in query for query in script.lists)


async def test_events_may_come_in_pieces_and_several_at_once() -> None:
    script = Script()
    script.watches = [silent]
    whole = an_event("ADDED", a_pod("a", 11)) + an_event("MODIFIED", a_pod("a", 12)) + an_event("ADDED", a_pod("b", 13))
    pieces = [whole[i : i + 7] for i in range(0, len(whole), 7)]
    script.watches = [told(*pieces)]
    async with serving(script.answer) as cluster, following(cluster) as (reflector, store):
        await until(lambda: reflector.events == 3)
    assert names(store) == {"a", "b"}


async def test_a_dropped_watch_goes_on_from_the_last_version_without_a_list() -> None:
    script = Script()
    script.there(a_pod("a", 5))
    script.watches = [told_then_dropped(an_event("ADDED", a_pod("b", 14))), told(an_event("DELETED", a_pod("a", 17)))]
    async with serving(script.answer) as cluster, following(cluster) as (reflector, store):
        await until(lambda: names(store) == {"b"})
    assert script.watched_from[0] == 10
    assert script.watched_from[-1] in (10, 14)
    assert reflector.lists == 1


async def test_it_says_since_when_its_watch_has_not_been_broken() -> None:
    script = Script()
    broken = asyncio.Event()

    async def open_until_broken(response: web.StreamResponse) -> None:
        await broken.wait()
        await told_then_dropped()(response)

    script.watches = [open_until_broken, web.Response(status=503), silent]
    async with serving(script.answer) as cluster, following(cluster) as (reflector, _):
        assert reflector.fresh_since is None
        await until(lambda: reflector.fresh_since is not None)
        first = reflector.fresh_since
        broken.set()
        await until(lambda: reflector.fresh_since is None)
        await until(lambda: reflector.fresh_since is not None)
        assert reflector.fresh_since > first


async def test_a_bookmark_moves_the_version_on() -> None:
    script = Script()
    bookmark = {"kind": "Pod", "metadata": {"resourceVersion": "99"}}

    async def tell_and_end(response: web.StreamResponse) -> None:
        await response.write(an_event("BOOKMARK", bookmark))

    script.watches = [tell_and_end, silent]
    async with serving(script.answer) as cluster, following(cluster):
        await until(lambda: len(script.watched_from) == 2)
    assert script.watched_from == [10, 99]


async def test_after_410_it_lists_again_and_tells_what_was_deleted_meanwhile() -> None:
    script = Script()
    script.there(a_pod("a", 5), a_pod("b", 6))
    gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}

    async def expired(response: web.StreamResponse) -> None:
        script.there(a_pod("b", 6), a_pod("c", 30))
        script.version = 40
        await response.write(an_event("ERROR", gone))

    script.watches = [expired, silent]
    async with serving(script.answer) as cluster, following(cluster) as (reflector, store):
        await until(lambda: reflector.lists == 2)
    assert names(store) == {"b", "c"}


async def test_a_410_that_answers_the_watch_itself_is_the_same() -> None:
    script = Script()
    script.watches = [status_object(410, "Expired", "too old"), silent]  # type: ignore[list-item]
    async with serving(script.answer) as cluster, following(cluster) as (reflector, _):
        await until(lambda: reflector.lists == 2)


async def test_a_server_that_forgets_at_once_is_not_stormed() -> None:
    script = Script()
    script.watches = [*(status_object(410, "Expired", "too old") for _ in range(3)), silent]  # type: ignore[list-item]
    async with serving(script.answer) as cluster, following(cluster) as (reflector, _):
        began = asyncio.get_running_loop().time()
        await until(lambda: reflector.lists >= 4)
        assert asyncio.get_running_loop().time() - began > 0.2  # 50, 100 and 200 ms, a quarter more or less


async def test_a_list_that_expires_half_way_begins_anew() -> None:
    script = Script()
    script.there(a_pod("a", 5))
    script.list_failures = [status_object(410, "Expired", "The provided continue parameter is too old")]
    script.watches = [silent]
    async with serving(script.answer) as cluster, following(cluster) as (reflector, store):
        await reflector.synced.wait()
    assert names(store) == {"a"}


async def test_a_busy_server_is_asked_again() -> None:
    script = Script()
    script.there(a_pod("a", 5))
    script.list_failures = [
        status_object(500, "InternalError", "etcdserver"),
        status_object(429, "TooManyRequests", ""),
    ]
    script.watches = [silent]
    async with serving(script.answer) as cluster, following(cluster) as (reflector, _):
        await reflector.synced.wait()
    assert len(script.lists) == 3


async def test_a_silent_watch_is_given_up_for_a_new_one() -> None:
    script = Script()
    script.watches = [silent]
    async with serving(script.answer) as cluster, following(cluster, silence=0.1):
        await until(lambda: len(script.watched_from) >= 2)


REFUSED = status_object(403, "Forbidden", 'User "op" cannot watch resource "pods"')
HICCUP = {"kind": "Status", "code": 500, "reason": "InternalError", "message": "no storage"}


async def error_at_once(response: web.StreamResponse) -> None:
    await response.write(an_event("ERROR", HICCUP))


@pytest.mark.parametrize(
    ("play", "words"),
    [
        (REFUSED, "cannot watch"),
        (status_object(503, "ServiceUnavailable", "down"), "down"),
        (error_at_once, "no storage"),
        (told_then_dropped(), "Not enough data"),
    ],
    ids=["403", "503", "an error inside", "cut"],
)
async def test_a_watch_that_fails_for_good_ends_it_though_lists_work(play: Any, words: str) -> None:
    script = Script()
    script.there(a_pod("a", 5))
    script.watches = [play]
    async with serving(script.answer) as cluster:
        reflector = Reflector(cluster, PODS, Store(keep), patience=0.3)
        with pytest.raises(WatchLost, match=r"pods in all namespaces can't be watched for 0\.3 s") as lost:
            await asyncio.wait_for(reflector.run(), 10)
    assert words in str(lost.value)
    assert ("bind the ClusterRole" in str(lost.value)) is (words == "cannot watch")
    assert reflector.synced.is_set()


async def test_a_list_that_fails_for_good_ends_it() -> None:
    script = Script()
    script.list_failures = [REFUSED] * 50
    async with serving(script.answer) as cluster:
        with pytest.raises(WatchLost, match="cannot watch"):
            await asyncio.wait_for(Reflector(cluster, PODS, Store(keep), patience=0.3).run(), 10)


async def test_a_watch_that_drops_but_tells_something_each_time_goes_on() -> None:
    script = Script()
    script.watches = [told_then_dropped(an_event("ADDED", a_pod(f"p{n}", 20 + n))) for n in range(12)] + [silent]
    async with serving(script.answer) as cluster:
        store: Store[Raw] = Store(keep)
        following = asyncio.create_task(Reflector(cluster, PODS, store, patience=0.3).run())
        await until(lambda: len(store) == 12)
        assert not following.done()
        following.cancel()
