"""Served namespaces come and go: what is held in one that leaves is let go, and one that comes back is served."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import web
from faulty_server import json, serving, status_object

from scalesets.kube import served
from scalesets.kube.names import FINALIZER
from scalesets.kube.served import Departures, NamespacesChanged, Return
from scalesets.kube.settings import Settings

Body = dict[str, Any]
LEAVING = {"deletionTimestamp": "2026-01-01T00:00:00Z"}
BOTH = Settings(namespaces=("team-a", "team-b"))


class Server:
    """Namespaces with an upgrade each, in which rights may be lacking."""

    def __init__(self, **namespaces: Body) -> None:
        self.namespaces = {name.replace("_", "-"): metadata for name, metadata in namespaces.items()}
        self.poor: set[str] = set()
        self.held = {name: [FINALIZER, "of.somebody/else"] for name in self.namespaces}
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        if "selfsubjectaccessreviews" in request.path:
            asked = (await request.json())["spec"]["resourceAttributes"]
            return json({"status": {"allowed": asked["namespace"] not in self.poor}}, status=201)
        self.asked.append(request.path)
        name = request.path.partition("/namespaces/")[2].partition("/")[0]
        if "rollingupgrades" not in request.path:
            if name not in self.namespaces:
                return status_object(404, "NotFound", f"{name} not found")
            return json({"metadata": {"name": name, **self.namespaces[name]}})
        if name in self.poor:
            return status_object(403, "Forbidden", "no")
        if request.method == "GET":
            return json({"metadata": {"resourceVersion": "9"}, "items": [self.upgrade(name)]})
        _, finalizers = await request.json()
        self.held[name] = finalizers["value"]
        return json(self.upgrade(name))

    def upgrade(self, namespace: str) -> Body:
        where = {"name": "u", "namespace": namespace, "uid": f"uid-{namespace}", "resourceVersion": "1"}
        return {"metadata": {**where, "finalizers": self.held[namespace]}}


async def test_in_one_that_leaves_the_finalizer_goes_off() -> None:
    server = Server(team_a={}, team_b=LEAVING)
    async with serving(server.answer) as cluster:
        with pytest.raises(NamespacesChanged, match=r"^team-b is served no more: it is being deleted$"):
            await Departures(cluster, BOTH).look(BOTH.namespaces)
    assert server.held == {"team-a": [FINALIZER, "of.somebody/else"], "team-b": ["of.somebody/else"]}


async def test_when_the_rights_have_gone_before_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(team_a={}, team_b=LEAVING)
    server.poor = {"team-b"}
    async with serving(server.answer) as cluster:
        with pytest.raises(NamespacesChanged):
            await Departures(cluster, BOTH).look(BOTH.namespaces)
    assert "upgrades of team-b may be held, and with them the namespace: " in caplog.text


async def test_what_was_put_on_again_goes_off_again() -> None:
    """A decision that was under way may have done so."""
    server = Server(team_a={}, team_b=LEAVING)
    async with serving(server.answer) as cluster:
        departures = Departures(cluster, BOTH)
        await departures.let_go()
        assert server.asked == []
        with pytest.raises(NamespacesChanged):
            await departures.look(BOTH.namespaces)
        server.held["team-b"] = [FINALIZER]
        await departures.let_go()
    assert server.held["team-b"] == []


async def test_only_those_with_an_upgrade_that_is_held_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "LOOK_SECONDS", 0.01)
    server = Server(team_a=LEAVING, team_b=LEAVING)
    server.held["team-a"] = []
    upgrades = [server.upgrade("team-a"), server.upgrade("team-b")]
    async with serving(server.answer) as cluster, asyncio.timeout(10):
        with pytest.raises(NamespacesChanged, match=r"^team-b is served no more"):
            await Departures(cluster, BOTH).watch(lambda: upgrades)
    assert "/api/v1/namespaces/team-a" not in server.asked


async def test_one_that_may_not_be_read_or_does_not_exist_yet_stays() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("team-a"):
            return status_object(404, "NotFound", "no")
        return status_object(403, "Forbidden", "no")

    async with serving(answer) as cluster:
        await Departures(cluster, BOTH).look(BOTH.namespaces)


class TestReturn:
    async def test_it_is_back_when_it_is_there_with_all_rights(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(served, "RETURN_SECONDS", 0.01)
        server = Server(team_a={}, team_b=LEAVING)
        async with serving(server.answer) as cluster, asyncio.timeout(10):
            back = Return(cluster, BOTH, BOTH.serving({"team-a"}))
            assert back.awaited == ("team-b",)
            assert await back.back() == []
            del server.namespaces["team-b"]
            assert await back.back() == []
            server.namespaces["team-b"] = {}
            server.poor = {"team-b"}
            assert await back.back() == []
            server.poor = set()
            with pytest.raises(NamespacesChanged, match=r"^team-b can be served now$"):
                await back.watch()

    def test_who_serves_all_that_are_named_awaits_none(self) -> None:
        assert Return(None, BOTH, BOTH).awaited == ()  # type: ignore[arg-type]
        assert Return(None, Settings(), Settings()).awaited == ()  # type: ignore[arg-type]
