"""What automatic OS upgrade needs, as a chain of small checks (O15): each makes sure of one thing and says what is
missing.

Their reason and message are what users read in the condition AutomaticOSUpgradeEligible.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from scalesets.engine import versions
from scalesets.engine.releases import LATEST
from scalesets.engine.view import SetView, TroubleKind


@dataclass(frozen=True, slots=True)
class Missing:
    """Something that automatic OS upgrade needs and the set doesn't have."""

    reason: str
    message: str


Check = Callable[[SetView, datetime], Missing | None]


def missing(view: SetView, now: datetime) -> tuple[Missing, ...]:
    """All that is missing, in the order of the chain; empty when the set is eligible."""
    return tuple(found for check in CHAIN if (found := check(view, now)) is not None)


def is_opted_in(view: SetView, now: datetime) -> Missing | None:
    """Make sure that the set has opted in."""
    if view.os_policy.enabled:
        return None
    return Missing("Disabled", "spec.upgradePolicy.automaticOSUpgradePolicy.enableAutomaticOSUpgrade is false")


def has_model(view: SetView, now: datetime) -> Missing | None:
    """Make sure that there is a model to apply."""
    if view.model is not None:
        return None
    reason, message = view.model_problem
    return Missing(reason or "NoModel", message or "the set's model is not known yet")


def follows_latest(view: SetView, now: datetime) -> Missing | None:
    """Make sure that the image version is ``latest``."""
    if view.model is None or view.model.version == LATEST:
        return None
    return Missing(
        "VersionPinned", f"spec.imageReference.version is {view.model.version}; automatic OS upgrade needs latest"
    )


def has_image(view: SetView, now: datetime) -> Missing | None:
    """Make sure that the image has a version that may be used in the set's location, or the exact one that is named."""
    if view.model is None:
        return None
    catalogue = view.images.get(view.model.image)
    if catalogue is None:
        return Missing("ImageNotFound", f"no GalleryImage found for spec.imageReference ({view.model.image})")
    if view.model.version != LATEST:
        if catalogue.find(view.model.version) is not None:
            return None
        words = f"GalleryImage {catalogue.name} has no version {view.model.version} (spec.imageReference.version)"
        return Missing("ImageNotFound", words)
    if versions.latest(catalogue, now) is None:
        return Missing(
            "NoVersionAvailable",
            f"GalleryImage {catalogue.name} has no version that is published, replicated to {view.location}, "
            "not excluded from latest and not past its end of life",
        )
    return None


def has_health_signal(view: SetView, now: datetime) -> Missing | None:
    """Make sure that something judges the application's health."""
    if view.model is None or view.model.has_health_signal:
        return None
    return Missing(
        "NoHealthSignal",
        "automatic OS upgrade needs a readinessProbe on the container os in spec.template, "
        "or an extension that reports application health",
    )


def has_current_resources(view: SetView, now: datetime) -> Missing | None:
    """Make sure that every secret and config map that the model names is there and has not expired.

    Only the model of now counts: another one may name renewed ones.
    """
    model = view.model.name if view.model is not None else ""
    for trouble in view.troubles:
        if trouble.kind is TroubleKind.PREFLIGHT and trouble.model == model and _holds(trouble.until, now):
            return Missing("ExternalResourceMissing", trouble.message)
    return None


CHAIN: tuple[Check, ...] = (
    is_opted_in,
    has_model,
    follows_latest,
    has_image,
    has_health_signal,
    has_current_resources,
)

MANUAL_START: tuple[Check, ...] = (has_model, follows_latest, has_image)
"""What an upgrade that a user starts needs: not the opt-in (O24)."""


NEW_INSTANCE: tuple[Check, ...] = (has_model, has_image)
"""What a new instance needs."""


def _holds(until: datetime | None, now: datetime) -> bool:
    return until is None or until > now
