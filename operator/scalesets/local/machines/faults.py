"""Which containers misbehave, and how: by a word in the image's tag, or by rules that people set.

The words suit examples and tests that publish a bad version; rules steer a running world. Rules stand in the
ConfigMap `scalesets-machines` in `kube-system`, one key each, with absolute times, so that they survive a restart of
the machines.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Any

NAMESPACE = "kube-system"
CONFIG_MAP = "scalesets-machines"
RULE_PREFIX = "rule-"
BOOT_TIME = "boot-time"
PATCH_TIME = "patch-time"
STOPPED_PREFIX = "stopped-"
KUBELET_PREFIX = "kubelet-"


class Mode(Enum):
    """How a container behaves.

    NEVER_READY, MISSING and SLOW decide a container's start and leave a ready one alone; UNREADY, CRASH and STOP also
    strike what runs.
    """

    GOOD = "good"
    NEVER_READY = "never-ready"
    """It runs, and its probes never succeed."""
    UNREADY = "unready"
    """Its probes fail, also where they had succeeded."""
    CRASH = "crash"
    """It exits with 1 again and again."""
    MISSING = "missing"
    """Its image can't be pulled."""
    SLOW = "slow"
    """It gets ready, later than usual."""
    STOP = "stop"
    """The machine powers the pod off: phase Failed, for good."""


_WORDS = {
    "broken": Mode.NEVER_READY,
    "slow": Mode.SLOW,
    "crash": Mode.CRASH,
    "missing": Mode.MISSING,
}


@dataclass(frozen=True, slots=True)
class Target:
    """What a rule has to know of a container to tell whether it is meant."""

    namespace: str
    pod: str
    scaleset: str
    image_version: str
    image: str
    main: bool
    """The container that stands for the instance: `os`, or the pod's first one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One injected failure. Exactly one of version, instance and scaleset says whom it is for."""

    name: str
    mode: Mode
    begins: datetime.datetime
    ends: datetime.datetime | None = None
    version: str = ""
    instance: str = ""
    scaleset: str = ""
    share: float = 1.0

    def in_force(self, now: datetime.datetime) -> bool:
        """Say whether the rule holds at this time."""
        return self.begins <= now and (self.ends is None or now < self.ends)

    def means(self, target: Target) -> bool:
        """Say whether this container is one of those it is for."""
        if self.version:
            by_label = target.main and target.image_version == self.version
            if not by_label and tag_of(target.image) != self.version:
                return False
        elif not target.main:
            return False
        if self.instance and f"{target.namespace}/{target.pod}" != self.instance:
            return False
        if self.scaleset and f"{target.namespace}/{target.scaleset}" != self.scaleset:
            return False
        return self.share >= 1 or share_of(target.pod) < self.share

    def to_json(self) -> str:
        """Return what stands in the ConfigMap."""
        content: dict[str, Any] = {"mode": self.mode.value, "begins": self.begins.isoformat()}
        content |= {"ends": self.ends.isoformat()} if self.ends else {}
        content |= {key: value for key in ("version", "instance", "scaleset") if (value := getattr(self, key))}
        content |= {"share": self.share} if self.share < 1 else {}
        return json.dumps(content)

    @staticmethod
    def from_json(name: str, text: str) -> Rule:
        """Read what stands in the ConfigMap; ValueError when it makes no sense."""
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError(f"rule {name}: expected an object")
        try:
            return Rule(
                name=name,
                mode=Mode(content["mode"]),
                begins=datetime.datetime.fromisoformat(content["begins"]),
                ends=datetime.datetime.fromisoformat(content["ends"]) if content.get("ends") else None,
                version=str(content.get("version", "")),
                instance=str(content.get("instance", "")),
                scaleset=str(content.get("scaleset", "")),
                share=float(content.get("share", 1.0)),
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"rule {name}: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Steering:
    """Everything that people have set: the ConfigMap's content."""

    rules: tuple[Rule, ...] = ()
    boot_seconds: tuple[float, float] | None = None
    patch_seconds: tuple[float, float] | None = None
    stopped_nodes: frozenset[str] = frozenset()
    kubelet_versions: Mapping[str, str] = field(default_factory=dict)
    """Of machines that play an older kubelet than the others, by name."""
    mistakes: tuple[str, ...] = field(default=(), compare=False)
    """Entries that could not be read; the others hold all the same."""

    @staticmethod
    def from_data(data: Mapping[str, str]) -> Steering:
        """Read the ConfigMap's data."""
        rules: list[Rule] = []
        mistakes: list[str] = []
        seconds: dict[str, tuple[float, float]] = {}
        stopped: set[str] = set()
        kubelets: dict[str, str] = {}
        for key, text in data.items():
            try:
                if key.startswith(RULE_PREFIX):
                    rules.append(Rule.from_json(key.removeprefix(RULE_PREFIX), text))
                elif key in (BOOT_TIME, PATCH_TIME):
                    low, high = json.loads(text)
                    seconds[key] = (float(low), float(high))
                elif key.startswith(KUBELET_PREFIX):
                    kubelets[key.removeprefix(KUBELET_PREFIX)] = text
                elif key.startswith(STOPPED_PREFIX):
                    stopped.add(key.removeprefix(STOPPED_PREFIX))
            except (ValueError, TypeError) as error:
                mistakes.append(f"{key}: {error}")
        rules.sort(key=lambda rule: (rule.begins, rule.name))
        return Steering(
            rules=tuple(rules),
            boot_seconds=seconds.get(BOOT_TIME),
            patch_seconds=seconds.get(PATCH_TIME),
            stopped_nodes=frozenset(stopped),
            kubelet_versions=kubelets,
            mistakes=tuple(mistakes),
        )

    def in_force(self, now: datetime.datetime) -> tuple[Rule, ...]:
        """Return the rules that hold now, the newest first: the first that means a container decides."""
        return tuple(rule for rule in reversed(self.rules) if rule.in_force(now))

    def next_change(self, now: datetime.datetime) -> datetime.datetime | None:
        """Say when a rule begins or ends next."""
        times = [time for rule in self.rules for time in (rule.begins, rule.ends) if time and time > now]
        return min(times, default=None)


def mode_of(target: Target, rules: Iterable[Rule]) -> Mode:
    """Say how a container behaves: by the first rule that means it, else by its image's tag."""
    for rule in rules:
        if rule.means(target):
            return rule.mode
    return _mode_of_image(target.image)


@lru_cache(maxsize=4096)
def _mode_of_image(image: str) -> Mode:
    tag = tag_of(image)
    return next((mode for word, mode in _WORDS.items() if word in tag), Mode.GOOD)


def tag_of(image: str) -> str:
    """Return an image reference's tag, without registry port and digest."""
    return image.partition("@")[0].rpartition("/")[2].partition(":")[2]


def share_of(pod: str) -> float:
    """Return a pod's place between 0 and 1: the same for a name, whatever runs under it."""
    return int.from_bytes(hashlib.blake2b(pod.encode(), digest_size=8).digest(), "big") / 2**64
