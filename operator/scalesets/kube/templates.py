"""Model and release -> pod (docs/api.md, "ScaleSet"; O6, O7): the custom data, the extensions as native sidecars, then
the user's own.

A pod body is made once per release as a skeleton; an instance costs a shallow fill of the few fields that depend on
its ordinal. The bodies share everything else and are only ever serialised, never changed.

What an extension finds in its container: the variable ``EXTENSION_SETTINGS`` and the file ``settings.json`` with its
settings, the keys of its protected settings' Secret as files, and where both are in ``EXTENSION_SETTINGS_FILE`` and
``EXTENSION_PROTECTED_SETTINGS``. The file comes from an annotation through a downward API volume, so no further object
has to be made, kept and deleted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import orjson

from scalesets.engine import placement
from scalesets.engine.view import Release
from scalesets.kube import models
from scalesets.kube.names import (
    CUSTOM_DATA,
    EXTENSION_PREFIX,
    LABEL_IMAGE_VERSION,
    LABEL_INSTANCE,
    LABEL_MODEL,
    LABEL_NODE_ZONE,
    LABEL_UPDATE_DOMAIN,
    LABEL_ZONE,
    OS,
    SETTINGS_PREFIX,
    Raw,
    claim_name,
    instance_name,
    owner_label,
    owner_name,
    owner_reference,
)

SETTINGS_DIRECTORY = "/var/run/scalesets.dev/extension"
PROTECTED_DIRECTORY = "/var/run/scalesets.dev/extension-protected"
CUSTOM_DATA_DIRECTORY = "/var/run/scalesets.dev/custom-data"
LONGEST_NAME = 63
DEFAULT_UPDATE_DOMAINS = 5


class Images(NamedTuple):
    """The image of each container that has none in the template, and the Secrets that open their registries."""

    containers: tuple[tuple[str, str], ...]  # container name, image
    pull_secrets: tuple[str, ...] = ()


class Template:
    """Pod bodies of one set in one model. Make a new one when the set's spec or the model's revision changes."""

    def __init__(self, scaleset: Raw, revision: Raw, *, zones_backed: bool, update_domain: int | None = None) -> None:
        spec = scaleset["spec"]
        self._name = owner_name(scaleset)
        self._label = owner_label(scaleset)
        self._namespace: str = scaleset["metadata"]["namespace"]
        self._owner = owner_reference(scaleset)
        self._zones: tuple[str, ...] = tuple(spec.get("zones") or ())
        self._domains: int = spec.get("updateDomains") or DEFAULT_UPDATE_DOMAINS
        self._zones_backed = zones_backed
        self._update_domain = update_domain
        self._service: str = spec.get("serviceName") or ""
        self._claims = [c["metadata"]["name"] for c in spec.get("volumeClaimTemplates") or ()]
        self._data: Raw = revision["data"]
        self._skeletons: dict[tuple[Release, Images], tuple[dict[str, Any], dict[str, Any]]] = {}

    def build(self, ordinal: int, release: Release, images: Images) -> dict[str, Any]:
        """The body of one instance's pod. It shares its parts with others: serialise it, don't change it."""
        skeleton = self._skeletons.get((release, images))
        if skeleton is None:
            skeleton = self._skeletons[release, images] = self._shared_metadata(release), self._shared_spec(images)
        metadata, spec = skeleton
        name = instance_name(self._name, ordinal)
        labels = {
            **metadata["labels"],
            LABEL_INSTANCE: str(ordinal),
            LABEL_UPDATE_DOMAIN: str(self._domain(ordinal)),
        }
        filled = dict(spec)
        if self._zones:
            zone = labels[LABEL_ZONE] = placement.zone(ordinal, self._zones)
            if self._zones_backed:
                filled["nodeSelector"] = {**(spec.get("nodeSelector") or {}), LABEL_NODE_ZONE: zone}
        if self._service:
            filled["hostname"] = name
        if self._claims:
            filled["volumes"] = [*spec["volumes"], *(_claim_volume(c, self._name, ordinal) for c in self._claims)]
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**metadata, "name": name, "labels": labels},
            "spec": filled,
        }

    def _domain(self, ordinal: int) -> int:
        if self._update_domain is not None:  # a machine's, from its availability set
            return self._update_domain
        return placement.update_domain(ordinal, self._zones, self._domains)

    def dry_run(self, ordinal: int, release: Release, images: Images) -> dict[str, Any]:
        """The same pod under a name of its own, to ask whether it would be taken.

        The name is always the same: it stands in the server's words, and so in a condition.
        """
        body = self.build(ordinal, release, images)
        metadata = body["metadata"]
        return {**body, "metadata": {**metadata, "name": f"{metadata['name']}-dry-run"}}

    def _shared_metadata(self, release: Release) -> dict[str, Any]:
        metadata = self._data["template"].get("metadata") or {}
        versions = dict(release.extensions)
        annotations = dict(metadata.get("annotations") or {})
        for extension in self._data.get("extensions") or ():
            name = extension["name"]
            annotations[EXTENSION_PREFIX + name] = versions[name]
            annotations[SETTINGS_PREFIX + name] = settings_text(extension)
        made: dict[str, Any] = {
            "namespace": self._namespace,
            "labels": {
                **(metadata.get("labels") or {}),
                **self._label,
                LABEL_IMAGE_VERSION: release.image_version,
                LABEL_MODEL: release.model,
            },
            "ownerReferences": [self._owner],
        }
        if annotations:
            made["annotations"] = annotations
        return made

    def _shared_spec(self, images: Images) -> dict[str, Any]:
        image = dict(images.containers)
        template = self._data["template"]["spec"]
        spec = dict(template)
        spec["containers"] = [{**c, "image": image[OS]} if c["name"] == OS else c for c in template["containers"]]
        machine = next(c for c in spec["containers"] if c["name"] == OS)
        first, script = _custom_data(self._data.get("osProfile") or {}, machine)
        extensions = models.sequence(self._data.get("extensions") or ())
        held = self._data.get("resolved") or {}
        sidecars = [_sidecar(e, held[e["name"]]["container"], image[e["name"]]) for e in extensions]
        if init := [*first, *sidecars, *(template.get("initContainers") or ())]:
            spec["initContainers"] = init
        own = [v for v in template.get("volumes") or () if v["name"] not in self._claims]
        if volumes := [*own, *script, *(v for e in extensions for v in _extension_volumes(e))]:
            spec["volumes"] = volumes
        elif self._claims:
            spec["volumes"] = []
        if secrets := _pull_secrets(template.get("imagePullSecrets") or (), images.pull_secrets):
            spec["imagePullSecrets"] = secrets
        if self._service:
            spec["subdomain"] = self._service
        return spec


def settings_text(extension: Raw) -> str:
    """An extension's settings as JSON, the same text for the same settings."""
    return orjson.dumps(extension.get("settings") or {}, option=orjson.OPT_SORT_KEYS).decode()


