"""What is upgraded: the same pod for all three, as a ScaleSet, as a StatefulSet and bare.

The pod has one container with a readiness probe and no claims: an upgrade keeps claims as they are, so they would cost
all three nothing but set-up time. What identity adds differs by kind and can't be the same: a StatefulSet sets hostname
and its own labels; a ScaleSet its labels and owner. The bare pods carry the ScaleSet's labels and an owner too (a
ConfigMap), so that the API server, the garbage collector and the watches have the same work.
"""

from __future__ import annotations

from typing import Any

Body = dict[str, Any]

NAME = "web"
PODS = "/api/v1/namespaces/{}/pods"
SETS = "/apis/scalesets.dev/v1alpha1/namespaces/{}/scalesets"
IMAGES = "/apis/scalesets.dev/v1alpha1/namespaces/{}/galleryimages"
UPGRADES = "/apis/scalesets.dev/v1alpha1/namespaces/{}/rollingupgrades"
EXTENSIONS = "/apis/scalesets.dev/v1alpha1/namespaces/{}/extensions"
STATEFULSETS = "/apis/apps/v1/namespaces/{}/statefulsets"
MACHINES = "/apis/scalesets.dev/v1alpha1/namespaces/{}/virtualmachines"
CLONESETS = "/apis/apps.kruise.io/v1alpha1/namespaces/{}/clonesets"


def image(version: str) -> str:
    """The image of a version."""
    return f"registry.example/os/bench:{version}"


def version(number: int) -> str:
    """The n-th version."""
    return f"{number}.0.0"


def pod_spec(image_of_os: str | None) -> Body:
    """The pod of all three; a ScaleSet's template has no image for `os`."""
    container: Body = {
        "name": "os",
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 2},
    }
    if image_of_os is not None:
        container["image"] = image_of_os
    return {"terminationGracePeriodSeconds": 10, "containers": [container]}


def gallery_image(namespace: str, *versions: str) -> Body:
    """The image that the ScaleSets of a namespace follow."""
    return {
        "apiVersion": "scalesets.dev/v1alpha1",
        "kind": "GalleryImage",
        "metadata": {"name": "bench", "namespace": namespace},
        "spec": {"source": "Gallery", "versions": [published(each) for each in versions]},
    }


def published(of: str) -> Body:
    """One line of a GalleryImage's versions."""
    return {"version": of, "image": image(of)}


def scale_set(namespace: str, replicas: int, *, name: str = NAME, update_domains: int = 5) -> Body:
    """Ours: automatic OS upgrades by the default policy (20%, no pause)."""
    return {
        "apiVersion": "scalesets.dev/v1alpha1",
        "kind": "ScaleSet",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "updateDomains": update_domains,
            "imageReference": {"galleryImage": "bench", "version": "latest"},
            "upgradePolicy": {"automaticOSUpgradePolicy": {"enableAutomaticOSUpgrade": True}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec(None)},
        },
    }


def stateful_set(namespace: str, replicas: int, of: str) -> Body:
    """The peer: the same pods, as many down at a time."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "serviceName": NAME,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "20%"}},
            "selector": {"matchLabels": {"app": NAME}},
            "template": {"metadata": {"labels": {"app": NAME}}, "spec": pod_spec(image(of))},
        },
    }


AGENT: Body = {
    "name": "agent",
    "publisher": "bench",
    "type": "agent",
    "typeHandlerVersion": "1.0",
    "enableAutomaticUpgrade": True,
}
"""The extension as a ScaleSet names it."""

SETTLE_SECONDS = 2 + 1
"""What must pass after its upgrade: 2 s and the larger period of its probes (docs/rules.md, "Health")."""


_AGENT_STARTED: Body = {"httpGet": {"path": "/started", "port": 8081}, "periodSeconds": 1}


def extension(namespace: str, *versions: str) -> Body:
    """An extension with a start-up probe."""
    return {
        "apiVersion": "scalesets.dev/v1alpha1",
        "kind": "Extension",
        "metadata": {"name": "agent", "namespace": namespace},
        "spec": {
            "publisher": AGENT["publisher"],
            "type": AGENT["type"],
            "supportsAutomaticUpgrade": True,
            "container": {"startupProbe": _AGENT_STARTED},
            "versions": [published_extension(each) for each in versions],
        },
    }


def extension_image(version: str) -> str:
    """The image of a version of the extension."""
    return f"registry.example/ext/agent:{version}"


def published_extension(version: str) -> Body:
    """One line of an Extension's versions."""
    return {"version": version, "image": extension_image(version)}


