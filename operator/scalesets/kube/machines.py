"""A VirtualMachine or AvailabilitySet, told as the ScaleSet that it is decided and made as (docs/api.md,
"VirtualMachine").

The object keeps its kind, metadata and status; only its spec is put into a set's words, in this one place. Where names
of sets and machines stand side by side, a machine's has ``names.MACHINE`` before it (``names.owner_name``).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from scalesets.engine.groups import assign
from scalesets.kube.names import Raw

DEFAULT_UPDATE_DOMAINS = 5
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


def group_as_set(raw: dict[str, Any], _previous: Raw | None) -> Raw:
    """The availability set in the words of a set; its instances are machines, so it has no template."""
    spec = raw.get("spec") or {}
    location = {"location": spec["location"]} if spec.get("location") else {}
    return {
        **raw,
        "spec": {
            **location,
            "replicas": 0,
            "updateDomains": domains(raw),
            "upgradePolicy": {"mode": "Automatic", **(spec.get("upgradePolicy") or {})},
        },
    }


def domains(raw: Raw) -> int:
    """How many update domains the availability set has, as it is stored."""
    spec = raw.get("spec") or {}
    return int(spec.get("platformUpdateDomainCount") or spec.get("updateDomains") or DEFAULT_UPDATE_DOMAINS)


def places(group: Raw, machines: Iterable[Raw]) -> dict[str, int]:
    """The place of each of the availability set's machines, oldest first: those that it gave, and new ones."""
    given = {m["name"]: m.get("ordinal", n) for n, m in enumerate((group.get("status") or {}).get("machines") or ())}
    oldest_first = sorted(machines, key=lambda m: (m["metadata"]["creationTimestamp"], m["metadata"]["name"]))
    return assign(given, [m["metadata"]["name"] for m in oldest_first])
