"""An operator that serves some namespaces reads their subscriptions in whatever way it is allowed to (E5b)."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import kube_objects as objects
import pytest
from aiohttp import web
from faulty_server import json, serving, status_object

from scalesets.kube.names import LABEL_SUBSCRIPTION
from scalesets.kube.runtime import Operator
from scalesets.kube.settings import Settings

LIST = "/api/v1/namespaces"
FORBIDDEN = (403, "Forbidden", "namespaces is forbidden")


class Server:
    """Namespaces `team-a` and `team-b` of subscription `shop`; ``refuses`` has the paths that are forbidden."""

    def __init__(self) -> None:
        self.refuses: set[str] = set()
        self.asked: list[str] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path)
        if request.path in self.refuses:
            return status_object(*FORBIDDEN)
        if request.path == LIST:
            return json({"metadata": {"resourceVersion": "1"}, "items": []})
        name = request.path.rpartition("/")[2]
        return json(
            objects.stored({"kind": "Namespace", "metadata": {"name": name, "labels": {LABEL_SUBSCRIPTION: "shop"}}})
        )


@contextlib.asynccontextmanager
async def an_operator(server: Server, *namespaces: str) -> AsyncIterator[Operator]:
    async with serving(server.answer) as cluster:
        yield Operator(cluster, Settings(namespaces=namespaces))


async def test_it_watches_them_where_it_may() -> None:
    server = Server()
    async with an_operator(server, "team-a") as operator:
        (reflector,) = await operator._namespaces()
        assert str(reflector) == "namespaces in all namespaces"
        assert server.asked == [LIST]


@pytest.mark.requirement("E5b")
async def test_it_gets_those_that_it_serves_where_it_may_not_list_them() -> None:
    server = Server()
    server.refuses = {LIST}
    async with an_operator(server, "team-a", "team-b") as operator:
        assert await operator._namespaces() == []
        assert [operator.world.subscriptions.of(name) for name in ("team-a", "team-b")] == ["shop", "shop"]
        assert operator.world.subscriptions.troubles("team-a") == ()


@pytest.mark.requirement("E5b")
async def test_it_says_which_it_may_not_read_and_looks_again(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    server.refuses = {LIST, f"{LIST}/team-b"}
    async with an_operator(server, "team-a", "team-b") as operator:
        await operator._namespaces()
        assert "may not read the label scalesets.dev/subscription of team-b" in caplog.text
        (trouble,) = operator.world.subscriptions.troubles("team-b")
        assert "namespaces is forbidden" in trouble.message
        server.refuses.discard(f"{LIST}/team-b")
        await operator._get_namespaces()
        assert operator.world.subscriptions.of("team-b") == "shop"
        assert operator.world.subscriptions.troubles("team-b") == ()
