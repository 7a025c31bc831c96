"""The names that this layer writes onto objects and looks for: labels, annotations, the finalizer (docs/api.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Raw = Mapping[str, Any]
"""An API object as it was decoded from JSON. Nobody changes one in place: caches and bodies share their parts."""

GROUP = "scalesets.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
FIELD_MANAGER = "scaleset-operator"
FINALIZER = "scalesets.dev/finish-batch"

LABEL_SET = "scalesets.dev/scaleset"
LABEL_MACHINE = "scalesets.dev/virtual-machine"
LABEL_GROUP = "scalesets.dev/availability-set"
LABEL_SUBSCRIPTION = "scalesets.dev/subscription"
"""Of a namespace: machines of all namespaces with the same value share one budget (E5b)."""
LABEL_SET_UID = "scalesets.dev/scaleset-uid"
LABEL_INSTANCE = "scalesets.dev/instance-id"
LABEL_IMAGE_VERSION = "scalesets.dev/image-version"
LABEL_MODEL = "scalesets.dev/model"
LABEL_ZONE = "scalesets.dev/zone"
LABEL_UPDATE_DOMAIN = "scalesets.dev/update-domain"
LABEL_NODE_ZONE = "topology.kubernetes.io/zone"

ANNOTATION_PROTECT = "scalesets.dev/protect-from-upgrade"
ANNOTATION_PENDING = "scalesets.dev/pending-os-upgrade"
ANNOTATION_ADOPT_CLAIMS = "scalesets.dev/adopt-claims"
ANNOTATION_EXPIRES = "scalesets.dev/expires"
EXTENSION_PREFIX = "extension.scalesets.dev/"
"""``extension.scalesets.dev/NAME`` is the version of an extension; ``….before`` its container's former id."""
BEFORE_SUFFIX = ".before"
SETTINGS_PREFIX = "settings.extension.scalesets.dev/"
"""``settings.extension.scalesets.dev/NAME`` carries an extension's settings into its file. The prefix is one of its
own because the part after the slash may have 63 characters, and a name may have as many."""

OS = "os"
CUSTOM_DATA = "custom-data"
PLATFORM = "Platform"


VIRTUAL_MACHINE = "VirtualMachine"
AVAILABILITY_SET = "AvailabilitySet"
MACHINE, GROUP_OF = "virtualmachine/", "availabilityset/"
"""Stand before the name of a machine or an availability set where they and sets are named side by side: no object's
name has a slash.
"""
_PREFIXES = {VIRTUAL_MACHINE: MACHINE, AVAILABILITY_SET: GROUP_OF}
_LABELS = {VIRTUAL_MACHINE: LABEL_MACHINE, AVAILABILITY_SET: LABEL_GROUP}


def is_machine(obj: Raw) -> bool:
    """Whether the object is a VirtualMachine, and not a ScaleSet."""
    return bool(obj.get("kind") == VIRTUAL_MACHINE)


def is_group(obj: Raw) -> bool:
    """Whether the object is an AvailabilitySet."""
    return bool(obj.get("kind") == AVAILABILITY_SET)


def owner_name(obj: Raw) -> str:
    """The name by which a set or machine is known here."""
    return _PREFIXES.get(obj.get("kind", ""), "") + str(obj["metadata"]["name"])


def plain_name(owner: str) -> str:
    """The object's own name."""
    return owner.removeprefix(MACHINE).removeprefix(GROUP_OF)


def owner_label(obj: Raw) -> dict[str, str]:
    """The label of all that belongs to the set or machine."""
    return {_LABELS.get(obj.get("kind", ""), LABEL_SET): obj["metadata"]["name"]}


def owner_of(labels: Mapping[str, str]) -> str:
    """The set or machine that the labels name; empty when none."""
    if name := labels.get(LABEL_SET):
        return name
    machine = labels.get(LABEL_MACHINE)
    return MACHINE + machine if machine else ""


def instance_name(owner: str, ordinal: int) -> str:
    """The pod's name: ``SET-ORDINAL``, or the machine's own."""
    return plain_name(owner) if owner.startswith(MACHINE) else f"{owner}-{ordinal}"


def owner_reference(scaleset: Raw) -> dict[str, Any]:
    """What makes the set an object's controller. (Admission may ask for ``update`` on ``scalesets/finalizers``.)"""
    return {
        "apiVersion": API_VERSION,
        "kind": scaleset.get("kind") or "ScaleSet",
        "name": scaleset["metadata"]["name"],
        "uid": scaleset["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def claim_name(template: str, set_name: str, ordinal: int) -> str:
    """The name of a data disk: as a StatefulSet names its claims."""
    return f"{template}-{instance_name(set_name, ordinal)}"


def instance_ordinal(name: str, set_name: str) -> int | None:
    """The ordinal in an instance's name ``SET-ORDINAL``; None when the name isn't one of the set's."""
    if set_name.startswith(MACHINE):
        return 0 if name == plain_name(set_name) else None
    if not name.startswith(set_name):
        return None
    digits = name[len(set_name) + 1 :]
    if name[len(set_name) : len(set_name) + 1] != "-" or not digits.isdecimal() or (digits[0] == "0" and digits != "0"):
        return None
    return int(digits)
