"""The control plane that everything is measured on, with a witness of all writes: the API server's audit log.

The log holds the writes (metadata only) of the three that are compared, so each pays the same for it. Everything else
is left out.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
import yaml

from processes import cpu_seconds
from scalesets.local.controlplane import ControlPlane

FEATURE = "--feature-gates=MaxUnavailableStatefulSet=true"
OPERATOR = "system:serviceaccount:scaleset-system:scaleset-operator"
STATEFULSETS = "system:serviceaccount:kube-system:statefulset-controller"
CLONESETS = "system:serviceaccount:kruise-system:kruise-manager"
QUERIES = 2000
"""A second, for the controllers that limit themselves: as many as they can use."""

WRITES = ("create", "update", "patch", "delete", "deletecollection")


@dataclass(frozen=True, slots=True)
class Plane:
    """A running control plane, and what was written to it."""

    control_plane: ControlPlane
    directory: Path

    def writes(self, user: str, *, since: float, until: float = float("inf"), namespace: str = "") -> Counter[str]:
        """Successful writes of a user in a time, by "verb resource/subresource"; dry-runs with "dry-run " before."""
        counted: Counter[str] = Counter()
        for line in (self.directory / "audit.log").read_bytes().splitlines():
            entry = orjson.loads(line)
            if entry["user"]["username"] != user or entry["responseStatus"]["code"] >= 300:
                continue
            if not since <= datetime.fromisoformat(entry["requestReceivedTimestamp"]).timestamp() <= until:
                continue
            what = entry["objectRef"]
            if namespace and what.get("namespace") != namespace:
                continue
            resource = "/".join(filter(None, [what["resource"], what.get("subresource", "")]))
            dry = "dry-run " if "dryRun=All" in entry["requestURI"] else ""
            counted[f"{dry}{entry['verb']} {resource}"] += 1
        return counted


def pod_writes(writes: Counter[str]) -> int:
    """Writes on pods, without dry-runs."""
    return sum(n for what, n in writes.items() if what.split()[-1].split("/")[0] == "pods" and "dry-run" not in what)


@contextmanager
def a_plane(binaries: Mapping[str, Path], *, gates: tuple[str, ...] = (FEATURE,)) -> Iterator[Plane]:
    """Start one, with as many queries per second for controller-manager and scheduler as they can use."""
    with TemporaryDirectory(prefix="scalesets-bench-") as made:
        directory = Path(made)
        policy = {
            "apiVersion": "audit.k8s.io/v1",
            "kind": "Policy",
            "omitStages": ["RequestReceived", "ResponseStarted"],
            "rules": [
                {"level": "Metadata", "users": [OPERATOR, STATEFULSETS, CLONESETS], "verbs": list(WRITES)},
                {"level": "None"},
            ],
        }
        (directory / "audit.yaml").write_text(yaml.safe_dump(policy))
        flags = (*gates, f"--audit-policy-file={directory}/audit.yaml", f"--audit-log-path={directory}/audit.log")
        with ControlPlane(
            directory / "plane", binaries=binaries, kcm_qps=QUERIES, apiserver_flags=flags, kcm_flags=gates
        ) as running:
            yield Plane(running, directory)


def await_calm(plane: Plane, *, timeout: float = 120.0) -> None:
    """Wait until the control plane has nothing to do, so that each upgrade starts from the same quiet."""
    names = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "machines", "etcd")
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        before = sum(cpu_seconds(plane.control_plane.pid(name)) for name in names)
        time.sleep(1.0)
        if sum(cpu_seconds(plane.control_plane.pid(name)) for name in names) - before < 0.15:
            return
    raise TimeoutError(f"the control plane does not come to rest in {timeout:.0f} s")
