"""A small asyncio client of the API server for tests: plain dicts, one kubeconfig, no code of the operator.

`Api.get("Pod", "team-a", "web-0")`; a refusal is raised as `Refused` with its status code and the server's words.
"""

from __future__ import annotations

import base64
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
import orjson
import yaml

Body = dict[str, Any]

_OURS = "/apis/scalesets.dev/v1alpha1"
KINDS: Mapping[str, tuple[str, str]] = {
    "ScaleSet": (_OURS, "scalesets"),
    "VirtualMachine": (_OURS, "virtualmachines"),
    "AvailabilitySet": (_OURS, "availabilitysets"),
    "RollingUpgrade": (_OURS, "rollingupgrades"),
    "GalleryImage": (_OURS, "galleryimages"),
    "Extension": (_OURS, "extensions"),
    "Pod": ("/api/v1", "pods"),
    "PersistentVolumeClaim": ("/api/v1", "persistentvolumeclaims"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Secret": ("/api/v1", "secrets"),
    "Event": ("/api/v1", "events"),
    "ResourceQuota": ("/api/v1", "resourcequotas"),
    "Namespace": ("/api/v1", "namespaces"),
    "Node": ("/api/v1", "nodes"),
    "ControllerRevision": ("/apis/apps/v1", "controllerrevisions"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "Role": ("/apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("/apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "StorageClass": ("/apis/storage.k8s.io/v1", "storageclasses"),
    "ValidatingAdmissionPolicy": ("/apis/admissionregistration.k8s.io/v1", "validatingadmissionpolicies"),
    "ValidatingAdmissionPolicyBinding": ("/apis/admissionregistration.k8s.io/v1", "validatingadmissionpolicybindings"),
}
"""Where each kind is served, and under which plural."""

MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"


class Refused(Exception):  # noqa: N818 - the server's word, often an expected one
    """The API server refused a request."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Api:
    """A connection to one API server; use it as an async context manager."""

    def __init__(self, kubeconfig: Path | str) -> None:
        self.server, self._ssl, self._headers = read_kubeconfig(Path(kubeconfig))
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Api:
        connector = aiohttp.TCPConnector(ssl=self._ssl, limit=0)
        timeout = aiohttp.ClientTimeout(total=10)
        self._session = aiohttp.ClientSession(connector=connector, headers=self._headers, timeout=timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def get(self, kind: str, namespace: str, name: str) -> Body:
        """One object."""
        return await self._ask("GET", path(kind, namespace, name))

    async def find(self, kind: str, namespace: str, name: str) -> Body | None:
        """One object, or None when it isn't there."""
        try:
            return await self.get(kind, namespace, name)
        except Refused as refused:
            if refused.status == 404:
                return None
            raise

    async def list(self, kind: str, namespace: str = "", **query: str) -> Body:
        """All objects, as the list that the server answers."""
        return await self._ask("GET", f"{path(kind, namespace)}?{urlencode(query)}")

    async def create(self, body: Body, *, manager: str = "test", dry_run: bool = False) -> Body:
        """POST an object."""
        namespace = body["metadata"].get("namespace", "")
        query = urlencode({"fieldManager": manager, **({"dryRun": "All"} if dry_run else {})})
        return await self._ask("POST", f"{path(body['kind'], namespace)}?{query}", body)

    async def apply(self, body: Body, *, manager: str = "test") -> Body:
        """Apply an object server-side, taking over its fields."""
        meta = body["metadata"]
        where = path(body["kind"], meta.get("namespace", ""), meta["name"])
        return await self._ask("PATCH", f"{where}?fieldManager={manager}&force=true", body, APPLY)

    async def patch(self, kind: str, namespace: str, name: str, body: Body, *, subresource: str = "") -> Body:
        """Merge-patch an object, or a subresource of it."""
        return await self._ask("PATCH", path(kind, namespace, name, subresource), body, MERGE)

    async def delete(self, kind: str, namespace: str, name: str, **options: Any) -> Body:
        """DELETE an object; the options are DeleteOptions'."""
        return await self._ask("DELETE", path(kind, namespace, name), options or None)

    async def text(self, where: str) -> str:
        """A plain-text endpoint, such as /metrics."""
        async with self._request("GET", where) as response:
            return await response.text()

    async def watch(self, kind: str, namespace: str, *, since: str) -> AsyncIterator[tuple[str, Body]]:
        """Events (type, object) as they come, until the server ends the watch; 410 is raised."""
        query = urlencode({"watch": "1", "resourceVersion": since, "allowWatchBookmarks": "true"})
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=None)
        async with self._request("GET", f"{path(kind, namespace)}?{query}", timeout=timeout) as response:
            if response.status != 200:
                raise Refused(response.status, await response.text())
            rest = b""
            async for chunk in response.content.iter_any():
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise Refused(event["object"].get("code", 500), event["object"].get("message", ""))
                    yield event["type"], event["object"]

    async def _ask(self, method: str, where: str, body: Any = None, how: str = "application/json") -> Body:
        data = orjson.dumps(body) if body is not None else None
        async with self._request(method, where, data=data, headers={"Content-Type": how}) as response:
            raw = await response.read()
            if response.status < 300:
                return orjson.loads(raw)
            try:
                message = orjson.loads(raw)["message"]
            except (ValueError, KeyError):
                message = raw.decode(errors="replace")
            raise Refused(response.status, message)

    def _request(self, method: str, where: str, **options: Any) -> Any:
        assert self._session is not None, "use `async with Api(...)`"
        return self._session.request(method, self.server + where, **options)


def path(kind: str, namespace: str = "", name: str = "", subresource: str = "") -> str:
    """Where a kind, an object or a subresource is served."""
    group, plural = KINDS[kind]
    parts = [group, *(("namespaces", namespace) if namespace else ()), plural, name, subresource]
    return "/".join(part for part in parts if part)


def read_kubeconfig(kubeconfig: Path) -> tuple[str, ssl.SSLContext, dict[str, str]]:
    """The current context's server, certificates and token."""
    content = yaml.safe_load(kubeconfig.read_text())
    context = _named(content["contexts"], content["current-context"], "context")
    cluster = _named(content["clusters"], context["cluster"], "cluster")
    user = _named(content["users"], context["user"], "user")
    trust = ssl.create_default_context(cafile=_file(cluster, "certificate-authority", kubeconfig))
    if certificate := _file(user, "client-certificate", kubeconfig):
        trust.load_cert_chain(certificate, _file(user, "client-key", kubeconfig))
    headers = {"Authorization": f"Bearer {user['token']}"} if user.get("token") else {}
    return cluster["server"].rstrip("/"), trust, headers


def _named(entries: list[Body], name: str, what: str) -> Body:
    return next(entry[what] for entry in entries if entry["name"] == name)


def _file(entry: Body, what: str, kubeconfig: Path) -> str | None:
    """The file that an entry names, or one with its inline data."""
    if named := entry.get(what):
        return str(kubeconfig.parent / named)
    if data := entry.get(f"{what}-data"):
        with tempfile.NamedTemporaryFile(delete=False) as file:
            file.write(base64.b64decode(data))
        return file.name
    return None
