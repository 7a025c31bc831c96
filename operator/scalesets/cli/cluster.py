"""The command line's one way to the API server: reads and writes of plain dicts through the official asyncio client.

Requests go through the client's ``ApiClient`` by path: its typed methods take longer to import than a command may take.
Every failure, of the connection or of the request, becomes a ``CommandError`` that says what, where and the mend.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson

from scalesets.cli import kubeconfig, whose
from scalesets.cli.errors import CommandError, ExitCode, not_found, unreachable
from scalesets.cli.fields import Obj, label, name_of, text
from scalesets.cli.kubeconfig import Access, Where
from scalesets.cli.snapshot import Snapshot
from scalesets.cli.whose import Named, Owner
from scalesets.kube.kinds import (
    CLAIMS,
    EXTENSIONS,
    IMAGES,
    LEASES,
    MACHINES,
    NODES,
    PODS,
    REVISIONS,
    SCALE_SETS,
    UPGRADES,
    Kind,
)
from scalesets.kube.names import LABEL_SUBSCRIPTION

BUDGETS = Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
NAMESPACES = Kind("v1", "Namespace", "namespaces", namespaced=False)
FIELD_MANAGER = "kubectl-scaleset"
JSON, MERGE_PATCH, JSON_PATCH = "application/json", "application/merge-patch+json", "application/json-patch+json"
TIMEOUT = aiohttp.ClientTimeout(total=15, sock_connect=5)
MOST_RETRIES, LONGEST_WAIT = 5, 5


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
        self._api = access.api

    async def snapshot(self, name: str) -> Snapshot:
        """A scale set, machine (``vm/NAME``) or availability set with its upgrades and pods, as they are now."""
        named = whose.known(name)
        fleet, upgrades = await asyncio.gather(self.fleet(named), self.upgrades(named))
        machines = await self.machines_of(named.name) if named.owner is whose.AVAILABILITY_SET else ()
        return Snapshot(
            scale_set=named.as_set(fleet),
            upgrades=upgrades,
            pods=await self.pods(named),
            now=datetime.now(UTC),
            whose=named,
            machines=machines,
        )

    async def scale_set(self, name: str) -> Obj:
        """The ScaleSet."""
        return await self.fleet(Named(whose.SCALE_SET, name))

    async def fleet(self, named: Named) -> Obj:
        """A scale set, machine or availability set; when it is missing, the error names the ones that are there."""
        found = await self.find(named)
        if found is not None:
            return found
        kind = named.owner.kind
        there = sorted(name_of(s) for s in await self._list(kind))
        missing = f'no {kind.kind} "{named.name}" in namespace "{self.namespace}"'
        if others := await self._others_of_the_name(named):
            raise not_found(missing, mend=f"write {' or '.join(map(str, others))}: there is {_a_kind(others)}")
        elsewhere = f"kubectl get {named.owner.also} -A shows those of all namespaces"
        mend = f"there are: {', '.join(there[:10])}" if there else elsewhere
        raise not_found(missing, mend=mend)

    async def find(self, named: Named) -> Obj | None:
        """The same, or None when there is none."""
        try:
            return await self._get(named.owner.kind, named.name)
        except CommandError as error:
            if error.exit_code is not ExitCode.NOT_FOUND:
                raise
            return None

    async def _others_of_the_name(self, named: Named) -> list[Named]:
        """Who of another kind has that name: which may be what the user means."""
        others = [Named(owner, named.name) for owner in whose.OWNERS if owner is not named.owner]
        found = []
        for other in others:
            with contextlib.suppress(CommandError):  # who may not read them gets the usual answer
                found += [other] if await self.find(other) is not None else []
        return found

    async def fleets(self, owner: Owner) -> tuple[Obj, ...]:
        """All of a kind in the namespace."""
        return await self._list(owner.kind)

    async def machines_of(self, availability_set: str) -> tuple[Obj, ...]:
        """The machines of an availability set, by name."""
        machines = [m for m in await self._list(MACHINES) if text(m, "spec.availabilitySet") == availability_set]
        return tuple(sorted(machines, key=name_of))

    async def scale_sets(self) -> tuple[Obj, ...]:
        """All sets of the namespace."""
        return await self._list(SCALE_SETS)

    async def upgrade(self, name: str) -> Obj:
        """One RollingUpgrade."""
        return await self._get(UPGRADES, name)

    async def upgrades(self, named: Named) -> tuple[Obj, ...]:
        """Its RollingUpgrades, oldest first. Not by label: one that a user has just made has none yet."""
        return upgrades_of(named.name, await self._list(UPGRADES), field=named.owner.field)

    async def upgrades_here(self) -> tuple[Obj, ...]:
        """All RollingUpgrades of the namespace."""
        return await self._list(UPGRADES)

    async def pods(self, named: Named) -> tuple[Obj, ...]:
        """The pods of a set or machine; for an availability set those of all machines."""
        return await self._list(PODS, labels=named.pods)

    async def claims(self, named: Named) -> tuple[Obj, ...]:
        """The data disks, likewise."""
        return await self._list(CLAIMS, labels=named.pods)

    async def revisions(self, named: Named) -> tuple[Obj, ...]:
        """The models, likewise."""
        return await self._list(REVISIONS, labels=named.pods)

    async def everywhere(self, kind: Kind) -> tuple[Obj, ...]:
        """All of a kind in all namespaces."""
        return _items(await self.ask("GET", kind.path(), kind.plural))

    async def subscriptions(self) -> dict[str, str]:
        """The namespaces that are of a subscription, and of which."""
        query = {"labelSelector": LABEL_SUBSCRIPTION}
        found = _items(await self.ask("GET", NAMESPACES.path(), NAMESPACES.plural, query=query))
        return {name_of(n): label(n, LABEL_SUBSCRIPTION) for n in found}

    async def images(self, catalog_namespace: str) -> tuple[Obj, ...]:
        """The GalleryImages that a set of this namespace can use: its own and the catalog's, each oldest first."""
        return await self._catalogue(IMAGES, catalog_namespace)

    async def extensions(self, catalog_namespace: str) -> tuple[Obj, ...]:
        """The Extensions that a set of this namespace can use, likewise."""
        return await self._catalogue(EXTENSIONS, catalog_namespace)

    async def budgets(self) -> tuple[Obj, ...]:
        """The PodDisruptionBudgets of the namespace."""
        return await self._list(BUDGETS)

    async def nodes(self) -> tuple[Obj, ...]:
        """The cluster's nodes."""
        return _items(await self.ask("GET", NODES.path(), NODES.plural))

    async def lease(self, namespace: str, name: str) -> Obj:
        """A Lease: who leads, and since when."""
        return await self._get(LEASES, name, namespace=namespace)

    async def namespaces(self) -> list[str]:
        """The names of the cluster's namespaces."""
        return [name_of(n) for n in _items(await self.ask("GET", NAMESPACES.path(), NAMESPACES.plural))]

    async def create_upgrade(self, body: Obj) -> Obj:
        """Create a RollingUpgrade."""
        path = UPGRADES.path(self.namespace)
        return _object(await self.ask("POST", path, "the RollingUpgrade", query=_AS_US, body=body))

    async def patch_upgrade(self, upgrade: Obj, spec: Obj, *, as_read: bool) -> Obj:
        """Change fields of a RollingUpgrade's spec; with ``as_read``, ``ConflictError`` if it has changed since."""
        name = name_of(upgrade)
        keys = ("uid", "resourceVersion") if as_read else ("uid",)
        body = {"metadata": {key: text(upgrade, f"metadata.{key}") for key in keys}, "spec": spec}
        path = UPGRADES.path(self.namespace, name)
        what = f'RollingUpgrade "{name}"'
        return _object(await self.ask("PATCH", path, what, query=_AS_US, body=body, content=MERGE_PATCH))

    async def patch_fleet(self, named: Named, operations: list[Obj]) -> Obj:
        """Change a set or machine by a JSON patch; its tests decide whether it still fits."""
        kind = named.owner.kind
        path = kind.path(self.namespace, named.name)
        what = f'{kind.kind} "{named.name}"'
        return _object(await self.ask("PATCH", path, what, query=_AS_US, body=operations, content=JSON_PATCH))

    async def ask(
        self,
        method: str,
        path: str,
        what: str,
        *,
        query: Obj | None = None,
        body: Obj | list[Obj] | None = None,
        content: str = JSON,
    ) -> Any:
        """Send a request for ``what`` and read the JSON of its answer."""
        return await self.read(await self.send(method, path, query=query, body=body, content=content), what)

    async def send(
        self,
        method: str,
        path: str,
        *,
        query: Obj | None = None,
        body: Obj | list[Obj] | None = None,
        content: str = JSON,
        within: aiohttp.ClientTimeout = TIMEOUT,
    ) -> aiohttp.ClientResponse:
        """Send a request, and again while the server asks for that; the answer may be a refusal yet."""
        url = f"{self.server}{path}{f'?{urlencode(query)}' if query else ''}"
        for attempt in range(MOST_RETRIES + 1):
            headers = {"Content-Type": content, "Accept": JSON, "User-Agent": FIELD_MANAGER}
            try:
                await self._api.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
                answer = await self._api.call_api(method, url, headers, body, _request_timeout=within)
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
                raise self.no_connection(error) from error
            response: aiohttp.ClientResponse = answer.response
            wait = response.headers.get("Retry-After", "")
            if response.status not in (429, 503) or not wait.isdecimal() or attempt == MOST_RETRIES:
                break
            response.release()
            await asyncio.sleep(min(int(wait), LONGEST_WAIT))
        return response

    async def read(self, response: aiohttp.ClientResponse, what: str) -> Any:
        """The JSON of an answer, or the refusal as an error. ``what`` was asked for."""
        try:
            raw = await response.read()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise self.no_connection(error) from error
        if response.status >= 400:
            raise self._refusal(response.status, raw, what)
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            mend = "does the kubeconfig name a Kubernetes API server?"
            raise unreachable(f"{self.server} answers, but not as an API server does", mend=mend) from error

    async def _get(self, kind: Kind, name: str, *, namespace: str = "") -> Obj:
        path = kind.path(namespace or self.namespace, name)
        return _object(await self.ask("GET", path, f'{kind.kind} "{name}"'))

    async def _list(self, kind: Kind, *, namespace: str = "", labels: str = "") -> tuple[Obj, ...]:
        query = {"labelSelector": labels} if labels else None
        return _items(await self.ask("GET", kind.path(namespace or self.namespace), kind.plural, query=query))

    async def _catalogue(self, kind: Kind, catalog_namespace: str) -> tuple[Obj, ...]:
        own = by_age(await self._list(kind))
        if catalog_namespace in ("", self.namespace):
            return own
        return own + by_age(await self._list(kind, namespace=catalog_namespace))

    def no_connection(self, error: Exception) -> CommandError:
        """In words, what kept a request or its answer from arriving."""
        mend = f"is it up, and is {self.context!r} the right context? kubectl config get-contexts shows all"
        if isinstance(error, (ssl.SSLError, aiohttp.ClientSSLError)):
            why, mend = "its certificate isn't accepted", "check the cluster's entry in the kubeconfig"
        elif isinstance(error, TimeoutError):
            why = "no answer in time"
        elif isinstance(error, aiohttp.ClientConnectorDNSError):
            why = "its name isn't known"
        elif isinstance(getattr(error, "os_error", error), ConnectionRefusedError):
            why = "connection refused"
        elif isinstance(error, (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError)):
            why = "the connection was cut"
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
                return CommandError(f"the cluster at {self.server} doesn't know scale sets ({what})", mend=mend)
            case 404:
                return not_found(f'no {what} in namespace "{self.namespace}"')
            case 409 if text(answer, "reason") == "Conflict":
                return ConflictError(f"{what} was changed by somebody else at the same time", mend="try again")
            case _:
                return CommandError(f"the API server refuses {what}: {said}")


