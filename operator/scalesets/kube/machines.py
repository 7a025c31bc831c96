"""A VirtualMachine, told as the ScaleSet of one instance that it is decided and made as (docs/api.md,
"VirtualMachine").

The object keeps its kind, metadata and status; only its spec is put into a set's words, in this one place. Where names
of sets and machines stand side by side, a machine's has ``names.MACHINE`` before it (``names.owner_name``).
"""

from __future__ import annotations

from typing import Any

from scalesets.kube.names import Raw

_SHARED = (
    "location",
    "imageReference",
    "osProfile",
    "extensions",
    "template",
    "volumeClaimTemplates",
    "serviceName",
    "availabilitySet",
)


def as_set(raw: dict[str, Any], _previous: Raw | None) -> Raw:
    """The machine in the words of a set: one replica, mode Automatic, one update domain."""
    spec = raw["spec"]
    policy = (spec.get("upgradePolicy") or {}).get("rollingUpgradePolicy") or {}
    return {
        **raw,
        "spec": {
            **{name: spec[name] for name in _SHARED if spec.get(name) is not None},
            "replicas": 1,
            "zones": [spec["zone"]] if spec.get("zone") else None,
            "updateDomains": 1,
            "upgradePolicy": {"mode": "Automatic", "rollingUpgradePolicy": policy},
        },
    }
