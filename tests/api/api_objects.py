"""Objects of the API as their authors would write them, and ways to spoil them.

`a_set({"spec.zones": ["1", "1"]})` is a good ScaleSet with one thing changed; `GONE` removes what is there.
"""

import copy
from typing import Any

Body = dict[str, Any]
GONE = object()
NAMESPACE = "api-tests"


def changed(body: Body, changes: dict[str, Any]) -> Body:
    """The object with each dotted path set; a number in a path is a place in a list."""
    result = copy.deepcopy(body)
    for path, value in changes.items():
        *parents, last = (int(part) if part.isdigit() else part for part in path.replace("\\.", "\0").split("."))
        where: Any = result
        for part in parents:
            where = where[part] if isinstance(part, int) else where.setdefault(part, {})
        last = last.replace("\0", ".") if isinstance(last, str) else last
        if value is GONE:
            del where[last]
        elif isinstance(where, list) and last == len(where):
            where.append(value)
        else:
            where[last] = value
    return result


def _object(kind: str, name: str, spec: Body, changes: dict[str, Any] | None) -> Body:
    body = {
        "apiVersion": "scalesets.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }
    return changed(body, changes or {})


def a_set(changes: dict[str, Any] | None = None, *, name: str = "web") -> Body:
    """A set that says a little of everything."""
    spec = {
        "replicas": 10,
        "location": "westeurope",
        "zones": ["1", "2", "3"],
        "updateDomains": 5,
        "imageReference": {"publisher": "Canonical", "offer": "ubuntu-server-jammy", "sku": "22_04-LTS"},
        "extensions": [
            {"name": "monitor", "publisher": "Example", "type": "Monitor", "typeHandlerVersion": "1.0"},
            {
                "name": "health",
                "publisher": "Example",
                "type": "Health",
                "typeHandlerVersion": "1",
                "settings": {"port": 8080, "nested": {"list": [1, "two"]}},
                "protectedSettingsFrom": {"secretRef": {"name": "health-keys"}},
                "provisionAfterExtensions": ["monitor"],
            },
        ],
        "serviceFabric": {"clusterDurabilityLevel": "Silver"},
        "template": {
            "metadata": {"labels": {"app": "web"}, "annotations": {"example.com/note": "a note"}},
            "spec": {
                "initContainers": [{"name": "prepare", "image": "registry.example/prepare:1"}],
                "containers": [
                    {
                        "name": "os",
                        "ports": [{"containerPort": 8080}],
                        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 2},
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    },
                    {"name": "log", "image": "registry.example/log:1"},
                ],
            },
        },
        "volumeClaimTemplates": [
            {
                "metadata": {"name": "data", "labels": {"disk": "data"}},
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "storageClassName": "quick",
                    "resources": {"requests": {"storage": "1Gi"}},
                },
            },
            {
                "metadata": {"name": "logs"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            },
        ],
        "serviceName": "web",
        "instanceProtection": [{"instanceId": 3, "protectFromUpgrade": True}],
    }
    return _object("ScaleSet", name, spec, changes)


def a_small_set(changes: dict[str, Any] | None = None, *, name: str = "small") -> Body:
    """A set that says only what it must."""
    spec = {"imageReference": {"galleryImage": "mine"}, "template": {"spec": {"containers": [{"name": "os"}]}}}
    return _object("ScaleSet", name, spec, changes)


def an_image(changes: dict[str, Any] | None = None, *, name: str = "jammy") -> Body:
    """A platform image with two versions."""
    spec = {
        "source": "Platform",
        "publisher": "Canonical",
        "offer": "ubuntu-server-jammy",
        "sku": "22_04-LTS",
        "versions": [
            {"version": "22.4.202611010", "image": "registry.example/os:22.4.202611010"},
            {"version": "22.4.202612010", "image": "registry.example/os:22.4.202612010"},
        ],
    }
    return _object("GalleryImage", name, spec, changes)


def an_extension(changes: dict[str, Any] | None = None, *, name: str = "health") -> Body:
    """An extension that reports health."""
    spec = {
        "publisher": "Example",
        "type": "Health",
        "supportsAutomaticUpgrade": True,
        "reportsApplicationHealth": True,
        "container": {"startupProbe": {"httpGet": {"path": "/started", "port": 8081}}},
        "versions": [{"version": "1.0.4", "image": "registry.example/ext/health:1.0.4"}],
    }
    return _object("Extension", name, spec, changes)


def an_upgrade(changes: dict[str, Any] | None = None, *, name: str = "up") -> Body:
    """A manual start of an OS image upgrade."""
    return _object("RollingUpgrade", name, {"scaleSet": "web", "type": "OSImage"}, changes)


def a_machine(changes: dict[str, Any] | None = None, *, name: str = "db") -> Body:
    """A machine that is made of what the instances of `a_set` are made of."""
    same = ("location", "imageReference", "extensions", "template", "volumeClaimTemplates", "serviceName")
    spec = {field: a_set()["spec"][field] for field in same}
    return _object("VirtualMachine", name, {"zone": "1", **spec}, changes)


def a_member(changes: dict[str, Any] | None = None, *, name: str = "member") -> Body:
    """A machine of an availability set that says only what it must."""
    return _object("VirtualMachine", name, {"availabilitySet": "dbs", **a_small_set()["spec"]}, changes)


def an_availability_set(changes: dict[str, Any] | None = None, *, name: str = "dbs") -> Body:
    """Machines in three update domains."""
    return _object("AvailabilitySet", name, {"location": "westeurope", "platformUpdateDomainCount": 3}, changes)