def _claim_volume(template: str, set_name: str, ordinal: int) -> dict[str, Any]:
    return {"name": template, "persistentVolumeClaim": {"claimName": claim_name(template, set_name, ordinal)}}


def _custom_data(profile: Raw, machine: Raw) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The init container `custom-data` and the volume that its script needs."""
    data = profile.get("customData")
    source: Raw = (profile.get("customDataFrom") or {}).get("secretKeyRef") or {}
    if not data and not source:
        return [], []
    taken = (
        "image",
        "imagePullPolicy",
        "env",
        "envFrom",
        "volumeMounts",
        "volumeDevices",
        "resources",
        "securityContext",
    )
    container = {"name": CUSTOM_DATA, **{key: machine[key] for key in taken if key in machine}}
    if data:
        container["command"] = ["/bin/sh", "-c", escaped(data)]
        return [container], []
    container["command"] = ["/bin/sh", f"{CUSTOM_DATA_DIRECTORY}/script"]
    mount = {"name": CUSTOM_DATA, "mountPath": CUSTOM_DATA_DIRECTORY, "readOnly": True}
    container["volumeMounts"] = [*(machine.get("volumeMounts") or ()), mount]
    secret = {"secretName": source["name"], "items": [{"key": source["key"], "path": "script"}]}
    return [container], [{"name": CUSTOM_DATA, "secret": secret}]


def escaped(text: str) -> str:
    """Text that the kubelet hands on as it is: it replaces ``$(NAME)`` in commands and variables, and halves ``$$``."""
    return text.replace("$", "$$")


def _sidecar(extension: Raw, container: Raw, image: str) -> dict[str, Any]:
    name = extension["name"]
    variables = {
        "EXTENSION_SETTINGS": escaped(settings_text(extension)),
        "EXTENSION_SETTINGS_FILE": f"{SETTINGS_DIRECTORY}/settings.json",
    }
    mounts = [{"name": volume_name("settings", name), "mountPath": SETTINGS_DIRECTORY, "readOnly": True}]
    if _protected(extension):
        variables["EXTENSION_PROTECTED_SETTINGS"] = PROTECTED_DIRECTORY
        mounts.append(
            {"name": volume_name("protected", name), "mountPath": PROTECTED_DIRECTORY, "readOnly": True},
        )
    own = [v for v in container.get("env") or () if v["name"] not in variables]
    return {
        **container,
        "name": name,
        "image": image,
        "restartPolicy": "Always",
        "env": [*({"name": key, "value": value} for key, value in variables.items()), *own],
        "volumeMounts": [*(container.get("volumeMounts") or ()), *mounts],
    }


def _protected(extension: Raw) -> str:
    source: Mapping[str, Any] = (extension.get("protectedSettingsFrom") or {}).get("secretRef") or {}
    return source.get("name") or ""


def _extension_volumes(extension: Raw) -> Iterable[dict[str, Any]]:
    name = extension["name"]
    field = {"fieldRef": {"fieldPath": f"metadata.annotations['{SETTINGS_PREFIX}{name}']"}}
    yield {"name": volume_name("settings", name), "downwardAPI": {"items": [{"path": "settings.json", **field}]}}
    if secret := _protected(extension):
        yield {"name": volume_name("protected", name), "secret": {"secretName": secret}}


def volume_name(prefix: str, extension: str) -> str:
    """The name of an extension's volume: readable, unless it would be too long."""
    name = f"{prefix}-{extension}"
    return name if len(name) <= LONGEST_NAME else f"{prefix}-{hashlib.sha256(extension.encode()).hexdigest()[:10]}"


def _pull_secrets(own: Iterable[Raw], added: Iterable[str]) -> list[dict[str, Any]]:
    names = dict.fromkeys([*(s["name"] for s in own if s.get("name")), *added])
    return [{"name": name} for name in names]
