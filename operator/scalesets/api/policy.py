"""The upgrade policies: what a model change does to instances, what a new version does, and how (O20, E5d).

Every parent has an empty default, so that the defaults inside it apply when the parent is left out. Defaults never
change within v1alpha1.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from scalesets.api.common import Duration
from scalesets.api.schema import Model, Rule, ruled


class UpgradeMode(StrEnum):
    """What a model change does to existing instances."""

    AUTOMATIC = "Automatic"
    ROLLING = "Rolling"
    MANUAL = "Manual"


Percent = Annotated[int, Field(ge=5, le=100)]
Timeout = Annotated[
    Duration, ruled(Rule(rule="self.matches('[1-9]')", message="must be longer than zero: give a duration like PT5M"))
]


class Timeouts(Model):
    """How long an upgraded instance may take. All that a machine by itself can be told."""

    health_timeout: Timeout = timedelta(minutes=5)
    """How long an upgraded instance may take to become healthy, from the start of its containers."""
    provisioning_timeout: Timeout = timedelta(minutes=15)
    """How long the containers of an upgraded instance may take to start."""


class Limits(Timeouts):
    """How far an upgrade of several instances goes when some are unhealthy, and how fast."""

    max_unhealthy_instance_percent: Percent = 20
    """No batch starts while more of the whole set is unhealthy."""
    max_unhealthy_upgraded_instance_percent: Annotated[int, Field(ge=0, le=100)] = 20
    """The upgrade stops when more of the instances upgraded so far are unhealthy."""
    pause_time_between_batches: Duration = timedelta(0)
    """Waiting time after a batch, in ISO 8601: PT30S."""


class RollingUpgradePolicy(Limits):
    """Batches, limits and waiting times of an upgrade."""

    rules = (
        Rule(
            # The API server tries the rule on the default `{}` too, before the defaults inside it.
            rule="!has(self.maxBatchInstancePercent) || !has(self.maxUnhealthyInstancePercent)"
            " || self.maxBatchInstancePercent <= self.maxUnhealthyInstancePercent",
            message="maxBatchInstancePercent must not be above maxUnhealthyInstancePercent: lower it or raise that",
            field=".maxBatchInstancePercent",
        ),
    )

    max_batch_instance_percent: Percent = 20
    """The most instances in one batch, in percent of the set. OS image and extension upgrades never exceed 20."""
    enable_cross_zone_upgrade: bool = False
    """Lets a batch span zones; update domains are still kept apart."""
    prioritize_unhealthy_instances: bool = False
    """Unhealthy instances go first."""
    rollback_failed_instances_on_policy_breach: bool = False
    """On a stop, put back failed instances also in upgrades without automatic roll-back."""


class AutomaticOSUpgradePolicy(Model):
    """What a new version of the image does."""

    enable_automatic_os_upgrade: bool = False
    """New image versions are rolled out automatically."""
    disable_automatic_rollback: bool = False
    """A failed instance stays on the new version instead of getting its former one back."""
    use_rolling_upgrade_policy: bool = False
    """OS upgrades follow rollingUpgradePolicy instead of 20, 20, 20 and no pause."""
    os_rolling_upgrade_deferral: bool = False
    """A due OS upgrade waits for approval in RollingUpgrade.spec.approvedInstances."""


class UpgradePolicy(Model):
    """How instances come to the current model and to new versions."""

    mode: UpgradeMode = UpgradeMode.ROLLING
    """What a model change does to existing instances: Automatic replaces all at once, Rolling in batches, Manual
    waits for you."""
    rolling_upgrade_policy: RollingUpgradePolicy = RollingUpgradePolicy()
    """Batches, limits and waiting times."""
    automatic_os_upgrade_policy: AutomaticOSUpgradePolicy = AutomaticOSUpgradePolicy()
    """What a new version of the image does."""


class MachineUpgradePolicy(Model):
    """How a machine by itself comes to new versions of its extensions. Its model changes apply at once."""

    rolling_upgrade_policy: Timeouts = Timeouts()
    """Waiting times. Those of its availability set hold for a machine that is in one."""


class AvailabilitySetUpgradePolicy(Model):
    """How the machines of an availability set come to new versions of their extensions."""

    rolling_upgrade_policy: Limits = Limits()
    """Limits and waiting times. A batch is at most 20% of the machines, of one update domain."""
