"""A loopback proxy between the operator and the API server that breaks answers, connections and watches as told.

The operator speaks plain HTTP to it with its own token, which is passed on; the proxy speaks TLS to the API server. A
rule looks at each request and may name a fault for it. What the operator then knows and what is stored differ in all
the ways in which they can: refused before it was done, done but never answered, answered late.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import aiohttp
import orjson
import yaml
from aiohttp import web

from apiclient import read_kubeconfig


@dataclass(frozen=True, slots=True)
class Answer:
    """The proxy answers itself; the API server never hears of the request."""

    status: int
    reason: str
    message: str = "injected"
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Swallow:
    """The connection is cut; ``done`` says whether the API server had done the request before."""

    done: bool


@dataclass(frozen=True, slots=True)
class Delay:
    """The request is passed on late."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Expire:
    """A watch opens, and says at once that its resourceVersion is too old."""


Fault = Answer | Swallow | Delay | Expire


@dataclass(frozen=True, slots=True)
class Request:
    """What a rule sees of a request."""

    method: str
    path: str
    watch: bool

    @property
    def write(self) -> bool:
        """Whether it changes something."""
        return self.method != "GET"


Rule = Callable[[Request], Fault | None]

CONFLICT = Answer(409, "Conflict", "the object has been modified; please apply your changes to the latest version")
TOO_MANY = Answer(429, "TooManyRequests", "too many requests, please try again later", retry_after=1)
BROKEN = Answer(500, "InternalError", "etcdserver: request timed out")
UNAVAILABLE = Answer(503, "ServiceUnavailable")
UNAUTHORIZED = Answer(401, "Unauthorized")
GONE = Answer(410, "Expired", "too old resource version")


def some(share: float, *faults: Fault, seed: int = 7, where: Callable[[Request], bool] = lambda r: r.write) -> Rule:
    """A share of the requests meet one of the faults, by a seeded dice."""
    dice = random.Random(seed)
    return lambda request: dice.choice(faults) if where(request) and dice.random() < share else None


class FaultProxy:
    """Use it as an async context manager; `kubeconfig` is the operator's way through it."""

    def __init__(self, kubeconfig: Path, directory: Path) -> None:
        self._server, self._ssl, self._token = read_kubeconfig(kubeconfig)
        self._original = kubeconfig
        self.kubeconfig = directory / "through-proxy.kubeconfig"
        self.rule: Rule | None = None
        self.injected: Counter[str] = Counter()
        self._open: set[asyncio.Transport] = set()

    async def __aenter__(self) -> FaultProxy:
        connector = aiohttp.TCPConnector(ssl=self._ssl, limit=0)
        self._upstream = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        app = web.Application(client_max_size=16 * 1024**2)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self._write_kubeconfig(f"http://127.0.0.1:{port}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.cut_connections()
        await self._runner.cleanup()
        await self._upstream.close()

    def cut_connections(self) -> int:
        """Cut everything that is open, watches first of all; how many there were."""
        count = len(self._open)
        for transport in list(self._open):
            transport.abort()
        self.injected["cut"] += count
        return count

    def _write_kubeconfig(self, server: str) -> None:
        content = yaml.safe_load(self._original.read_text())
        for entry in content["clusters"]:
            entry["cluster"] = {"server": server}
        self.kubeconfig.write_text(yaml.safe_dump(content))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError
        self._open.add(transport)
        try:
            return await self._pass(request, transport)
        except (aiohttp.ClientError, OSError):
            transport.abort()
            raise
        finally:
            self._open.discard(transport)

    async def _pass(self, request: web.Request, transport: asyncio.Transport) -> web.StreamResponse:
        seen = Request(request.method, request.path, "watch" in request.query)
        fault = self.rule(seen) if self.rule is not None else None
        if fault is not None:
            self.injected[f"{type(fault).__name__} {getattr(fault, 'status', '')}".strip()] += 1
        body = await request.read()
        match fault:
            case Answer():
                return _answered(fault)
            case Swallow(done=False):
                transport.abort()
                return web.Response()
            case Delay(seconds):
                await asyncio.sleep(seconds)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in ("host", "connection")}
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._upstream.request(
            request.method, self._server + request.raw_path, data=body or None, headers=headers, timeout=timeout
        ) as answer:
            if isinstance(fault, Swallow):
                await answer.read()
                transport.abort()
                return web.Response()
            return await self._relay(request, answer, expired=isinstance(fault, Expire))

    async def _relay(
        self, request: web.Request, answer: aiohttp.ClientResponse, *, expired: bool
    ) -> web.StreamResponse:
        kept = {k: v for k, v in answer.headers.items() if k.lower() not in ("transfer-encoding", "connection")}
        response = web.StreamResponse(status=answer.status, headers=kept)
        await response.prepare(request)
        if expired:
            await response.write(orjson.dumps({"type": "ERROR", "object": _status(GONE)}) + b"\n")
        else:
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
        with suppress(ConnectionError):
            await response.write_eof()
        return response


def _answered(fault: Answer) -> web.Response:
    headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after is not None else {}
    return web.json_response(_status(fault), status=fault.status, headers=headers)


def _status(fault: Answer) -> dict[str, object]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": fault.message,
        "reason": fault.reason,
        "code": fault.status,
    }
