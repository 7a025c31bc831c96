"""The command line's one way to the API server: reads and writes of plain dicts through the official asyncio client.

Every failure, of the connection or of the request, becomes a ``CommandError`` that says what, where and the mend.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
from kubernetes.aio import client

from scalesets.cli import kubeconfig
from scalesets.cli.errors import CommandError, ExitCode, not_found, unreachable
from scalesets.cli.fields import Obj, name_of, text
from scalesets.cli.kubeconfig import Access, Where
from scalesets.cli.snapshot import Snapshot
from scalesets.kube.names import GROUP, LABEL_SET, VERSION

FIELD_MANAGER = "kubectl-scaleset"
MOST_RETRIES, LONGEST_WAIT = 5, 5
TIMED: dict[str, Any] = {"_request_timeout": 15.0}

Request = Callable[[], Awaitable[aiohttp.ClientResponse]]


class ConflictError(CommandError):
    """The object changed since it was read."""


class ForbiddenError(CommandError):
    """The user may not do that."""


class Cluster:
    """An open connection. Make one with ``connect``."""

    def __init__(self, access: Access) -> None:
        self.server = access.server
        self.context = access.context
        self.namespace = access.namespace
        self.renew = access.renew
        self.custom = client.CustomObjectsApi(access.api)
        self.core = client.CoreV1Api(access.api)
        self._apps = client.AppsV1Api(access.api)
        self._policy = client.PolicyV1Api(access.api)
        self._coordination = client.CoordinationV1Api(access.api)

    async def snapshot(self, name: str) -> Snapshot:
        """A scale set with its upgrades and pods, as they are now."""
        scale_set, upgrades, pods = await asyncio.gather(self.scale_set(name), self.upgrades(name), self.pods(name))
        return Snapshot(scale_set=scale_set, upgrades=upgrades, pods=pods, now=datetime.now(UTC))

    async def scale_set(self, name: str) -> Obj:
        """The ScaleSet; when it is missing, the error names the ones that are there."""
        try:
            return await self._get("scalesets", name, f'ScaleSet "{name}"')
        except CommandError as error:
            if error.exit_code is not ExitCode.NOT_FOUND:
                raise
        there = sorted(name_of(s) for s in await self.scale_sets())
        mend = f"there are: {', '.join(there[:10])}" if there else "kubectl get vmss -A shows those of all namespaces"
        raise not_found(f'no ScaleSet "{name}" in namespace "{self.namespace}"', mend=mend)

    async def scale_sets(self) -> tuple[Obj, ...]:
        """All sets of the namespace."""
        return await self._list("scalesets", self.namespace)

    async def upgrade(self, name: str) -> Obj:
        """One RollingUpgrade."""
        return await self._get("rollingupgrades", name, f'RollingUpgrade "{name}"')

    async def upgrades(self, set_name: str) -> tuple[Obj, ...]:
        """The RollingUpgrades of a set, oldest first. Not by label: one that a user has just made has none yet."""
        return upgrades_of(set_name, await self._list("rollingupgrades", self.namespace))

    async def pods(self, set_name: str) -> tuple[Obj, ...]:
        """The pods of a set."""
        call = self.core.list_namespaced_pod_without_preload_content
        selector = f"{LABEL_SET}={set_name}"
        return _items(await self.ask(lambda: call(self.namespace, label_selector=selector, **TIMED), "its pods"))

    async def images(self, catalog_namespace: str) -> tuple[Obj, ...]:
        """The GalleryImages that a set of this namespace can use: its own and the catalog's."""
        return await self._catalogue("galleryimages", catalog_namespace)

    async def extensions(self, catalog_namespace: str) -> tuple[Obj, ...]:
        """The Extensions that a set of this namespace can use."""
        return await self._catalogue("extensions", catalog_namespace)

    async def revisions(self, set_name: str) -> tuple[Obj, ...]:
        """The set's models (ControllerRevisions)."""
        call = self._apps.list_namespaced_controller_revision_without_preload_content
        selector = f"{LABEL_SET}={set_name}"
        return _items(await self.ask(lambda: call(self.namespace, label_selector=selector, **TIMED), "its models"))

    async def budgets(self) -> tuple[Obj, ...]:
        """The PodDisruptionBudgets of the namespace."""
        call = self._policy.list_namespaced_pod_disruption_budget_without_preload_content
        return _items(await self.ask(lambda: call(self.namespace, **TIMED), "PodDisruptionBudgets"))

    async def claims(self, set_name: str) -> tuple[Obj, ...]:
        """The data disks of a set (PersistentVolumeClaims)."""
        call = self.core.list_namespaced_persistent_volume_claim_without_preload_content
        selector = f"{LABEL_SET}={set_name}"
        return _items(await self.ask(lambda: call(self.namespace, label_selector=selector, **TIMED), "its claims"))

    async def lease(self, namespace: str, name: str) -> Obj:
        """A Lease: who leads, and since when."""
        call = self._coordination.read_namespaced_lease_without_preload_content
        return _object(await self.ask(lambda: call(name, namespace, **TIMED), f'Lease "{name}"'))

    async def namespaces(self) -> list[str]:
        """The names of the cluster's namespaces."""
        call = self.core.list_namespace_without_preload_content
        return [name_of(n) for n in _items(await self.ask(lambda: call(**TIMED), "namespaces"))]

    async def create_upgrade(self, body: dict[str, Any]) -> Obj:
        """Create a RollingUpgrade."""
        call = self.custom.create_namespaced_custom_object_without_preload_content
        settings = {"field_manager": FIELD_MANAGER, "field_validation": "Strict", **TIMED}
        return _object(
            await self.ask(
                lambda: call(GROUP, VERSION, self.namespace, "rollingupgrades", body, **settings), "the RollingUpgrade"
            )
        )

    async def patch_upgrade(self, upgrade: Obj, spec: dict[str, Any], *, as_read: bool) -> Obj:
        """Change fields of a RollingUpgrade's spec; with ``as_read``, ``ConflictError`` if it has changed since."""
        name = name_of(upgrade)
        read = {key: text(upgrade, f"metadata.{key}") for key in ("uid", *(("resourceVersion",) if as_read else ()))}
        call = self.custom.patch_namespaced_custom_object_without_preload_content
        settings = {
            "field_manager": FIELD_MANAGER,
            "field_validation": "Strict",
            "_content_type": "application/merge-patch+json",
            **TIMED,
        }
        body = {"metadata": read, "spec": spec}
        return _object(
            await self.ask(
                lambda: call(GROUP, VERSION, self.namespace, "rollingupgrades", name, body, **settings),
                f'RollingUpgrade "{name}"',
            )
        )

    async def ask(self, request: Request, what: str) -> Any:
        """Send a request and read the JSON of its answer."""
        return await self.read(await self.send(request), what)

    async def send(self, request: Request) -> aiohttp.ClientResponse:
        """Send a request, and again while the server asks for that; the answer may be a refusal yet."""
        try:
            for _ in range(MOST_RETRIES):
                response = await request()
                wait = response.headers.get("Retry-After", "")
                if response.status not in (429, 503) or not wait.isdecimal():
                    return response
                response.release()
                await asyncio.sleep(min(int(wait), LONGEST_WAIT))
            return await request()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise self._no_connection(error) from error

    async def read(self, response: aiohttp.ClientResponse, what: str) -> Any:
        """The JSON of an answer, or the refusal as an error. ``what`` was asked for."""
        try:
            raw = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self._no_connection(error) from error
        if response.status >= 400:
            raise self._refusal(response.status, raw, what)
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            mend = "does the kubeconfig name a Kubernetes API server?"
            raise unreachable(f"{self.server} answers, but not as an API server does", mend=mend) from error

    async def _get(self, plural: str, name: str, what: str) -> Obj:
        call = self.custom.get_namespaced_custom_object_without_preload_content
        return _object(await self.ask(lambda: call(GROUP, VERSION, self.namespace, plural, name, **TIMED), what))

    async def _list(self, plural: str, namespace: str) -> tuple[Obj, ...]:
        call = self.custom.list_namespaced_custom_object_without_preload_content
        return _items(await self.ask(lambda: call(GROUP, VERSION, namespace, plural, **TIMED), plural))

    async def _catalogue(self, plural: str, catalog_namespace: str) -> tuple[Obj, ...]:
        own = _by_age(await self._list(plural, self.namespace))
        if catalog_namespace in ("", self.namespace):
            return own
        return own + _by_age(await self._list(plural, catalog_namespace))

    def _no_connection(self, error: Exception) -> CommandError:
        mend = f"is it up, and is {self.context!r} the right context? kubectl config get-contexts shows all"
        if isinstance(error, (ssl.SSLError, aiohttp.ClientSSLError)):
            why, mend = "its certificate isn't accepted", "check the cluster's entry in the kubeconfig"
        elif isinstance(error, TimeoutError):
            why = "no answer in time"
        elif isinstance(error, aiohttp.ClientConnectorDNSError):
            why = "its name isn't known"
        elif isinstance(getattr(error, "os_error", error), ConnectionRefusedError):
            why = "connection refused"
        else:
            why = str(error) or type(error).__name__
        return unreachable(f"can't reach the cluster at {self.server}: {why}", mend=mend)

    def _refusal(self, status: int, raw: bytes, what: str) -> CommandError:
        try:
            answer = orjson.loads(raw)
        except orjson.JSONDecodeError:
            answer = {}
        said = text(answer, "message") or raw.decode(errors="replace").strip()[:300] or f"HTTP {status}"
        match status:
            case 401:
                mend = f"log in again as the user of context {self.context!r}, or use another --context"
                return unreachable(f"the cluster at {self.server} doesn't accept your credentials", mend=mend)
            case 403:
                mend = "ask your administrator for that right, or use another --context"
                return ForbiddenError(f"not allowed: {said}", mend=mend, exit_code=ExitCode.UNREACHABLE)
            case 404 if not text(answer, "details.name"):
                mend = "install the CRDs: kubectl apply -f crds/"
                return CommandError(f"the cluster at {self.server} doesn't know {GROUP}/{VERSION} {what}", mend=mend)
            case 404:
                return not_found(f'no {what} in namespace "{self.namespace}"')
            case 409 if text(answer, "reason") == "Conflict":
                return ConflictError(f"{what} was changed by somebody else at the same time", mend="try again")
            case _:
                return CommandError(f"the API server refuses {what}: {said}")


@contextlib.asynccontextmanager
async def connect(where: Where) -> AsyncIterator[Cluster]:
    """Open the connection that the flags and the kubeconfig name."""
    access = await kubeconfig.load(where)
    try:
        yield Cluster(access)
    finally:
        await access.api.close()  # type: ignore[no-untyped-call]


def upgrades_of(set_name: str, upgrades: Iterable[Obj]) -> tuple[Obj, ...]:
    """Those of one set, the oldest first."""
    return _by_age(u for u in upgrades if text(u, "spec.scaleSet") == set_name)


def _by_age(objects: Iterable[Obj]) -> tuple[Obj, ...]:
    return tuple(sorted(objects, key=lambda o: (text(o, "metadata.creationTimestamp"), name_of(o))))


def _object(answer: Any) -> Obj:
    if not isinstance(answer, dict):
        raise unreachable("the API server answered with something that is no object")
    return answer


def _items(answer: Any) -> tuple[Obj, ...]:
    return tuple(_object(answer).get("items") or ())
