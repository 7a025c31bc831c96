"""What a set is on or moves to, and whether an instance is there: what counts as upgraded in the picture of a set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from scalesets.cli.fields import Obj, text
from scalesets.cli.views import sidecars
from scalesets.cli.views.upgrades import UpgradeView


@dataclass(frozen=True, slots=True)
class Goal:
    """What the set is on or moves to: an image version, a model, extensions; what is empty isn't compared."""

    image_version: str
    model: str
    extensions: tuple[tuple[str, str], ...] = ()  # name, version; each for those of its major

    def reached(self, image_version: str, model: str, extensions: Mapping[str, str]) -> bool:
        """Whether an instance that runs these is there."""
        behind = any(sidecars.is_behind(extensions[name], to) for name, to in self.extensions if name in extensions)
        return self.image_version in ("", image_version) and self.model in ("", model) and not behind


def of(scale_set: Obj, upgrade: UpgradeView | None) -> Goal:
    """What an upgrade brings its instances to; without one, what the set's status says it is on.

    In Manual mode the model of an instance is the user's affair (O20), so only the version counts there.
    """
    if upgrade is not None and upgrade.type == "OSImage":
        return Goal(upgrade.target_version, upgrade.target_model)
    if upgrade is not None and upgrade.type == "Model":
        return Goal("", upgrade.target_model)
    if upgrade is not None and upgrade.type == "Extension":
        return Goal("", "", tuple((e.name, e.to_version) for e in upgrade.extensions if not e.given_up))
    manual = text(scale_set, "spec.upgradePolicy.mode", "Rolling") == "Manual"
    return Goal(text(scale_set, "status.imageVersion"), "" if manual else text(scale_set, "status.currentModel"))
