"""The smallest client that does: one aiohttp session on a kubeconfig, bytes in, bytes out.

The floor uses it, so it has nothing in it that a bare script would not have; the bench's own reads and writes use it
too.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp
import orjson
import yaml

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
JSON_PATCH = "application/json-patch+json"


class RefusedError(Exception):
    """The API server did not do what it was asked."""

    def __init__(self, status: int, method: str, path: str, answer: bytes) -> None:
        super().__init__(f"{method} {path}: {status} {answer[:400].decode(errors='replace')}")
        self.status = status


class Api:
    """One session, as the user of a kubeconfig."""

    def __init__(self, kubeconfig: Path, *, connections: int = 100) -> None:
        content = yaml.safe_load(kubeconfig.read_text())
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._server = cluster["server"]
        self._tls = ssl.create_default_context(cadata=authority)
        self._headers = {"Authorization": f"Bearer {user['token']}"} if "token" in user else {}
        if "client-certificate-data" in user:
            with tempfile.NamedTemporaryFile() as pair:
                pair.write(base64.b64decode(user["client-certificate-data"]))
                pair.write(base64.b64decode(user["client-key-data"]))
                pair.flush()
                self._tls.load_cert_chain(pair.name)
        self._connections = connections
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Api:
        connector = aiohttp.TCPConnector(limit=self._connections, ssl=self._tls)
        self._session = aiohttp.ClientSession(
            self._server, connector=connector, headers=self._headers, timeout=aiohttp.ClientTimeout(total=None)
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: object, _: TracebackType | None) -> None:
        await self._session.close()

    async def send(self, method: str, path: str, body: bytes | None = None, content_type: str = JSON) -> bytes:
        """One request; its answer undecoded."""
        headers = {"Content-Type": content_type} if body is not None else None
        async with self._session.request(method, path, data=body, headers=headers) as response:
            answer = await response.read()
            if response.status >= 400:
                raise RefusedError(response.status, method, path, answer)
            return answer

    async def get(self, path: str) -> dict[str, Any]:
        """Read an object or a list."""
        decoded: dict[str, Any] = orjson.loads(await self.send("GET", path))
        return decoded

    async def create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST an object; one that is there already is as good."""
        try:
            decoded: dict[str, Any] = orjson.loads(await self.send("POST", path, orjson.dumps(body)))
        except RefusedError as refused:
            if refused.status != 409:
                raise
            return await self.get(f"{path}/{body['metadata']['name']}")
        return decoded

    async def patch(self, path: str, body: Any, content_type: str = MERGE_PATCH) -> None:
        """PATCH an object."""
        await self.send("PATCH", path, orjson.dumps(body), content_type)

    async def chunks(self, path: str) -> AsyncIterator[bytes]:
        """What a watch sends, as it comes."""
        async with self._session.get(path) as response:
            if response.status >= 400:
                raise RefusedError(response.status, "GET", path, await response.read())
            async for chunk in response.content.iter_any():
                yield chunk


async def lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Cut what a watch sends into its events."""
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