def machine(namespace: str, name: str) -> Body:
    """A machine by itself with the extension."""
    return {
        "apiVersion": "scalesets.dev/v1alpha1",
        "kind": "VirtualMachine",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "imageReference": {"galleryImage": "bench", "version": "latest"},
            "extensions": [AGENT],
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec(None)},
        },
    }


CLONESET_AGENT = 1
"""Which container of a CloneSet's pods is the agent."""


def clone_set(namespace: str, replicas: int, of: str) -> Body:
    """OpenKruise's: the same containers, as many down at a time, the same settle time, never recreated."""
    spec = pod_spec(image(version(1)))
    spec["containers"].append({"name": AGENT["name"], "image": extension_image(of), "startupProbe": _AGENT_STARTED})
    return {
        "apiVersion": "apps.kruise.io/v1alpha1",
        "kind": "CloneSet",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "minReadySeconds": SETTLE_SECONDS,
            "updateStrategy": {"type": "InPlaceOnly", "maxUnavailable": "20%"},
            "selector": {"matchLabels": {"app": NAME}},
            "template": {"metadata": {"labels": {"app": NAME}}, "spec": spec},
        },
    }


def kruise_webhooks(namespace: str) -> list[tuple[str, Body]]:
    """Where to create which webhook configuration, for CloneSets only; OpenKruise puts URL and certificate in."""
    told = []
    for kind, verb, operations in (
        ("Mutating", "mutate", ["CREATE", "UPDATE"]),
        ("Validating", "validate", ["CREATE", "UPDATE", "DELETE"]),
    ):
        path = f"/{verb}-apps-kruise-io-v1alpha1-cloneset"
        service = {"name": "kruise-webhook-service", "namespace": namespace, "path": path}
        rule = {"apiGroups": ["apps.kruise.io"], "apiVersions": ["v1alpha1"], "resources": ["clonesets"]}
        webhook = {
            "name": f"{verb}.cloneset.kb.io",
            "admissionReviewVersions": ["v1"],
            "sideEffects": "None",
            "clientConfig": {"service": service},
            "rules": [{**rule, "operations": operations}],
        }
        body = {"metadata": {"name": f"kruise-{kind.lower()}-webhook-configuration"}, "webhooks": [webhook]}
        told.append((f"/apis/admissionregistration.k8s.io/v1/{kind.lower()}webhookconfigurations", body))
    return told


def owner(namespace: str) -> Body:
    """What owns the bare pods."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME, "namespace": namespace}}


def bare_pod(namespace: str, ordinal: int, of: str, *, owner_uid: str, update_domains: int = 5) -> Body:
    """What the operator would create for an instance, with another owner."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{NAME}-{ordinal}",
            "namespace": namespace,
            "labels": {
                "app": NAME,
                "scalesets.dev/scaleset": NAME,
                "scalesets.dev/instance-id": str(ordinal),
                "scalesets.dev/image-version": of,
                "scalesets.dev/model": "0123456789",
                "scalesets.dev/update-domain": str(ordinal % update_domains),
            },
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "name": NAME,
                    "uid": owner_uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "spec": pod_spec(image(of)),
    }


def image_of(pod: Body) -> str:
    """The image that a pod runs."""
    container: Body = next(c for c in pod["spec"]["containers"] if c["name"] == "os")
    return str(container["image"])


def is_ready(pod: Body) -> bool:
    """Ready, and not on its way out."""
    if "deletionTimestamp" in pod["metadata"]:
        return False
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
