"""A display that outlives the API server, on a control plane of its own; and a server that asks for patience."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from typer.testing import Result

from cli.conftest import PROGRAM
from cli.scenes import a_set
from cli.test_arguments import a_kubeconfig
from scalesets.cli.cluster import connect
from scalesets.cli.kubeconfig import Where
from scalesets.cli.mirror import Mirror
from scalesets.kube.kinds import SCALE_SETS
from scalesets.local.controlplane import ControlPlane


@pytest.fixture
def own_plane() -> Iterator[ControlPlane]:
    with ControlPlane(machines=False) as plane:
        yield plane


@pytest.mark.timeout(120)
def test_a_watch_outlives_a_restart_of_the_api_server(own_plane: ControlPlane) -> None:
    scene = a_set(replicas=3)
    body = scene.scale_set | {"metadata": {"name": "web"}, "status": {}}
    own_plane.kubectl("create", "-f", "-", stdin=json.dumps(body))
    process = subprocess.Popen(
        [str(PROGRAM), "status", "web", "--watch", "-o", "json", "--kubeconfig", str(own_plane.kubeconfig)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        views = (json.loads(line) for line in process.stdout)
        assert next(views)["lost"] == ""

        own_plane.stop_apiserver()
        assert "can't reach the cluster" in next(v["lost"] for v in views if v["lost"])
        own_plane.start_apiserver()
        assert next(v["replicas"] for v in views if not v["lost"]) == 3

        own_plane.kubectl("patch", "vmss", "web", "--type=merge", "-p", '{"spec": {"replicas": 5}}')
        assert next(v["replicas"] for v in views if v["replicas"] == 5) == 5
    finally:
        process.kill()
        process.wait()


async def test_an_answer_that_is_cut_is_told_in_words(tmp_path: Path) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b'{"type":')
        assert request.transport is not None
        request.transport.abort()
        return answer

    server = TestServer(app := web.Application())
    app.router.add_get("/{path:.*}", cut)
    async with server:
        where = Where(kubeconfig=a_kubeconfig(tmp_path, str(server.make_url(""))))
        async with connect(where) as cluster:
            mirror = Mirror(cluster, SCALE_SETS, {}, changed := asyncio.Event())
            watching = asyncio.create_task(mirror.keep_up())
            await asyncio.wait_for(changed.wait(), 10)
            watching.cancel()
    assert mirror.lost.startswith("can't reach the cluster at http://127.0.0.1")
    assert mirror.lost.endswith("the connection was cut")


def test_a_server_that_asks_for_patience_gets_it(scalesets: Callable[..., Result], tmp_path: Path) -> None:
    asked: list[str] = []

    class Busy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            busy = len(asked) == 1
            answer: dict[str, Any] = {"metadata": {"name": "web"}, "spec": {"replicas": 0}, "items": []}
            body = json.dumps({"message": "storage is (re)initializing"} if busy else answer).encode()
            self.send_response(429 if busy else 200)
            self.send_header("Content-Length", str(len(body)))
            if busy:
                self.send_header("Retry-After", "0")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Busy)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        result = scalesets(
            "status", "web", "--kubeconfig", a_kubeconfig(tmp_path, f"http://127.0.0.1:{server.server_port}")
        )
    finally:
        server.shutdown()
        server.server_close()

    assert result.exit_code == 0
    assert len(asked) == 4  # the set, its upgrades and its pods, one of them twice
