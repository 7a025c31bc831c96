"""The machines' connection to the API server: as little work per pod as there can be.

Lists and watches are read as raw bytes and decoded by orjson; writes don't decode their answers. A watch that ends
goes on where it was; one that is too old (410), or an API server that lost its memory, means a new list, and what
the new list no longer has is reported as deleted by the caller's `replace`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any

import aiohttp
import orjson
from yarl import URL

from scalesets.local.certificates import Pki

JsonObject = dict[str, Any]

_HEAD = re.compile(rb'\{"type":"(\w+)","object":\{[^{]*"metadata":\{[^{}]*?"uid":"([^"]+)","resourceVersion":"(\d+)"')
"""The beginning of a watch event: metadata's first fields, before anything that people can write."""

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

_LOG = logging.getLogger(__name__)
_CONNECTIONS = 32
_WATCH_SECONDS = 300
_RETRY_SECONDS = 0.2


class WatchExpiredError(Exception):
    """The API server no longer knows what happened since: list again."""


class Connection:
    """Lists, watches and writes as the simulated machines."""

    def __init__(self, *, port: int, pki: Pki) -> None:
        context = ssl.create_default_context(cafile=str(pki.authority))
        context.load_cert_chain(pki.machines.certificate, pki.machines.key)
        self._context = context
        self._base = f"https://127.0.0.1:{port}"

    async def __aenter__(self) -> Connection:
        self._writes = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=_CONNECTIONS, ssl=self._context, keepalive_timeout=120),
            timeout=aiohttp.ClientTimeout(total=10),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent", "Accept-Encoding"),
            auto_decompress=False,
        )
        self._watches = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._context),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=_WATCH_SECONDS + 60),
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self._writes.close()
        await self._watches.close()

    async def send(self, method: str, path: str, body: JsonObject, content_type: str = JSON) -> tuple[int, bytes]:
        """Write; returns the status code and the raw answer. 503 stands for an API server that didn't answer."""
        try:
            async with self._writes.request(
                method,
                URL(self._base + path, encoded=True),
                data=orjson.dumps(body),
                headers={"Content-Type": content_type},
            ) as response:
                return response.status, await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            return 503, repr(error).encode()

    async def insist(self, method: str, path: str, body: JsonObject, content_type: str = JSON) -> int:
        """Write until the API server has an answer that another try would not change; returns its status code."""
        while True:
            status, answer = await self.send(method, path, body, content_type)
            if status < 429:
                if status >= 400 and status not in (404, 409):
                    _LOG.warning("%s %s: %s %s", method, path, status, answer[:300].decode(errors="replace"))
                return status
            await asyncio.sleep(_RETRY_SECONDS)

    async def find(self, path: str) -> JsonObject | None:
        """Read one object, until the API server answers; None when there is none, or the namespace is gone."""
        while True:
            try:
                async with self._writes.get(URL(self._base + path, encoded=True)) as response:
                    content = await response.read()
                    if response.status == 200:
                        found: JsonObject = orjson.loads(content)
                        return found
                    if response.status < 429:
                        return None
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                _LOG.info("GET %s: %r; trying again", path, error)
            await asyncio.sleep(_RETRY_SECONDS)

    async def follow(
        self,
        path: str,
        *,
        selector: str = "",
        replace: Callable[[list[JsonObject]], None],
        event: Callable[[str, JsonObject], None],
        known: Callable[[str, str, int], bool] = lambda kind, uid, version: False,
    ) -> None:
        """List once and watch for ever; lists again only when it must.

        `known` is asked first, by an event's kind, UID and resourceVersion: True means that there is nothing in it
        for the caller, and it isn't decoded.
        """
        version = ""
        while True:
            try:
                if not version:
                    listed = await self._list(path, selector)
                    version = listed["metadata"]["resourceVersion"]
                    replace(listed["items"])
                async for line in self._watch(path, selector, version):
                    head = _HEAD.match(line)
                    if head and known(head[1].decode(), head[2].decode(), int(head[3])):
                        version = head[3].decode()
                        continue
                    change = orjson.loads(line)
                    kind, body = change["type"], change["object"]
                    if kind == "ERROR":
                        raise WatchExpiredError
                    version = body["metadata"]["resourceVersion"]
                    if kind != "BOOKMARK":
                        event(kind, body)
            except WatchExpiredError:
                version = ""
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                _LOG.info("watch %s: %r; trying again", path, error)
                await asyncio.sleep(_RETRY_SECONDS)

    async def _list(self, path: str, selector: str) -> JsonObject:
        parameters = {"fieldSelector": selector} if selector else {}
        async with self._watches.get(self._base + path, params=parameters) as response:
            content = await response.read()
            if response.status != 200:
                raise aiohttp.ClientError(f"list: {response.status} {content[:200]!r}")
            listed: JsonObject = orjson.loads(content)
            return listed

    async def _watch(self, path: str, selector: str, version: str) -> AsyncIterator[bytes]:
        parameters = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        if selector:
            parameters["fieldSelector"] = selector
        async with self._watches.get(self._base + path, params=parameters) as response:
            if response.status == 410:
                raise WatchExpiredError
            if response.status != 200:
                raise aiohttp.ClientError(f"watch: {response.status} {(await response.read())[:200]!r}")
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield line
