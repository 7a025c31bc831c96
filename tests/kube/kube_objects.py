"""Builders of API objects as the API server sends them: decoded JSON, with the fields that the operator reads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import orjson

from scalesets.kube import models
from scalesets.kube.names import LABEL_MODEL
from scalesets.kube.seen import Seen

Obj = dict[str, Any]

NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
CATALOG = "scaleset-system"
NAMESPACE = "team-a"

_numbers = count(1)


def at(seconds: float) -> str:
    """The time so many seconds after (or before) NOW, as the API server writes it."""
    return (NOW + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def stored(obj: Obj, **metadata: Any) -> Obj:
    """The object with what the API server adds."""
    number = next(_numbers)
    added = {
        "uid": f"uid-{number}",
        "resourceVersion": str(1000 + number),
        "generation": 1,
        "creationTimestamp": at(-3600),
    }
    return {**obj, "metadata": {**added, **obj["metadata"], **metadata}}


def a_set(name: str = "web", *, uid: str = "set-uid", status: Obj | None = None, **spec: Any) -> Obj:
    """A ScaleSet of one readable instance; fields of spec are given by their API names."""
    given: Obj = {
        "replicas": 10,
        "imageReference": {"publisher": "Canonical", "offer": "jammy", "sku": "22_04-LTS", "version": "latest"},
        "template": a_template(),
        **spec,
    }
    obj = stored({"kind": "ScaleSet", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": given}, uid=uid)
    return {**obj, "status": status} if status is not None else obj


def a_template(**os: Any) -> Obj:
    """A pod template; fields of the container `os` are given."""
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 2}
    return {"spec": {"containers": [{"name": "os", "readinessProbe": probe, **os}]}}


def an_extension(name: str = "health", **given: Any) -> Obj:
    """An extension as a set names it."""
    return {"name": name, "publisher": "Contoso", "type": name.capitalize(), "typeHandlerVersion": "1.0", **given}


def a_published_extension(name: str = "health", *versions: str, **spec: Any) -> Obj:
    """The Extension object that ``an_extension`` of the name points at."""
    return stored(
        {
            "kind": "Extension",
            "metadata": {"name": name, "namespace": CATALOG},
            "spec": {
                "publisher": "Contoso",
                "type": name.capitalize(),
                "container": {"startupProbe": {"httpGet": {"path": "/started", "port": 8081}}},
                "versions": [{"version": v, "image": f"registry/ext/{name}:{v}"} for v in versions or ("1.0.4",)],
                **spec,
            },
        }
    )


def an_image(
    *versions: str, name: str = "ubuntu", namespace: str = CATALOG, source: str = "Platform", **spec: Any
) -> Obj:
    """The GalleryImage that ``a_set`` points at."""
    return stored(
        {
            "kind": "GalleryImage",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "source": source,
                "publisher": "Canonical",
                "offer": "jammy",
                "sku": "22_04-LTS",
                "versions": [{"version": v, "image": f"registry/os/ubuntu:{v}"} for v in versions or ("1.0.0",)],
                **spec,
            },
        }
    )


def a_revision(scaleset: Obj, *extensions: Obj) -> Obj:
    """The ControllerRevision that the operator stores for the set's spec."""
    body = models.resolve(seen(scaleset, extensions=extensions)).create
    assert body is not None
    return stored(sent(body))


def sent(body: Any) -> Obj:
    """What the API server reads of a body."""
    found: Obj = orjson.loads(orjson.dumps(body))
    return found


def revisions_of(*revisions: Obj) -> dict[str, Obj]:
    """By model name, as the cache keeps them."""
    return {r["metadata"]["labels"][LABEL_MODEL]: r for r in revisions}


def seen(scaleset: Obj, **found: Any) -> Seen:
    """What the caches know of the set."""
    return Seen(scale_set=scaleset, catalog_namespace=CATALOG, **{k: _fixed(v) for k, v in found.items()})


def _fixed(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def a_pod(
    ordinal: int = 0, *, set_name: str = "web", owner: str = "set-uid", status: Obj | None = None, **given: Any
) -> Obj:
    """A pod of the set, just created; ``labels``, ``annotations``, ``metadata`` and ``spec`` add to what it has."""
    name = f"{set_name}-{ordinal}"
    labels = {
        "scalesets.dev/scaleset": set_name,
        "scalesets.dev/instance-id": str(ordinal),
        "scalesets.dev/image-version": "1.0.0",
        "scalesets.dev/model": "abc",
        **given.get("labels", {}),
    }
    owners = [{"kind": "ScaleSet", "name": set_name, "uid": owner, "controller": True}] if owner else []
    metadata = {
        "name": name,
        "namespace": NAMESPACE,
        "labels": labels,
        "ownerReferences": owners,
        "annotations": given.get("annotations", {}),
        **given.get("metadata", {}),
    }
    spec = {"containers": [{"name": "os", "image": "registry/os/ubuntu:1.0.0"}], **given.get("spec", {})}
    return stored({"metadata": metadata, "spec": spec, "status": status or {"phase": "Pending"}}, uid=f"pod-{name}")


def running(*, ready: bool = True, since: float = -60, started: bool = True, **statuses: Any) -> Obj:
    """A pod status: the container `os` runs."""
    return {
        "phase": "Running",
        "conditions": [
            {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": at(since)},
        ],
        "containerStatuses": [
            {"name": "os", "started": started, "state": {"running": {"startedAt": at(since)}}},
        ],
        **statuses,
    }


def waiting(reason: str, message: str = "", name: str = "os", **more: Any) -> Obj:
    """A pod status: a container waits for the reason."""
    return {
        "phase": "Pending",
        "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": at(-60)}],
        "containerStatuses": [
            {"name": name, "started": False, "state": {"waiting": {"reason": reason, "message": message}}, **more},
        ],
    }
