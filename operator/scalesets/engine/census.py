"""One count of the whole set, taken once per decision: who is there, who is healthy, who counts (O11).

An instance counts from its first Ready, or once it is older than provisioningTimeout + healthTimeout, so that a
scale-out doesn't fault a running upgrade; an instance that is on record counts also when it is lost (docs/rules.md,
"Health"). What the rest of a decision needs to know of single instances is gathered here, in the only walk over all of
them: the others look at groups and at the few that stand out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from scalesets.engine.view import Instance, Ordinals, Release, SetView


@dataclass(frozen=True, slots=True)
class Census:
    """Ordinals by what they are. ``counted`` is the denominator of O11, ``unhealthy`` a part of it.

    ``releases`` is what each instance runs, or comes back as when its pod is missing or on its way out; new instances
    that don't exist yet are not in it. ``running`` has those whose pod lives, by release; ``absent`` the others.
    """

    counted: Ordinals
    unhealthy: Ordinals
    releases: Mapping[int, Release]
    running: tuple[tuple[Release, tuple[int, ...]], ...]
    absent: Mapping[int, Release]
    ready: int
    missing: tuple[int, ...]  # without a pod
    lost: tuple[Instance, ...]  # their pods ended
    young: tuple[Instance, ...]  # there, but they don't count yet
    beyond: tuple[Instance, ...]  # at or above ``replicas``
    protected: Ordinals
    marked: tuple[Instance, ...]  # with the annotation of a pending OS upgrade
    news: Mapping[int, Release]  # what the record doesn't say yet of those that count and live

    def where(self, holds: Callable[[Release], bool]) -> list[int]:
        """The instances whose release is such; asked once per release, not per instance."""
        found = [ordinal for release, members in self.running if holds(release) for ordinal in members]
        found.extend(ordinal for ordinal, release in self.absent.items() if holds(release))
        return found

    def kinds(self) -> Iterator[tuple[Release, int]]:
        """The releases and how many instances are or come back on each."""
        yield from ((release, len(members)) for release, members in self.running)
        yield from ((release, 1) for release in self.absent.values())


def take(view: SetView, now: datetime) -> Census:
    """Count the instances with an ordinal below ``replicas``; those above are only listed."""
    replicas, record = view.replicas, view.status.record
    count = _Count(now - view.policy.provisioning_timeout - view.policy.health_timeout)
    usual = 0
    groups = count.groups
    for ordinal, instance in view.instances.items():
        release = instance.release
        if (
            ordinal < replicas
            and instance.ready
            and record.get(ordinal) is release
            and instance.deleting_since is None
            and not (instance.lost or instance.protected or instance.pending_os_upgrade)
        ):
            usual += 1
            group = groups.get(id(release))
            if group is None:
                group = groups[id(release)] = (release, [])
            group[1].append(ordinal)
        elif ordinal < replicas:
            count.add(instance, record.get(ordinal))
        else:
            count.beyond.append(instance)
    if usual + count.added < replicas:
        count.add_missing([o for o in range(replicas) if o not in view.instances], record)
    return count.result(usual, view.protected)


@dataclass(slots=True)
class _Count:
    """A census in the making. ``horizon``: whoever was created before it counts, Ready or not."""

    horizon: datetime
    added: int = 0
    ready: int = 0
    groups: dict[int, tuple[Release, list[int]]] = field(default_factory=dict)
    absent: dict[int, Release] = field(default_factory=dict)
    unhealthy: list[int] = field(default_factory=list)
    protected: list[int] = field(default_factory=list)
    missing: list[int] = field(default_factory=list)
    lost: list[Instance] = field(default_factory=list)
    young: list[Instance] = field(default_factory=list)
    beyond: list[Instance] = field(default_factory=list)
    marked: list[Instance] = field(default_factory=list)
    news: dict[int, Release] = field(default_factory=dict)

    def add(self, instance: Instance, known: Release | None) -> None:
        """Take in an instance with a pod; ``known`` is its record."""
        self.added += 1
        ordinal, release = instance.ordinal, instance.release
        if instance.protected:
            self.protected.append(ordinal)
        if instance.live:
            self.groups.setdefault(id(release), (release, []))[1].append(ordinal)
            if instance.pending_os_upgrade:
                self.marked.append(instance)
        else:
            self.absent[ordinal] = release if known is None else known
            if instance.deleting_since is None:
                self.lost.append(instance)
        if instance.healthy:
            self.ready += 1
        elif known is not None or instance.first_ready is not None or instance.created <= self.horizon:
            self.unhealthy.append(ordinal)
        else:
            self.young.append(instance)
            return
        if instance.live and known != release:
            self.news[ordinal] = release

    def add_missing(self, ordinals: list[int], record: Mapping[int, Release]) -> None:
        """Take in those without a pod."""
        self.missing = ordinals
        self.absent.update((o, record[o]) for o in ordinals if o in record)
        self.unhealthy.extend(o for o in ordinals if o in record)

    def result(self, usual: int, protected: Ordinals) -> Census:
        """The census, with so many more instances that were as usual, and those that the spec protects."""
        releases = dict(self.absent)
        for release, members in self.groups.values():
            releases.update(dict.fromkeys(members, release))
        everyone = frozenset(releases)
        return Census(
            counted=everyone.difference(i.ordinal for i in self.young) if self.young else everyone,
            unhealthy=frozenset(self.unhealthy),
            releases=releases,
            running=tuple((release, tuple(members)) for release, members in self.groups.values()),
            absent=self.absent,
            ready=self.ready + usual,
            missing=tuple(self.missing),
            lost=tuple(self.lost),
            young=tuple(self.young),
            beyond=tuple(self.beyond),
            protected=frozenset(self.protected) | (protected & everyone),
            marked=tuple(self.marked),
            news=self.news,
        )


def exceeds(part: int, whole: int, percent: int) -> bool:
    """Whether ``part`` is more than ``percent`` of ``whole``; never for an empty whole."""
    return part * 100 > percent * whole
