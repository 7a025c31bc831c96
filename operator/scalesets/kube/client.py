"""The operator's one way to the API server: the official asyncio client (`kubernetes.aio`) with plain dicts.

The generated, typed methods cost more CPU than the whole decision about an instance (docs/design.md), so requests go
through the client's own ``ApiClient.call_api`` with bodies and answers as JSON that orjson reads and writes. The
configuration, credentials and their renewal stay the client's. Every refusal is a ``Refusal`` that says what it means
for the caller.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import AsyncIterator, Callable
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlencode, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.rest import RESTClientObject, RESTResponse

from scalesets.kube import tracing
from scalesets.kube.kinds import EVENTS, LEASES, Kind
from scalesets.kube.metrics import Metrics
from scalesets.kube.names import FIELD_MANAGER
from scalesets.kube.stats import Stats

JSON = "application/json"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"

WRITE_TIMEOUT = 4.0
"""Seconds. With the renew deadline it stays below the lease's duration: a write that is under way when leadership is
lost ends before another operator may lead (docs/design.md)."""
LIST_TIMEOUT = 30.0
PAGE = 500  # objects per page of a list: some megabytes at most, whatever the cluster's size


class Outcome(Enum):
    """What a refused request means."""

    EXISTS = "AlreadyExists"
    CONFLICT = "Conflict"  # not the version, or not the UID, that was asked for
    MISSING = "NotFound"
    INVALID = "Invalid"  # 400, 413, 415, 422, and what etcd finds too large: the same request will never do
    FORBIDDEN = "Forbidden"
    QUOTA = "QuotaExceeded"
    GONE = "Gone"  # a resourceVersion or continue token is too old
    BUSY = "Busy"  # 429 and 5xx: later
    NO_ANSWER = "NoAnswer"  # a connection that failed or a timeout: nobody knows whether it was done
    FENCED = "NotLeader"  # never sent, because this operator may not write any more


class Refusal(Exception):  # noqa: N818 - the server's word, often an expected one
    """A request that didn't succeed."""

    def __init__(
        self,
        outcome: Outcome,
        message: str,
        *,
        request: str = "",
        status: int = 0,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message  # the server's words, fit for a condition
        self.request = request
        self.status = status
        self.retry_after = retry_after

    def __str__(self) -> str:
        return f"{self.request}: {self.outcome.value}: {self.message}" if self.request else self.message


class ConnectionProblem(Exception):  # noqa: N818
    """There is no usable configuration for a cluster."""


async def connect(stats: Stats, *, kubeconfig: str | None = None) -> Cluster:
    """Open a connection by a kubeconfig or as a pod's ServiceAccount.

    The kubeconfig named counts, else $KUBECONFIG, else the ServiceAccount inside a cluster, else ~/.kube/config.
    """
    configuration = Configuration()
    named = kubeconfig or os.environ.get("KUBECONFIG")
    if named and not _exists(named):
        raise ConnectionProblem(f"there is no kubeconfig {named}; name another with --kubeconfig or KUBECONFIG")
    try:
        if not named and "KUBERNETES_SERVICE_HOST" in os.environ:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(config_file=named or None, client_configuration=configuration)  # type: ignore[no-untyped-call]
    except (config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        where = named or "~/.kube/config"
        raise ConnectionProblem(
            f"can't use the kubeconfig {where}: {error}. "
            "Name one with --kubeconfig or KUBECONFIG; `scalesets local up` makes one."
        ) from error
    return Cluster(configuration, stats)


def _exists(kubeconfig: str) -> bool:
    """Whether the file, or one of several, is there (the client takes a missing file for an empty one)."""
    return any(Path(name).exists() for name in kubeconfig.split(os.pathsep) if name)


class _Transport(RESTClientObject):
    """The client's transport, with bodies that are JSON already and without its per-request retries."""

    def _create_connector(self) -> aiohttp.TCPConnector:
        # A handshake costs more than ten writes: connections outlive the pause between two batches.
        return aiohttp.TCPConnector(limit=self.maxsize, ssl=self.ssl_context, keepalive_timeout=75.0)

    async def request(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        post_params: Any = None,
        _request_timeout: Any = None,
    ) -> RESTResponse:
        if self.pool_manager is None:
            self.pool_manager = self._create_pool_manager()
        arguments: dict[str, Any] = {"headers": headers, "data": body, "timeout": _request_timeout}
        if self.configuration.tls_server_name:
            arguments["server_hostname"] = self.configuration.tls_server_name
        if self.proxy:
            arguments["proxy"] = self.proxy
        return RESTResponse(await self.pool_manager.request(method, url, **arguments))


class Cluster:
    """A connection to one API server. Answers are the decoded JSON; refusals are raised."""

    def __init__(self, configuration: Configuration, stats: Stats, *, connections: int = 128) -> None:
        self.configuration = configuration
        self.stats = stats
        self.metrics = Metrics()
        self.traces = tracing.OFF
        self.may_write: Callable[[], bool] = lambda: True
        configuration.connection_pool_maxsize = connections
        # What the environment says is read once, here, not by every request.
        configuration.proxy = configuration.proxy or _proxy(configuration.host)
        configuration.client_session_kwargs = {"trust_env": False}
        self._server = configuration.host.rstrip("/")
        self._api = ApiClient(configuration)
        self._api.user_agent = FIELD_MANAGER
        self._api.rest_client = _Transport(configuration)
        self._timeouts = {limit: aiohttp.ClientTimeout(total=limit) for limit in (WRITE_TIMEOUT, LIST_TIMEOUT)}

    async def close(self) -> None:
        """Close all connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    @property
    def server(self) -> str:
        """The API server's URL."""
        return self._server

    # ------------------------------------------------------------------ reads

    async def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        """One object as it is now."""
        raw = await self._ask("GET", kind.path(namespace, name), seconds=WRITE_TIMEOUT)
        return _whole(orjson.loads(raw), kind)

    async def server_version(self) -> str:
        """What the API server says that it is, such as ``v1.36.3``; empty when it says nothing."""
        try:
            answer = orjson.loads(await self._ask("GET", "/version", seconds=WRITE_TIMEOUT))
        except (Refusal, ValueError) as problem:
            if isinstance(problem, Refusal) and problem.outcome in (Outcome.NO_ANSWER, Outcome.BUSY):
                raise
            return ""
        return str(answer.get("gitVersion") or "") if isinstance(answer, dict) else ""

    async def review(self, kind: str, spec: dict[str, Any] | None = None) -> dict[str, Any]:
        """What the API server says of this user: the status of a ``SelfSubject…Review``, which nobody stores."""
        group = "authentication" if kind == "SelfSubjectReview" else "authorization"
        body = {"apiVersion": f"{group}.k8s.io/v1", "kind": kind, "spec": spec or {}}
        path = f"/apis/{group}.k8s.io/v1/{kind.lower()}s"
        raw = await self._ask("POST", path, body=orjson.dumps(body), seconds=WRITE_TIMEOUT)
        return dict(orjson.loads(raw).get("status") or {})

    async def pages(
        self, kind: Kind, namespace: str = "", *, selector: str = "", page: int | None = None
    ) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        """All objects in pages, each with the list's resourceVersion: what is stored now, not what was a while ago."""
        token = ""
        while True:
            query = {"limit": str(page or PAGE)}
            if selector:
                query["labelSelector"] = selector
            if token:
                query["continue"] = token
            raw = await self._ask("GET", f"{kind.path(namespace)}?{urlencode(query)}", seconds=LIST_TIMEOUT)
            answer = orjson.loads(raw)
            del raw
            items = answer.get("items") or []
            for item in items:
                _whole(item, kind)
            token = answer["metadata"].get("continue", "")
            yield items, answer["metadata"]["resourceVersion"]
            if not token:
                return

    async def all(self, kind: Kind, namespace: str = "", *, selector: str = "") -> list[dict[str, Any]]:
        """All objects of a kind that has few."""
        return [item async for items, _ in self.pages(kind, namespace, selector=selector) for item in items]

    @contextlib.asynccontextmanager
    async def watch(
        self, kind: Kind, namespace: str, *, selector: str, version: str, seconds: int, silence: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open a watch and give its bytes as they come.

        It ends after ``seconds``; ``silence`` seconds without a byte are an error.
        """
        query = urlencode(
            {
                "watch": "1",
                "allowWatchBookmarks": "true",
                "resourceVersion": version,
                "timeoutSeconds": str(seconds),
                **({"labelSelector": selector} if selector else {}),
            }
        )
        path = f"{kind.path(namespace)}?{query}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=WRITE_TIMEOUT, sock_read=silence)
        response = await self._send("GET", path, None, JSON, timeout)
        try:
            if response.status != 200:
                await self._refuse("GET", path, response)
            yield response.content.iter_any()
        finally:
            response.close()  # the rest of the stream is nobody's: the connection can't be used again

    # ----------------------------------------------------------------- writes

    async def create(self, kind: Kind, namespace: str, body: Any, *, dry_run: bool = False) -> dict[str, Any]:
        """POST an object. A dry run is validated strictly: a misspelt field is refused, not dropped."""
        query = f"?fieldManager={FIELD_MANAGER}"
        if dry_run:
            query += "&dryRun=All&fieldValidation=Strict"
        return await self._write("POST", kind, namespace, body=body, query=query, apart=dry_run)

    async def replace(self, kind: Kind, namespace: str, name: str, body: Any) -> dict[str, Any]:
        """PUT an object; its resourceVersion decides."""
        return await self._write("PUT", kind, namespace, name, body=body, query=f"?fieldManager={FIELD_MANAGER}")

    async def patch(
        self, kind: Kind, namespace: str, name: str, body: Any, *, subresource: str = "", how: str = MERGE_PATCH
    ) -> dict[str, Any]:
        """PATCH an object: a merge patch, or a JSON patch (``how``)."""
        query = f"?fieldManager={FIELD_MANAGER}"
        return await self._write("PATCH", kind, namespace, name, subresource, body=body, query=query, how=how)

    async def write_status(self, kind: Kind, namespace: str, name: str, status: Any, *, version: str) -> dict[str, Any]:
        """Replace an object's status as a whole if it is still at ``version``; Conflict when it isn't."""
        body = [
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            {"op": "add", "path": "/status", "value": status},
        ]
        return await self.patch(kind, namespace, name, body, subresource="status", how=JSON_PATCH)

    async def delete(self, kind: Kind, namespace: str, name: str, *, uid: str) -> dict[str, Any]:
        """DELETE the object with this UID, gracefully. Its last state is answered, or a Status."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid}}
        return await self._write("DELETE", kind, namespace, name, body=body)

    async def _write(
        self,
        method: str,
        kind: Kind,
        namespace: str,
        name: str = "",
        subresource: str = "",
        *,
        body: Any,
        query: str = "",
        how: str = JSON,
        apart: bool = False,
    ) -> dict[str, Any]:
        if kind is not LEASES and not self.may_write():
            raise Refusal(Outcome.FENCED, "this operator isn't the leader (any more)")
        path = kind.path(namespace, name, subresource) + query
        raw = await self._ask(method, path, body=orjson.dumps(body), how=how, seconds=WRITE_TIMEOUT)
        what = f"{kind.plural}/{subresource}" if subresource else kind.plural
        self.stats.wrote(method, what, apart=apart or kind is LEASES or kind is EVENTS)
        answer = orjson.loads(raw)
        return answer if isinstance(answer, dict) else {}

    # --------------------------------------------------------------- requests

    async def _ask(
        self, method: str, path: str, *, body: bytes | None = None, how: str = JSON, seconds: float
    ) -> bytes:
        code, began = 0, time.monotonic()
        try:
            response = await self._send(method, path, body, how, self._timeouts[seconds])
            if response.status >= 300:
                code = response.status
                await self._refuse(method, path, response)
            try:
                answer = await response.read()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                raise self._no_answer(method, path, error) from error
            code = response.status
            return answer
        finally:
            what, took = _what(path), time.monotonic() - began
            self.metrics.requested(method, what, code, took)
            tracing.requested(method, what, path, code, took)

    async def _send(
        self, method: str, path: str, body: bytes | None, how: str, limit: aiohttp.ClientTimeout
    ) -> aiohttp.ClientResponse:
        headers = {
            "Content-Type": how,
            "Accept": JSON,
            "Accept-Encoding": "identity",
            "User-Agent": self._api.user_agent,
        }
        try:
            await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
            answer = await self._api.call_api(method, self._server + path, headers, body, _request_timeout=limit)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._no_answer(method, path, error) from error
        response: aiohttp.ClientResponse = answer.response
        return response

    def _no_answer(self, method: str, path: str, error: BaseException) -> Refusal:
        self.stats.refused(0, method, _what(path))
        words = str(error) or type(error).__name__
        request = f"{method} {path.partition('?')[0]}"
        return Refusal(Outcome.NO_ANSWER, f"no answer from {self._server}: {words}", request=request)

    async def _refuse(self, method: str, path: str, response: aiohttp.ClientResponse) -> NoReturn:
        raw = b""
        with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
            raw = await response.read()
        self.stats.refused(response.status, method, _what(path))
        raise refusal_of(
            response.status, raw, f"{method} {path.partition('?')[0]}", response.headers.get("Retry-After")
        )


def refusal_of(status: int, raw: bytes, request: str, retry_after: str | None = None) -> Refusal:
    """What a status code and the body (a Status object, mostly) mean."""
    reason, message = "", ""
    with contextlib.suppress(ValueError, AttributeError):
        answer = orjson.loads(raw)
        reason, message = answer.get("reason") or "", answer.get("message") or ""
    message = message or raw[:300].decode(errors="replace").strip() or f"status {status}"
    if status == 409:
        outcome = Outcome.EXISTS if reason == "AlreadyExists" else Outcome.CONFLICT
    elif status == 403:
        outcome = _forbidden(message)
    elif status == 404:
        outcome = Outcome.MISSING
    elif status == 410:
        outcome = Outcome.GONE
    elif status >= 500 and any(words in message for words in _TOO_LARGE):
        outcome = Outcome.INVALID
    elif status == 429 or status >= 500 or status == 408:
        outcome = Outcome.BUSY
    elif status == 401:
        outcome = Outcome.FORBIDDEN
        message = f"{message} (the credentials were refused)"
    else:
        outcome = Outcome.INVALID
    seconds: float | None = None
    if retry_after is not None:
        with contextlib.suppress(ValueError):
            seconds = float(retry_after)
    return Refusal(outcome, message, request=request, status=status, retry_after=seconds)


_TOO_LARGE = ("request is too large", "message larger than max")
"""What etcd, and the connection to it, say of an object beyond their limit; the API server answers 500 with it."""


def _forbidden(message: str) -> Outcome:
    """A quota that is full, one that is so new that nobody has counted yet (that passes), or a real no."""
    if "exceeded quota" in message:
        return Outcome.QUOTA
    return Outcome.BUSY if "status unknown for quota" in message else Outcome.FORBIDDEN


def _whole(item: dict[str, Any], kind: Kind) -> dict[str, Any]:
    """Items of lists come without apiVersion and kind."""
    item.setdefault("apiVersion", kind.api_version)
    item.setdefault("kind", kind.kind)
    return item


def _what(path: str) -> str:
    """The resource in a path, for counting: "pods", "scalesets/status"."""
    parts = path.partition("?")[0].split("/")
    after = parts.index("namespaces") + 2 if "namespaces" in parts else (3 if parts[1] == "api" else 4)
    rest = parts[after:]
    return "/".join([*rest[:1], *rest[2:]])


def _proxy(host: str) -> str | None:
    """The proxy that the environment names for the API server, if any."""
    where = urlsplit(host)
    if where.hostname is None or proxy_bypass(where.hostname):
        return None
    return getproxies().get(where.scheme)
