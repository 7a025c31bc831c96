"""The data disks: claims made from volumeClaimTemplates, named as a StatefulSet names them (docs/rules.md, "Trouble";
I3, O6).

A claim says whose it is by its labels. One of the right name that belongs to somebody else is never used, unless the
set says so; one that an earlier set of the same name left is taken over. Claims only ever grow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from sys import intern
from typing import TYPE_CHECKING, Any

from scalesets.kube.names import (
    ANNOTATION_ADOPT_CLAIMS,
    GROUP,
    LABEL_INSTANCE,
    LABEL_SET_UID,
    MACHINE,
    Raw,
    claim_name,
    is_machine,
    owner_label,
    owner_name,
    owner_of,
    owner_reference,
    plain_name,
)

if TYPE_CHECKING:
    from scalesets.kube.seen import Seen

DELETE = "Delete"
_BINARY: dict[str, int] = {f"{letter}i": 1024**power for power, letter in enumerate("KMGTPE", start=1)}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim with a set's label. ``ordinal`` is None when its name isn't that of a data disk of the set."""

    namespace: str
    name: str
    uid: str
    resource_version: int
    set_name: str
    set_uid: str
    ordinal: int | None
    template: str
    deleting: bool
    requested: str
    owners: tuple[Raw, ...] = ()


class Judgement(Enum):
    """Whose claim it is that has the name of a data disk."""

    OURS = "Ours"
    ADOPT = "Adopt"  # left by an earlier set of the name, or handed over by the annotation
    FOREIGN = "Foreign"  # never used
    DELETING = "Deleting"  # on its way out: wait until it is gone


def parse(raw: Raw) -> Claim | None:
    """A claim as the cache keeps it; None when it has no set's label."""
    metadata = raw["metadata"]
    labels = metadata.get("labels") or {}
    set_name = owner_of(labels)
    if not set_name:
        return None
    name = metadata["name"]
    template, ordinal = _disk(name, set_name)
    return Claim(
        namespace=intern(metadata["namespace"]),
        name=name,
        uid=metadata["uid"],
        resource_version=int(metadata["resourceVersion"]),
        set_name=intern(set_name),
        set_uid=intern(labels.get(LABEL_SET_UID, "")),
        ordinal=ordinal,
        template=template,
        deleting="deletionTimestamp" in metadata,
        requested=intern(str(_request(raw["spec"]))),
        owners=tuple(metadata.get("ownerReferences") or ()),
    )


def bodies(scaleset: Raw, ordinal: int) -> tuple[dict[str, Any], ...]:
    """The claims of one instance, in the order of the templates."""
    return tuple(_body(scaleset, template, ordinal) for template in _templates(scaleset))


def judge(scaleset: Raw, raw: Raw) -> Judgement:
    """Whether a claim that has the name of one of the set's data disks may be used."""
    metadata = raw["metadata"]
    if "deletionTimestamp" in metadata:
        return Judgement.DELETING
    labels = metadata.get("labels") or {}
    own = scaleset["metadata"]
    if owner_of(labels) == owner_name(scaleset) and labels.get(LABEL_SET_UID):
        return Judgement.OURS if labels[LABEL_SET_UID] == own["uid"] else Judgement.ADOPT
    if (own.get("annotations") or {}).get(ANNOTATION_ADOPT_CLAIMS) == "true":
        return Judgement.ADOPT
    return Judgement.FOREIGN


def foreign_message(raw: Raw, scaleset: Raw) -> str:
    """What to tell about a foreign claim, with the mend."""
    name = raw["metadata"]["name"]
    whose = owner_of(raw["metadata"].get("labels") or {})
    kind = "virtual machine" if whose.startswith(MACHINE) else "scale set"
    mine = "virtual machine" if is_machine(scaleset) else "scale set"
    owner = f"belongs to the {kind} {plain_name(whose)}" if whose else f"was not made by this {mine}"
    return (
        f"claim {name} {owner} and is not used: delete or rename it, or set the annotation "
        f'{ANNOTATION_ADOPT_CLAIMS}: "true" on {mine} {scaleset["metadata"]["name"]} to take it over'
    )


def adopt_patch(scaleset: Raw, raw: Raw) -> dict[str, Any]:
    """A merge patch that makes an adopted claim the set's own; a Conflict if its owners may have changed since."""
    metadata = raw["metadata"]
    _, ordinal = _disk(metadata["name"], owner_name(scaleset))
    return {
        "metadata": {
            "uid": metadata["uid"],
            "resourceVersion": metadata["resourceVersion"],
            "labels": _labels(scaleset, ordinal if ordinal is not None else 0),
            "ownerReferences": _owners(scaleset, metadata.get("ownerReferences") or ()) or None,
        }
    }


