"""Discovery: versions that the operator finds by itself, as tags of a repository (docs/api.md, "Discovery").

What it finds goes into `status.discovered`, with the fields of a published version, and never into the spec, which a
user's manifest owns. A version that stands in `spec.versions` counts as it stands there.
"""

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import Field, StringConstraints

from scalesets.api.common import Duration, SecretRef, Time, VersionNumber
from scalesets.api.schema import Model, Rule, Worded, ruled

DEFAULT_INTERVAL = timedelta(minutes=5)
SHORTEST_INTERVAL = timedelta(seconds=10)
DEFAULT_MOST, MOST_DISCOVERED = 10, 50
LONGEST_PATTERN = 256

_HOST = r"([a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:.]+\])"
_PART = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*"
REPOSITORY = f"^{_HOST}(:[0-9]{{1,5}})?(/{_PART})+$"

Repository = Annotated[
    str,
    StringConstraints(min_length=3, max_length=255, pattern=REPOSITORY),
    Worded(
        "a repository is a registry's host and a path in lower-case letters, without tag, digest or scheme, such as "
        "registry.example/os/ubuntu"
    ),
    ruled(
        Rule(
            rule="self.split('/')[0].contains('.') || self.split('/')[0].contains(':') || "
            "self.split('/')[0] == 'localhost'",
            message="the registry's host comes first: write docker.io/library/ubuntu for ubuntu",
        )
    ),
]

# What RE2 can't read is an error on both sides of the ||, and the refusal carries RE2's words.
TagPattern = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_PATTERN),
    ruled(
        Rule(
            rule="''.matches(self) || !''.matches(self)",
            message="must be a regular expression of RE2, such as ^v?[0-9]+[.][0-9]+[.][0-9]+$",
        )
    ),
]

Interval = Annotated[
    Duration,
    ruled(
        Rule(
            rule="!self.matches(r'^P(0+D)?(T(0+H)?(0+M)?(0*[0-9]([.][0-9]+)?S)?)?$')",
            message="must be at least PT10S: a registry is asked for every tag each time",
        )
    ),
]


class TagOrder(StrEnum):
    """How tags are read as versions, which are compared as numbers."""

    SEM_VER = "SemVer"
    DATE = "Date"


class DiscoverySpec(Model):
    """Where versions are found, and which tags are versions."""

    repository: Repository
    """The repository whose tags are watched: host, port and path, such as registry.example/os/ubuntu."""
    tag_pattern: TagPattern | None = None
    """A regular expression (RE2) that the whole tag has to match; a group named `version` takes the part that is the
    version. Omitted: every tag counts, whole."""
    exclude_pattern: TagPattern | None = None
    """A regular expression; a tag that matches it as a whole is passed over."""
    order: TagOrder = TagOrder.SEM_VER
    """SemVer: `1.2.3` or `v1.2.3` is version 1.2.3. Date: `20261101` or `2026-11-01` is version 2026.1101.0, and a
    number after it (`20261101.2`, `20261101-1530`) the last part. Other tags are passed over and counted."""
    interval: Interval = DEFAULT_INTERVAL
    """How often the registry is asked; at least PT10S."""
    max_versions: Annotated[int, Field(ge=1, le=MOST_DISCOVERED)] = DEFAULT_MOST
    """So many of the newest tags are versions; an older one counts as removed."""
    pull_secret_ref: SecretRef | None = None
    """A Secret of type kubernetes.io/dockerconfigjson in this namespace, for asking the registry. Instances pull with
    `imagePullSecrets`."""
    plain_http: bool = Field(default=False, alias="plainHTTP")
    """Ask over HTTP, without TLS, for rehearsals. Credentials are sent in this way to loopback addresses only."""
    suspend: bool = False
    """Stop asking, and keep what was found."""


class DiscoveredVersion(Model):
    """A version that was found as a tag, with the fields of a published version."""

    version: VersionNumber
    """Major.Minor.Patch, as the tag says it."""
    image: Annotated[str, StringConstraints(max_length=512)]
    """The image by tag and digest."""
    tag: Annotated[str, StringConstraints(max_length=128)] = ""
    """The tag that it was found as."""
    published_date: Time | None = None
    """When it was found: delays count from then."""