_AS_US = {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}


@contextlib.asynccontextmanager
async def connect(where: Where) -> AsyncIterator[Cluster]:
    """Open the connection that the flags and the kubeconfig name."""
    access = await kubeconfig.load(where)
    try:
        yield Cluster(access)
    finally:
        await access.api.close()  # type: ignore[no-untyped-call]


def upgrades_of(name: str, upgrades: Iterable[Obj], *, field: str = whose.SCALE_SET.field) -> tuple[Obj, ...]:
    """Those of one set or machine, the oldest first."""
    return by_age(u for u in upgrades if text(u, f"spec.{field}") == name)


def _a_kind(others: Iterable[Named]) -> str:
    return " and ".join(f"{'an' if n.owner.kind.kind[0] in 'AEIOU' else 'a'} {n.owner.kind.kind}" for n in others)


def by_age(objects: Iterable[Obj]) -> tuple[Obj, ...]:
    """The oldest first."""
    return tuple(sorted(objects, key=lambda o: (text(o, "metadata.creationTimestamp"), name_of(o))))


def _object(answer: Any) -> Obj:
    if not isinstance(answer, dict):
        raise unreachable("the API server answered with something that is no object")
    return answer


def _items(answer: Any) -> tuple[Obj, ...]:
    return tuple(_object(answer).get("items") or ())
