"""Simulated pods: they boot, get ready, are patched and go, as a kubelet shows it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime

from scalesets.engine.view import Release


@dataclass(slots=True)
class Container:
    """The container of an extension. After a patch the one ``former`` is shown until ``from_``, then this one as well
    whatever it is, and from ``true_from`` on as it is (docs/rules.md, "Health").
    """

    id: str
    bad: bool
    from_: datetime
    true_from: datetime
    before: str = ""
    former: Container | None = None
    restarts: int = 0
    unmade: bool = False  # the kubelet ended the former one and can't make this one: it shows the former's id

    def shown(self, now: datetime) -> Container:
        """The container that the pod's status has now."""
        return self.former.shown(now) if self.former is not None and now < self.from_ else self

    def is_ready(self, now: datetime) -> bool:
        """Whether it is shown ready."""
        return not self.unmade and (not self.bad or now < self.true_from)

    def mend(self) -> None:
        """Its version is mended: it gets well, or is made after all, as another than the one before."""
        self.bad = False
        if self.unmade:
            self.unmade, self.id = False, f"{self.id}/made"

    def changes(self) -> Iterator[datetime]:
        """When it is shown otherwise."""
        yield from (self.from_, self.true_from)


@dataclass(slots=True)
class Pod:
    """A simulated pod. ``ready_at`` None: it never gets ready."""

    uid: str
    release: Release
    created: datetime
    ready_at: datetime | None
    fails_to_start: bool = False
    gone_at: datetime | None = None
    deleting_since: datetime | None = None
    first_ready: datetime | None = None  # in the operator's memory only
    failed_to_start: datetime | None = None  # likewise
    lost: bool = False
    protected: bool = False
    pending: str = ""
    containers: dict[str, Container] = field(default_factory=dict)  # of its extensions, once they were patched

    def is_ready(self, now: datetime) -> bool:
        """The pod's Ready condition."""
        well = all(c.shown(now).is_ready(now) for c in self.containers.values())
        return self.ready_at is not None and self.ready_at <= now and not self.lost and well

    def ready_since(self, now: datetime) -> datetime | None:
        """Its last transition to Ready."""
        if self.ready_at is None or not self.is_ready(now):
            return None
        former = [(c.from_, c.former) for c in self.containers.values() if c.from_ <= now and c.former]
        healed = [since for since, before in former if before.bad or before.unmade]
        return max([self.ready_at, *healed])
