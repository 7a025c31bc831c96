"""One set, the real reconciler, and a server that stores what it is sent unless it is told to refuse it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from itertools import count
from typing import Any

import kube_objects as objects
import orjson
from aiohttp import web
from faulty_server import json, serving, status_object, until

from scalesets.kube import fleet, groundwork, reconciler, writes
from scalesets.kube.queue import Again
from scalesets.kube.reconciler import Reconciler
from scalesets.kube.recorder import Recorder
from scalesets.kube.settings import Settings
from scalesets.kube.work import Topic, Work
from scalesets.kube.world import World

KEY = (objects.NAMESPACE, "web")
WORK = Work(Topic.SCALE_SET, *KEY)
OURS = f"/apis/scalesets.dev/v1alpha1/namespaces/{objects.NAMESPACE}"
CORE = f"/api/v1/namespaces/{objects.NAMESPACE}"
REVISIONS = f"/apis/apps/v1/namespaces/{objects.NAMESPACE}/controllerrevisions"
SET = f"{OURS}/scalesets/web"
SET_STATUS = f"{SET}/status"

Refusing = tuple[int, str, str]


class Looking:
    """``refuses`` maps "PATCH /path" to a refusal's parts; what isn't in it is stored in ``there`` by path."""

    def __init__(self) -> None:
        self.refuses: dict[str, Refusing] = {}
        self.there: dict[str, objects.Obj] = {}
        self.refuses_body: Callable[[str, Any], Refusing | None] = lambda what, body: None
        self.nodes: list[objects.Obj] = []
        self.asked: Counter[str] = Counter()
        self.sent: dict[str, Any] = {}  # the last body by "PATCH /path"
        self._versions = count(100_000)
        self.world = World(Settings(), lambda *_: None)
        self.clock = timedelta(0)
        self._reconciler: Reconciler
        self._recorder: Recorder

    # -- what is there -------------------------------------------------------------------------------------------------

    def put(self, raw: objects.Obj) -> None:
        """The set, as the server and the watch have it."""
        metadata = {**raw["metadata"], "resourceVersion": str(next(self._versions))}
        self.there[SET] = {**raw, "metadata": metadata}
        self.world.sets.put(self.there[SET])

    @property
    def scale_set(self) -> objects.Obj:
        return self.there[SET]

    def condition(self, kind: str) -> objects.Obj:
        """A condition of the stored set; empty when it has none of the type."""
        found = (self.scale_set.get("status") or {}).get("conditions") or ()
        return next((c for c in found if c["type"] == kind), {})

    def events(self) -> list[str]:
        """The reasons of the events that wait to be posted."""
        return [body["reason"] for _, body in self._recorder._waiting]

    # -- what is done --------------------------------------------------------------------------------------------------

    async def look(self, work: Work = WORK) -> Again:
        """One look, at the set unless told otherwise."""
        return await self._reconciler.look(work)

    async def settle(self, *, most: int = 10) -> Again:
        """Look as long as there is more to do at once."""
        for _ in range(most):
            again = await self.look()
            if not again.at_once:
                return again
        raise AssertionError(f"it spins: {self.asked}")

    async def drained(self) -> None:
        """What was begun is done."""
        await until(lambda: not self._reconciler.pool.busy(self.scale_set["metadata"]["uid"]))

    # -- the server ----------------------------------------------------------------------------------------------------

    async def answer(self, request: web.Request) -> web.StreamResponse:
        what = f"{request.method} {request.path}"
        self.asked[what] += 1
        body = self.sent[what] = orjson.loads(await request.read() or b"null")
        if (refusal := self.refuses.get(what) or self.refuses_body(what, body)) is not None:
            return status_object(*refusal)
        if request.method == "POST":
            return json(
                self._created(f"{request.path}/{body['metadata']['name']}", body, dry="dryRun" in request.query)
            )
        path = request.path.removesuffix("/status")
        if path == "/api/v1/nodes":
            return json({"metadata": {"resourceVersion": "1"}, "items": self.nodes})
        if path not in self.there:
            return status_object(404, "NotFound", f"{path} not found")
        if request.method == "PATCH":
            return json(self._patched(path, body))
        if request.method == "DELETE":
            return json(self.there.pop(path))
        return json(self.there[path])

    def _created(self, path: str, body: Any, *, dry: bool) -> objects.Obj:
        raw = objects.stored(body, resourceVersion=str(next(self._versions)), namespace=objects.NAMESPACE)
        if not dry:
            self.there[path] = raw
        return raw

    def _patched(self, path: str, body: Any) -> objects.Obj:
        raw = self.there[path]
        change: objects.Obj = {}
        if isinstance(body, list):
            change = {op["path"].strip("/"): op["value"] for op in body if op["path"] == "/status"}
        metadata = {**raw["metadata"], "resourceVersion": str(next(self._versions))}
        self.there[path] = {**raw, **change, "metadata": metadata}
        return self.there[path]

    @contextlib.asynccontextmanager
    async def begun(self, monkeypatch: Any) -> AsyncIterator[Looking]:
        """Everything connected; time passes as ``clock`` says."""
        now = fleet.utc_now
        for module in (groundwork, reconciler, writes):
            monkeypatch.setattr(module, "utc_now", lambda: now() + self.clock)
        async with serving(self.answer) as cluster:
            self._recorder = Recorder(cluster, "me")
            self._reconciler = Reconciler(cluster, self.world, Settings(), self._recorder, again=lambda *_: None)
            yield self


def edited(scale_set: objects.Obj, **spec: Any) -> objects.Obj:
    """The set after an edit of its spec."""
    metadata = {**scale_set["metadata"], "generation": scale_set["metadata"]["generation"] + 1}
    return {**scale_set, "metadata": metadata, "spec": {**scale_set["spec"], **spec}}