def expansions(seen: Seen) -> tuple[tuple[Claim, dict[str, Any]], ...]:
    """The claims whose request is smaller than their template's now, each with the merge patch that raises it."""
    wanted = {t["metadata"]["name"]: _request(t["spec"]) for t in _templates(seen.scale_set)}
    return tuple(
        (
            claim,
            {"metadata": {"uid": claim.uid}, "spec": {"resources": {"requests": {"storage": wanted[claim.template]}}}},
        )
        for claim in _ours(seen)
        if claim.template in wanted and quantity(wanted[claim.template]) > quantity(claim.requested)
    )


def retention_patches(seen: Seen) -> tuple[tuple[Claim, dict[str, Any]], ...]:
    """The claims that should (not) go with the set and (don't) say so, each with the merge patch that mends it."""
    uid = seen.scale_set["metadata"]["uid"]
    goes = _goes_with_set(seen.scale_set)
    return tuple(
        (
            claim,
            {
                "metadata": {
                    "uid": claim.uid,
                    "resourceVersion": str(claim.resource_version),  # the list of owners is replaced as a whole
                    "ownerReferences": _owners(seen.scale_set, claim.owners) or None,
                }
            },
        )
        for claim in _ours(seen)
        if any(owner["uid"] == uid for owner in claim.owners) != goes
    )


def quantity(text: str | int | float) -> Decimal:
    """A Kubernetes quantity as a number; 0 for what isn't one (the API server has refused it long ago)."""
    value = str(text)
    try:
        if value[-2:] in _BINARY:
            return Decimal(value[:-2]) * _BINARY[value[-2:]]
        if value[-1:] in _DECIMAL:
            return Decimal(value[:-1]).scaleb(_DECIMAL[value[-1]])
        return Decimal(value)
    except InvalidOperation:
        return Decimal(0)


def _templates(scaleset: Raw) -> list[Raw]:
    return list(scaleset["spec"].get("volumeClaimTemplates") or ())


def _body(scaleset: Raw, template: Raw, ordinal: int) -> dict[str, Any]:
    given = template.get("metadata") or {}
    metadata: dict[str, Any] = {
        "name": claim_name(given["name"], owner_name(scaleset), ordinal),
        "namespace": scaleset["metadata"]["namespace"],
        "labels": {**(given.get("labels") or {}), **_labels(scaleset, ordinal)},
    }
    if annotations := given.get("annotations"):
        metadata["annotations"] = annotations
    if owners := _owners(scaleset):
        metadata["ownerReferences"] = owners
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"]}


def _labels(scaleset: Raw, ordinal: int) -> dict[str, str]:
    metadata = scaleset["metadata"]
    return {**owner_label(scaleset), LABEL_SET_UID: metadata["uid"], LABEL_INSTANCE: str(ordinal)}


def _goes_with_set(scaleset: Raw) -> bool:
    policy = scaleset["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
    return bool(policy.get("whenDeleted") == DELETE)


def _owners(scaleset: Raw, others: Iterable[Raw] = ()) -> list[dict[str, Any]]:
    """With ``whenDeleted: Delete`` the set owns its claims, so the garbage collector takes them with it.

    Owners of other kinds stay; another scale set doesn't, or its end would take the claim.
    """
    kept = [dict(o) for o in others if not (o["kind"] == "ScaleSet" and o["apiVersion"].startswith(f"{GROUP}/"))]
    if _goes_with_set(scaleset):
        kept.append({**owner_reference(scaleset), "controller": False, "blockOwnerDeletion": False})
    return kept


def _ours(seen: Seen) -> Iterator[Claim]:
    uid = seen.scale_set["metadata"]["uid"]
    for _, of_instance in sorted(seen.claims.items()):
        for claim in of_instance.values():
            if claim.set_uid == uid and not claim.deleting:
                yield claim


def _disk(name: str, set_name: str) -> tuple[str, int | None]:
    """Template and ordinal in the name of a data disk, ``TEMPLATE-SET-ORDINAL`` or ``TEMPLATE-MACHINE``."""
    if set_name.startswith(MACHINE):
        template = name.removesuffix(f"-{plain_name(set_name)}")
        return (intern(template), 0) if template != name else ("", None)
    rest, _, digits = name.rpartition("-")
    if digits.isdecimal() and (digits == "0" or digits[0] != "0") and rest.endswith(f"-{set_name}"):
        return intern(rest[: -len(set_name) - 1]), int(digits)
    return "", None


def _request(spec: Raw) -> str | int:
    found: str | int = ((spec.get("resources") or {}).get("requests") or {}).get("storage") or "0"
    return found
