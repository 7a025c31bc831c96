"""What users ask for: the model of a set, its upgrade policies, and when upgrades start by themselves (docs/api.md,
"ScaleSet").

The defaults of the policies are Azure's.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class ModelExtension:
    """An extension as a model names it; ``key`` finds its catalogue in ``SetView.extensions``.

    ``settle`` is how long its container must run well after an upgrade before that is believed: 2 s plus the larger
    periodSeconds of its start-up and readiness probes, 10 s if it has neither. ``probe_delay`` is what those probes
    need at least.
    """

    name: str
    key: str  # publisher/type
    type_handler_version: str
    auto_upgrade_minor_version: bool = False
    enable_automatic_upgrade: bool = False
    reports_application_health: bool = False
    settle: timedelta = timedelta(seconds=10)
    probe_delay: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Model:
    """One model of the set (a ControllerRevision).

    ``name`` is its hash; two models with the same ``content`` differ in flags only, so a pod is relabelled, not
    replaced. ``image`` finds the catalogue in ``SetView.images``; ``version`` is ``latest`` or one exact version.
    ``probe_delay`` is what the readiness probes themselves need at least (initialDelaySeconds + periodSeconds ×
    successThreshold); ``probed`` whether ``os`` has a readiness probe at all; ``slow_probe`` whether one probes less
    often than every two minutes (O3).
    """

    name: str
    content: str
    image: str
    version: str = "latest"
    extensions: tuple[ModelExtension, ...] = ()
    automatic_os_upgrade: bool = False
    probed: bool = True
    probe_delay: timedelta = timedelta(0)
    slow_probe: bool = False

    @property
    def has_health_signal(self) -> bool:
        """A readiness probe or a health extension (O15)."""
        return self.probed or any(e.reports_application_health for e in self.extensions)


@dataclass(frozen=True, slots=True)
class RollingPolicy:
    """``upgradePolicy.rollingUpgradePolicy``; the defaults are Azure's."""

    max_batch_percent: int = 20
    max_unhealthy_percent: int = 20
    max_unhealthy_upgraded_percent: int = 20
    pause: timedelta = timedelta(0)
    health_timeout: timedelta = timedelta(minutes=5)
    provisioning_timeout: timedelta = timedelta(minutes=15)
    cross_zone: bool = False
    prioritize_unhealthy: bool = False
    roll_back_on_breach: bool = False


@dataclass(frozen=True, slots=True)
class OSUpgradePolicy:
    """``upgradePolicy.automaticOSUpgradePolicy``."""

    enabled: bool = False
    disable_roll_back: bool = False
    use_rolling_policy: bool = False
    deferral: bool = False


@dataclass(frozen=True, slots=True)
class Timing:
    """The operator's ``timing`` settings: when upgrades start by themselves. The defaults are the profile
    ``immediate``.
    """

    first_trigger_delay: timedelta = timedelta(0)
    trigger_delay_min: timedelta = timedelta(0)
    trigger_delay_max: timedelta = timedelta(0)
    extension_retry_interval: timedelta = timedelta(minutes=10)


AZURE_TIMING = Timing(
    first_trigger_delay=timedelta(hours=3),
    trigger_delay_min=timedelta(minutes=30),
    trigger_delay_max=timedelta(minutes=60),
    extension_retry_interval=timedelta(days=3),
)

DEFAULT_POLICY = RollingPolicy()
DEFAULT_OS_POLICY = OSUpgradePolicy()
IMMEDIATE_TIMING = Timing()
