"""What a container needs before it can start: the Secrets and ConfigMaps that its pod names and that aren't optional.

A kubelet reads them when it starts a container. One that a variable names and that isn't there, or lacks the key, is a
CreateContainerConfigError in the kubelet's words, tried again until it is there; one that is to be mounted leaves the
pod at ContainerCreating. Nothing is watched: a machine looks when a container starts, and again while that fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

JsonObject = dict[str, Any]

_PLURALS = {"Secret": "secrets", "ConfigMap": "configmaps"}


@dataclass(frozen=True, slots=True)
class Reference:
    """An object, or a key of it (empty: the whole)."""

    kind: str
    name: str
    key: str = ""

    def problem(self, found: JsonObject | None, namespace: str) -> str:
        """What a kubelet says of it; empty when all is well."""
        if found is None:
            return f'{self.kind.lower()} "{self.name}" not found'
        held = {**(found.get("data") or {}), **(found.get("binaryData") or {})}
        if self.key and self.key not in held:
            return f"couldn't find key {self.key} in {self.kind} {namespace}/{self.name}"
        return ""


def of_variables(container: JsonObject) -> Iterator[Reference]:
    """What the container's variables come from."""
    for source in container.get("envFrom") or ():
        yield from _named("Secret", source.get("secretRef"))
        yield from _named("ConfigMap", source.get("configMapRef"))
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        yield from _named("Secret", source.get("secretKeyRef"), key="key")
        yield from _named("ConfigMap", source.get("configMapKeyRef"), key="key")


def of_volumes(spec: JsonObject) -> Iterator[Reference]:
    """What the pod's volumes hold, without the projected ones (every pod has one)."""
    for volume in spec.get("volumes") or ():
        for kind, source, name in (
            ("Secret", volume.get("secret"), "secretName"),
            ("ConfigMap", volume.get("configMap"), "name"),
        ):
            if source:
                named = {"name": source.get(name), "optional": source.get("optional")}
                keys = [item["key"] for item in source.get("items") or ()] or [""]
                for key in keys:
                    yield from _named(kind, {**named, "key": key}, key="key")


def _named(kind: str, source: JsonObject | None, *, key: str = "") -> Iterator[Reference]:
    if source and source.get("name") and not source.get("optional"):
        yield Reference(kind, source["name"], source[key] if key else "")


Get = Callable[[str], Awaitable[JsonObject | None]]
"""A path -> the object, None when there is none."""


class Lookups:
    """Reads what references name; who asks for the same at the same time shares an answer."""

    def __init__(self, get: Get) -> None:
        self._get = get
        self._under_way: dict[str, asyncio.Task[JsonObject | None]] = {}

    async def problem(self, references: Iterable[Reference], namespace: str) -> str:
        """The first that is wrong with them, in a kubelet's words; empty when all is well."""
        for reference in references:
            found = await self._read(f"/api/v1/namespaces/{namespace}/{_PLURALS[reference.kind]}/{reference.name}")
            if words := reference.problem(found, namespace):
                return words
        return ""

    async def _read(self, path: str) -> JsonObject | None:
        task = self._under_way.get(path)
        if task is None:
            task = self._under_way[path] = asyncio.get_running_loop().create_task(self._fetch(path))
        return await asyncio.shield(task)

    async def _fetch(self, path: str) -> JsonObject | None:
        try:
            return await self._get(path)
        finally:
            del self._under_way[path]
