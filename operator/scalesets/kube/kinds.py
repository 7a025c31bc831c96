"""The kinds of API objects that the operator reads and writes, and where they lie on the API server."""

from __future__ import annotations

from dataclasses import dataclass

from scalesets.kube.names import API_VERSION, AVAILABILITY_SET, VIRTUAL_MACHINE, Raw


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def root(self) -> str:
        """The path of its API group."""
        return f"/api/{self.api_version}" if "/" not in self.api_version else f"/apis/{self.api_version}"

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """The path of one object or, without a name, of all (in the namespace)."""
        path = f"{self.root}/namespaces/{namespace}/{self.plural}" if namespace else f"{self.root}/{self.plural}"
        if name:
            path = f"{path}/{name}"
        return f"{path}/{subresource}" if subresource else path


SCALE_SETS = Kind(API_VERSION, "ScaleSet", "scalesets")
MACHINES = Kind(API_VERSION, VIRTUAL_MACHINE, "virtualmachines")
GROUPS = Kind(API_VERSION, AVAILABILITY_SET, "availabilitysets")
UPGRADES = Kind(API_VERSION, "RollingUpgrade", "rollingupgrades")
IMAGES = Kind(API_VERSION, "GalleryImage", "galleryimages")
EXTENSIONS = Kind(API_VERSION, "Extension", "extensions")
OURS = (SCALE_SETS, MACHINES, GROUPS, UPGRADES, IMAGES, EXTENSIONS)

PODS = Kind("v1", "Pod", "pods")
CLAIMS = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
REVISIONS = Kind("apps/v1", "ControllerRevision", "controllerrevisions")
EVENTS = Kind("events.k8s.io/v1", "Event", "events")
LEASES = Kind("coordination.k8s.io/v1", "Lease", "leases")
NAMESPACES = Kind("v1", "Namespace", "namespaces", namespaced=False)
NODES = Kind("v1", "Node", "nodes", namespaced=False)
CRDS = Kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
SECRETS = Kind("v1", "Secret", "secrets")
CONFIG_MAPS = Kind("v1", "ConfigMap", "configmaps")


def owner_kind(obj: Raw) -> Kind:
    """The kind of a set, machine or availability set."""
    return {VIRTUAL_MACHINE: MACHINES, AVAILABILITY_SET: GROUPS}.get(obj.get("kind", ""), SCALE_SETS)
