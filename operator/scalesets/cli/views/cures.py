"""What to do about each reason that the operator or the engine gives; commands among them can be copied and run."""

from __future__ import annotations

from datetime import datetime

from scalesets.cli.program import hint
from scalesets.cli.views.images import ImageVersionView

OPERATOR = "start it (scalesets operator, or its Deployment), or see its log"
CLAIM_DELETING = (
    "let the deletion end by deleting the pod yourself, or restore the data first: the claim goes with its pod"
)

HOLDS = frozenset(
    {
        "NotEligible",
        "TooManyUnhealthy",
        "WaitingForTrigger",
        "AlreadyTried",
        "ModelUpgradeFaulted",
        "ImageNotFound",
        "ExtensionNotFound",
        "InstancesNotCreated",
    }
)
"""Reasons of the condition Progressing for which a due OS upgrade has not begun."""
PASSES = frozenset({"WaitingForTrigger", "InstancesNotCreated"})
"""Those that pass by themselves."""
SEEN_BY_OPERATOR = frozenset({"ExternalResourceMissing"})
"""What only the operator can see of eligibility."""
HARMLESS = frozenset(
    {
        "ReplicasUnowned",
        "ZonesUnbacked",
        "HealthProbeSlow",
        "ImageNotFound",
        "SubscriptionUnknown",
        "SubscriptionInPart",
    }
)
TROUBLES = HARMLESS | {
    "TemplateRefused",
    "NameConflict",
    "ClaimConflict",
    "ClaimNotAdopted",
    "ClaimNotExpanded",
    "UpgradeNameConflict",
    "WriteRefused",
    "InstanceNotChanged",
    "ZonesUnknown",
    "ModelRefused",
    "ModelNotStored",
    "QuotaExceeded",
    "CreateFailed",
    "ExternalResources",
    "AvailabilitySetNotFound",
    "AvailabilitySetElsewhere",
}
"""Conditions that report trouble when they are True."""

_ENABLE = "set spec.upgradePolicy.automaticOSUpgradePolicy.enableAutomaticOSUpgrade: true"


def of(reason: str, set_name: str) -> str:
    """The cure; empty where the message says it all."""
    by_reason = {
        "Disabled": f"{_ENABLE}, or start one by hand: {hint('start', set_name)}",
        "VersionPinned": "set spec.imageReference.version: latest",
        "ImageNotFound": f"create the GalleryImage, or mend spec.imageReference; {hint('images')} lists what there is",
        "NoVersionAvailable": f"publish one; {hint('images', set_name)} says how each stands",
        "NoHealthSignal": "give the container os in spec.template a readinessProbe",
        "ExternalResourceMissing": "create or renew it; the operator looks again by itself",
        "ExternalResources": "create or renew it; the operator looks again by itself",
        "ExtensionNotFound": "create the Extension, or take it out of spec.extensions",
        "AlreadyTried": f"publish a newer version, change the model, or {hint('start', set_name)} to try this one "
        "again (without automatic roll-back)",
        "ModelUpgradeFaulted": f"change the model, or {hint('update-instances', set_name, '--all')}",
        "NodeTooOld": f"upgrade those nodes; or replace the instances: {hint('update-instances', set_name, 'NAME')}",
        "TemplateRefused": "mend spec.template as the server's words say",
        "NameConflict": "delete or rename the foreign pod",
        "ClaimConflict": 'delete or rename the foreign claim, or set the annotation scalesets.dev/adopt-claims: "true"',
        "ClaimNotAdopted": "allow the operator to patch the claim, or delete it when its data isn't needed",
        "UpgradeNameConflict": "delete the RollingUpgrade of that name, which is another set's",
        "InstanceNotChanged": "allow the operator to delete and patch pods; the message has the server's words",
        "WriteRefused": "mend what the server's words name; the operator tries again by itself",
        "ZonesUnknown": "give the operator list on nodes (ClusterRole scaleset-operator)",
        "ModelRefused": "make spec.template and customData smaller, or mend them as the server's words say",
        "ClaimNotExpanded": "use a storage class that allows expansion, or set the old size again",
        "QuotaExceeded": "raise the ResourceQuota, or scale in; the operator tries again by itself",
        "AvailabilitySetNotFound": "create it, or make the machine anew without spec.availabilitySet",
        "ReplicasUnowned": "set spec.replicas, or hand it to an autoscaler",
        "ZonesUnbacked": "label nodes with topology.kubernetes.io/zone before the set is made, or leave spec.zones out",
        "HealthProbeSlow": "set the probe's periodSeconds to 120 or less",
    }
    return by_reason.get(reason, "")


def version_state(version: ImageVersionView, now: datetime) -> str:
    """Why a version is not used, in words; empty when it could be."""
    if version.state == "Pending":
        return f"not published before {version.published:%Y-%m-%d %H:%M}" if version.published else "not published yet"
    by_state = {
        "Replicating": f"still replicating to {version.location}",
        "NotReplicated": f"not replicated to {version.location}",
        "Changed": "it came back with another image: publish that under a new version",
        "Removed": "removed",
    }
    if version.state in by_state:
        return by_state[version.state]
    if version.excluded_from_latest:
        return "excluded from latest"
    if version.end_of_life is not None and version.end_of_life <= now:
        return f"past its end of life ({version.end_of_life:%Y-%m-%d})"
    return ""
