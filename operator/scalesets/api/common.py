"""Types that several kinds share: bounded strings, durations, times, conditions, errors.

Every string and list is bounded, so that the API server can estimate what a CEL rule costs at worst and a CRD stays
in budget.
"""

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field, PlainSerializer, StringConstraints, WithJsonSchema

from scalesets.api.schema import Model, Worded, map_list

MAX_REPLICAS = 10_000
MAX_EXTENSIONS = 20
MAX_MACHINES = 200
"""In an availability set, as in Azure."""

DNS_LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_VALUE = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
VERSION_NUMBER = r"[0-9]{1,10}\.[0-9]{1,10}\.[0-9]{1,10}"
DAYS, HOURS, MINUTES, SECONDS = "[0-9]{1,3}D", "[0-9]{1,4}H", "[0-9]{1,5}M", r"[0-9]{1,6}(\.[0-9]{1,3})?S"
CLOCK = f"T({HOURS}({MINUTES})?({SECONDS})?|{MINUTES}({SECONDS})?|{SECONDS})"
DURATION = f"^P({DAYS}({CLOCK})?|{CLOCK})$"
ORDINALS = r"^([0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*)?$"

Label = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=DNS_LABEL)]
ObjectName = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=DNS_SUBDOMAIN)]
ShortName = Annotated[str, StringConstraints(min_length=1, max_length=52, pattern=DNS_LABEL)]
"""Of what pods and upgrades are named after."""
LabelValue = Annotated[str, StringConstraints(min_length=1, max_length=63, pattern=LABEL_VALUE)]
ExtensionName = Annotated[str, StringConstraints(min_length=1, max_length=56, pattern=DNS_LABEL)]
"""56: `extension.scalesets.dev/NAME.before` is the key of an annotation, whose last part has at most 63 characters."""
ProductName = Annotated[str, StringConstraints(min_length=1, max_length=128, pattern=LABEL_VALUE)]
"""A publisher, an offer, a SKU, or the type of an extension."""
VersionNumber = Annotated[
    str,
    StringConstraints(max_length=32, pattern=f"^{VERSION_NUMBER}$"),
    Worded("version must be Major.Minor.Patch, such as 22.4.202611010"),
]
"""Major.Minor.Patch, compared as numbers."""
ContainerImage = Annotated[str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\s]+$")]
Location = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63, pattern=DNS_LABEL),
    Worded("a region is named in lower-case letters, digits and dashes, such as westeurope"),
]
SecretKey = Annotated[str, StringConstraints(min_length=1, max_length=253, pattern=r"^[-._a-zA-Z0-9]+$")]

Ordinals = Annotated[str, StringConstraints(max_length=65536, pattern=ORDINALS)]
"""Instances by their ordinals: `0-3,7`; the empty string is none."""
Word = Annotated[str, StringConstraints(max_length=253)]
"""A name or a version in a status."""
Text = Annotated[str, StringConstraints(max_length=4096)]
"""Words for people in a status."""


def format_duration(value: timedelta) -> str:
    """The ISO 8601 form of a duration, as short as it gets: `PT1H30M`, `P3D`, `PT0S`."""
    days, rest = value.days, timedelta(seconds=value.seconds, microseconds=value.microseconds)
    hours, rest = divmod(rest, timedelta(hours=1))
    minutes, rest = divmod(rest, timedelta(minutes=1))
    seconds = f"{rest.total_seconds():.3f}".rstrip("0").rstrip(".")
    clock = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if n not in (0, "0"))
    if not days and not clock:
        return "PT0S"
    return "P" + (f"{days}D" if days else "") + (f"T{clock}" if clock else "")


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC, with microseconds when there are any."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def format_second(value: datetime) -> str:
    """RFC 3339 in UTC to the second, the form of a condition's times."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


DURATION_SCHEMA: dict[str, Any] = {"type": "string", "maxLength": 32, "pattern": DURATION}
TIME_SCHEMA: dict[str, Any] = {"type": "string", "format": "date-time", "maxLength": 40}

Duration = Annotated[
    timedelta,
    PlainSerializer(format_duration),
    WithJsonSchema(DURATION_SCHEMA),
    Worded("must be an ISO 8601 duration of days, hours, minutes and seconds, such as PT5M, PT1H30M or P3D"),
]
"""ISO 8601 in the object (days, hours, minutes, seconds), a timedelta in Python."""
Time = Annotated[datetime, PlainSerializer(format_time), WithJsonSchema(TIME_SCHEMA)]
Second = Annotated[datetime, PlainSerializer(format_second), WithJsonSchema(TIME_SCHEMA)]


class ConditionStatus(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """What is so about the object now, in Kubernetes' form; `Ready`, `Reconciling` and `Stalled` are those of
    kstatus."""

    type: Annotated[str, StringConstraints(min_length=1, max_length=316)]
    """What the condition is about, in CamelCase."""
    status: ConditionStatus
    """True, False or Unknown."""
    reason: Annotated[str, StringConstraints(max_length=1024)] = ""
    """One word in CamelCase, for programs."""
    message: Annotated[str, StringConstraints(max_length=32768)] = ""
    """A sentence for people."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the object that it was found for."""
    last_transition_time: Second
    """When `status` changed last."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=32), map_list("type")]


class SecretRef(Model):
    """A Secret in the same namespace."""

    name: ObjectName
    """Name of the Secret."""


class SecretKeyRef(SecretRef):
    """One key of a Secret in the same namespace."""

    key: SecretKey
    """The key in the Secret's data."""


PullSecrets = Annotated[tuple[SecretRef, ...], Field(max_length=8), map_list("name")]


class ErrorInfo(Model):
    """What went wrong."""

    code: Word = ""
    """One word in CamelCase, for programs."""
    message: Text = ""
    """A sentence for people: what, where, and what to do about it."""


class ExtensionVersion(Model):
    """One extension and the version of it."""

    name: Word
    """Name of the extension in the set."""
    version: Word = ""
    """Its version."""
