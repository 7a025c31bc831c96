"""The simulated storage class: every claim gets a volume at once, and nobody ever mounts it.

Kubernetes' own volume controller does the binding, the protection and the release; this plays the provisioner beside
it: it makes a volume for each claim of our class, removes released ones, and lets volumes grow. Volumes are CSI ones
of a driver that needs no attaching.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from scalesets.local.machines.connection import MERGE_PATCH, Connection

JsonObject = dict[str, Any]

STORAGE_CLASS = "scalesets-local"
PROVISIONER = "local.scalesets.dev"

_LOG = logging.getLogger(__name__)
_WRITERS = 8
_VOLUMES = "/api/v1/persistentvolumes"
_STORAGE = "/apis/storage.k8s.io/v1"
_Write = tuple[str, str, JsonObject, str]


class Claims:
    """Claims and volumes of the simulated storage class."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._queue: asyncio.Queue[_Write] = asyncio.Queue()
        self._asked: dict[str, str] = {}
        """The last write asked for each object, by UID, so that an event seen twice isn't acted on twice."""

    async def run(self) -> None:
        """Install the storage class, then serve claims for ever."""
        await self._install()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(_WRITERS):
                tasks.create_task(self._write_for_ever())
            follow = self._connection.follow
            tasks.create_task(follow("/api/v1/persistentvolumeclaims", replace=self._replace_claims, event=self._claim))
            tasks.create_task(follow(_VOLUMES, replace=self._replace_volumes, event=self._volume))

    async def _install(self) -> None:
        driver = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "CSIDriver",
            "metadata": {"name": PROVISIONER},
            "spec": {"attachRequired": False, "podInfoOnMount": False},
        }
        await self._connection.insist("POST", f"{_STORAGE}/csidrivers", driver)
        storage_class = {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {
                "name": STORAGE_CLASS,
                "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
            },
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "Immediate",
            "allowVolumeExpansion": True,
        }
        await self._connection.insist("POST", f"{_STORAGE}/storageclasses", storage_class)

    def _replace_claims(self, bodies: list[JsonObject]) -> None:
        for body in bodies:
            self._claim("MODIFIED", body)

    def _replace_volumes(self, bodies: list[JsonObject]) -> None:
        for body in bodies:
            self._volume("MODIFIED", body)

    def _claim(self, kind: str, body: JsonObject) -> None:
        metadata, spec = body["metadata"], body["spec"]
        uid = metadata["uid"]
        if kind == "DELETED":
            self._asked.pop(uid, None)
            return
        if spec.get("storageClassName") != STORAGE_CLASS or "deletionTimestamp" in metadata:
            return
        wanted = spec["resources"]["requests"]["storage"]
        if not spec.get("volumeName"):
            self._ask(uid, "create", "POST", _VOLUMES, _volume_for(body))
            return
        status = body.get("status") or {}
        has = (status.get("capacity") or {}).get("storage")
        if status.get("phase") == "Bound" and has is not None and has != wanted:
            capacity = {"storage": wanted}
            volume = f"{_VOLUMES}/{spec['volumeName']}"
            self._ask(f"{uid}/volume", wanted, "PATCH", volume, {"spec": {"capacity": capacity}}, MERGE_PATCH)
            path = f"/api/v1/namespaces/{metadata['namespace']}/persistentvolumeclaims/{metadata['name']}/status"
            patch = {"metadata": {"uid": uid}, "status": {"capacity": capacity}}
            self._ask(uid, wanted, "PATCH", path, patch, MERGE_PATCH)

    def _volume(self, kind: str, body: JsonObject) -> None:
        metadata, spec = body["metadata"], body["spec"]
        if kind == "DELETED":
            self._asked.pop(metadata["uid"], None)
            return
        released = (body.get("status") or {}).get("phase") == "Released"
        ours = (spec.get("csi") or {}).get("driver") == PROVISIONER
        unwanted = released and spec.get("persistentVolumeReclaimPolicy") == "Delete"
        if ours and unwanted and "deletionTimestamp" not in metadata:
            options = {"preconditions": {"uid": metadata["uid"]}}
            self._ask(metadata["uid"], "delete", "DELETE", f"{_VOLUMES}/{metadata['name']}", options)

    def _ask(
        self, uid: str, what: str, method: str, path: str, body: JsonObject, content_type: str = "application/json"
    ) -> None:
        if self._asked.get(uid) != what:
            self._asked[uid] = what
            self._queue.put_nowait((method, path, body, content_type))

    async def _write_for_ever(self) -> None:
        while True:
            method, path, body, content_type = await self._queue.get()
            await self._connection.insist(method, path, body, content_type)


def _volume_for(claim: JsonObject) -> JsonObject:
    metadata, spec = claim["metadata"], claim["spec"]
    name = f"pvc-{metadata['uid']}"
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {"pv.kubernetes.io/provisioned-by": PROVISIONER}},
        "spec": {
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "accessModes": spec["accessModes"],
            "volumeMode": spec.get("volumeMode", "Filesystem"),
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": STORAGE_CLASS,
            "csi": {"driver": PROVISIONER, "volumeHandle": name},
            "claimRef": {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "namespace": metadata["namespace"],
                "name": metadata["name"],
                "uid": metadata["uid"],
            },
        },
    }
