"""Manifests for the scenarios, short to write: `a_set("web", replicas=20)`, `an_image("ubuntu", "1.0.0", "2.0.0")`.

Times are short, so that a scenario takes seconds: an instance has 3 s to become healthy once its containers have
started. An image's tag says how the simulated machines play it (docs/local.md), so `version("2.0.0", "broken")` is one
that never gets ready.
"""

from __future__ import annotations

import base64
from typing import Any

Body = dict[str, Any]

API_VERSION = "scalesets.dev/v1alpha1"
HEALTH_TIMEOUT = "PT3S"
PATIENT: Body = {"healthTimeout": "PT7S"}
"""For extensions that fail: a put-back waits until the start-up probe of the bad version has used up its 3 s."""


def a_set(
    name: str = "web",
    *,
    replicas: int = 5,
    image: str = "ubuntu",
    version: str = "latest",
    mode: str = "Rolling",
    automatic: bool = True,
    rolling: Body | None = None,
    os_upgrades: Body | None = None,
    claims: bool = False,
    container: Body | None = None,
    pod: Body | None = None,
    env: str = "",
    probe: bool = True,
    **spec: Any,
) -> Body:
    """A ScaleSet. ``rolling`` and ``os_upgrades`` go over its policies; another ``env`` is another model."""
    os: Body = {"name": "os", "ports": [{"containerPort": 8080}], **(container or {})}
    if probe:
        os["readinessProbe"] = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}
    if env:
        os["env"] = [{"name": "REVISION", "value": env}]
    policy = {"healthTimeout": HEALTH_TIMEOUT, "provisioningTimeout": "PT20S", **(rolling or {})}
    body: Body = {
        "apiVersion": API_VERSION,
        "kind": "ScaleSet",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "imageReference": {"galleryImage": image, "version": version},
            "upgradePolicy": {
                "mode": mode,
                "rollingUpgradePolicy": policy,
                "automaticOSUpgradePolicy": {"enableAutomaticOSUpgrade": automatic, **(os_upgrades or {})},
            },
            "template": {"spec": {"terminationGracePeriodSeconds": 2, "containers": [os], **(pod or {})}},
            **spec,
        },
    }
    if claims:
        os["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        body["spec"].setdefault("volumeClaimTemplates", [a_claim_template()])
    return body


def a_machine(name: str = "db", **fields: Any) -> Body:
    """A VirtualMachine, with the fields of ``a_set`` that it has."""
    body = a_set(name, replicas=1, **fields)
    spec = body["spec"]
    spec["upgradePolicy"] = {
        "rollingUpgradePolicy": {
            k: v for k, v in spec["upgradePolicy"]["rollingUpgradePolicy"].items() if k.endswith("Timeout")
        }
    }
    del spec["replicas"]
    return {**body, "kind": "VirtualMachine"}


def a_claim_template(name: str = "data", storage: str = "1Gi") -> Body:
    """A data disk of every instance."""
    resources = {"requests": {"storage": storage}}
    return {"metadata": {"name": name}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources}}


def version(number: str, word: str = "", **fields: Any) -> Body:
    """A published version; ``word`` says how the machines play it (broken, slow, crash, missing)."""
    return {"version": number, "image": f"registry.example/os/ubuntu:{number}{'-' + word if word else ''}", **fields}


def an_image(name: str = "ubuntu", *versions: str | Body, **spec: Any) -> Body:
    """A gallery image with its versions."""
    published = [version(v) if isinstance(v, str) else v for v in versions]
    return {
        "apiVersion": API_VERSION,
        "kind": "GalleryImage",
        "metadata": {"name": name},
        "spec": {"source": "Gallery", "versions": published, **spec},
    }


def a_followed_extension(name: str, *versions: str, **fields: Any) -> Body:
    """An extension whose publisher supports automatic upgrade."""
    return an_extension(name, *versions, supportsAutomaticUpgrade=True, **fields)


def an_extension(name: str, *versions: str, health: bool = False, word: str = "", **spec: Any) -> Body:
    """An extension of the publisher `Example` whose type is its name."""
    image = f"registry.example/ext/{name}"
    published = [{"version": v, "image": f"{image}:{v}{'-' + word if word else ''}"} for v in versions]
    return {
        "apiVersion": API_VERSION,
        "kind": "Extension",
        "metadata": {"name": name},
        "spec": {
            "publisher": "Example",
            "type": name,
            "reportsApplicationHealth": health,
            "container": {"startupProbe": {"httpGet": {"path": "/started", "port": 8081}, "periodSeconds": 1}},
            "versions": published,
            **spec,
        },
    }


def follows(name: str, handler: str = "1.0", **fields: Any) -> Body:
    """An entry of a set's `extensions` that is upgraded automatically."""
    return uses(name, handler, enableAutomaticUpgrade=True, **fields)


def uses(name: str, handler: str = "1.0", **fields: Any) -> Body:
    """An entry of a set's `extensions`."""
    return {"name": name, "publisher": "Example", "type": name, "typeHandlerVersion": handler, **fields}


def a_secret(name: str = "keys", annotations: Body | None = None, **data: str) -> Body:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    metadata = {"name": name, "annotations": annotations or {}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": encoded}


def a_start(set_name: str, name: str, *, kind: str = "OSImage", **spec: Any) -> Body:
    """A RollingUpgrade as a user creates it."""
    return {
        "apiVersion": API_VERSION,
        "kind": "RollingUpgrade",
        "metadata": {"name": name},
        "spec": {"scaleSet": set_name, "type": kind, **spec},
    }
