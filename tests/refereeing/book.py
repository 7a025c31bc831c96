"""What the referee keeps: sets with their instances, upgrades with their batches, the timeline and the violations."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from refereeing import objects
from refereeing.objects import LAG, Json, Key

FINAL = ("Completed", "Cancelled", "Faulted")


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken invariant, with the last things that happened to the objects it is about."""

    invariant: str
    words: str
    at: datetime
    evidence: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n    ".join((f"{self.invariant} at {self.at:%H:%M:%S.%f}: {self.words}", *self.evidence))


@dataclass(frozen=True, slots=True)
class Origin:
    """What an instance runs, or ran before a batch."""

    version: str = ""
    model: str = ""
    extensions: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as a RollingUpgrade's status has it."""

    number: int
    zone: str
    domain: int
    members: frozenset[int]
    origins: Mapping[int, Origin]
    failed: frozenset[int]
    rolled_back: frozenset[int]
    outcome: str
    extension: str = ""

    @property
    def running(self) -> bool:
        """Whether members are still to be judged."""
        return self.outcome in ("", "Running")

    def __str__(self) -> str:
        what = f" ({self.extension})" if self.extension else ""
        parts = [f"batch {self.number}{what} in {self.zone or '-'}/{self.domain} of {objects.render(self.members)}"]
        parts += [f"failed {objects.render(self.failed)}"] if self.failed else []
        parts += [f"back {objects.render(self.rolled_back)}"] if self.rolled_back else []
        return f"{', '.join(parts)}: {self.outcome or 'Running'}"


def read_batch(raw: Json) -> Batch:
    """One entry of status.batches."""
    origins: dict[int, Origin] = {}
    for group in raw.get("from") or ():
        extensions = {e["name"]: e.get("version", "") for e in group.get("extensions") or ()}
        origin = Origin(group.get("imageVersion", ""), group.get("model", ""), extensions)
        origins.update(dict.fromkeys(objects.ordinals(group.get("ordinals", "")), origin))
    return Batch(
        number=int(raw["number"]),
        zone=raw.get("zone", ""),
        domain=int(raw.get("updateDomain", 0)),
        members=objects.ordinals(raw.get("ordinals", "")),
        origins=origins,
        failed=objects.ordinals(raw.get("failed", "")),
        rolled_back=objects.ordinals(raw.get("rolledBack", "")),
        outcome=raw.get("outcome", ""),
        extension=raw.get("extension", ""),
    )


@dataclass(slots=True)
class Instance:
    """One ordinal of a set: the pod that exists, if one does, and what is remembered of those before."""

    ordinal: int
    created: datetime
    uid: str = ""
    version: str = ""
    model: str = ""
    extensions: Mapping[str, str] = field(default_factory=dict)  # annotations: versions, and what they came from
    ready: bool = False
    going: bool = False
    ended: bool = False
    protected_since: datetime | None = None  # by the pod's annotation
    automatic: bool = False  # its pod went while mode Automatic replaced what wasn't on the model
    scaled_in: bool = False  # its next pod is a new instance
    counted: bool = False  # it was Ready once: it belongs to the set, and comes back as what it was
    ready_since: datetime | None = None
    sick_since: datetime | None = None
    settled: Origin | None = None  # what it ran when it was last Ready for longer than the operator's lag
    claims: Mapping[str, str] = field(default_factory=dict)  # name -> UID
    restarts: Mapping[str, int] = field(default_factory=dict)
    containers: Mapping[str, str] = field(default_factory=dict)  # name -> container ID
    expected: tuple[str, str] | None = None  # the version that the next pod must have, and why

    @property
    def healthy(self) -> bool:
        """Exists, is Ready, and isn't on its way out."""
        return bool(self.uid) and self.ready and not self.going and not self.ended

    def note_health(self, at: datetime, *, was: bool) -> None:
        """Keep since when it has been well or not; ``was`` says whether this very pod was healthy before."""
        if self.healthy:
            self.counted, self.sick_since = True, None
            if not was or self.ready_since is None:
                self.ready_since = at
            return
        if was and self.ready_since is not None and at - self.ready_since >= LAG:
            self.settled = Origin(self.version, self.model)
        self.ready_since = None
        if self.counted and self.sick_since is None:
            self.sick_since = at


@dataclass(slots=True)
class Touched:
    """A member of a running batch: the pod it was found with, and whether that was taken down and isn't back yet."""

    base: str
    extensions: Mapping[str, str]
    restarts: Mapping[str, int]
    down: bool = False
    former: str = ""  # of an extension that was patched: its container then


@dataclass(slots=True)
class Upgrade:
    """A RollingUpgrade as far as it was seen."""

    namespace: str
    name: str
    set_name: str
    type: str
    started_by: str
    status: Json = field(default_factory=dict)
    batches: dict[int, Batch] = field(default_factory=dict)
    at_work: dict[int, Touched] = field(default_factory=dict)
    limit: int = 1
    stuck: set[tuple[int, int]] = field(default_factory=set)  # batch, member: its pod hadn't ended when it was judged
    roll_back_disabled: set[bool] = field(default_factory=set)
    deleted: bool = False
    outlived: bool = False  # its set is gone; what another one of the name makes of it isn't judged

    @property
    def code(self) -> str:
        """The running status' code; empty before it started."""
        return (self.status.get("runningStatus") or {}).get("code", "")

    @property
    def finished(self) -> bool:
        """Whether it is over."""
        return self.code in FINAL

    @property
    def running_batch(self) -> Batch | None:
        """The batch at work."""
        return next((b for b in self.batches.values() if b.running), None)

    @property
    def target(self) -> Origin:
        """Where it goes; an empty version or model is left as it is."""
        image = (self.status.get("targetImageReference") or {}).get("version", "")
        return Origin(image, self.status.get("targetModel", ""))

    @property
    def targets(self) -> list[Json]:
        """The extensions of an Extension upgrade."""
        return [e for e in self.status.get("targetExtensions") or () if self.type == "Extension"]

    def goals(self, name: str, former: str) -> set[str]:
        """The versions that it may bring an extension to from this one: newer ones of the same major (E8c)."""
        fits = {e["to"] for e in self.targets if e["name"] == name and objects.is_of_major(e["to"], former)}
        return {to for to in fits if objects.is_newer(to, former)}

    def is_behind(self, installed: Mapping[str, str]) -> bool:
        """Whether an instance with these extensions still has one to be upgraded."""
        still = {e["name"] for e in self.targets if e.get("outcome", "Pending") in ("Pending", "Running")}
        return any(self.goals(name, version) for name, version in installed.items() if name in still)

    @property
    def platform_os(self) -> bool:
        """Whether it is an automatic OS upgrade."""
        return self.type == "OSImage" and self.started_by == "Platform"

    @property
    def awaits_approval(self) -> bool:
        """Whether it waits for a user to approve instances."""
        words = [self.status.get("waitingFor", "")]
        words += [c.get("reason", "") for c in self.status.get("conditions") or () if c.get("type") == "Progressing"]
        return any("approv" in each.lower() for each in words)


class Past:
    """The latest states of an object, as far back as somebody may still act on."""

    def __init__(self) -> None:
        self._states: deque[tuple[datetime, Json]] = deque()

    def add(self, at: datetime, state: Json) -> None:
        """It is so from now on; an empty state means that it is deleted."""
        self._states.append((at, state))
        while len(self._states) > 1 and self._states[1][0] < at - 10 * LAG:
            self._states.popleft()

    @property
    def now(self) -> Json:
        """As it is now."""
        return self._states[-1][1] if self._states else {}

    @property
    def last_known(self) -> Json:
        """As it is now, or as it was before it was deleted."""
        return next((s for _, s in reversed(self._states) if s), {})

    def within(self, at: datetime, lags: int = 1) -> list[Json]:
        """Every state that was current at some time during the last lags."""
        since = at - lags * LAG
        last = len(self._states) - 1
        return [s for i, (_, s) in enumerate(self._states) if i == last or self._states[i + 1][0] >= since]


class ScaleSet:
    """A ScaleSet as far as it was seen."""

    def __init__(self, key: Key, at: datetime, obj: Json) -> None:
        self.key = key
        self.past = Past()
        self.past.add(at, obj)
        self.deleted = False
        self.instances: dict[int, Instance] = {}

    @property
    def obj(self) -> Json:
        """The latest state."""
        return self.past.now

    @property
    def is_group(self) -> bool:
        """Whether it is an availability set."""
        return self.key[1].startswith(objects.GROUP)

    @property
    def is_machine(self) -> bool:
        """Whether it is a virtual machine."""
        return self.key[1].startswith(objects.MACHINE)

    def name_of(self, ordinal: int) -> str:
        """An instance's name: that of its pod."""
        if self.is_machine:
            return self.key[1].removeprefix(objects.MACHINE)
        if self.is_group:
            return str(self.obj["spec"]["names"].get(ordinal, f"{self.key[1]}/{ordinal}"))
        return f"{self.key[1]}-{ordinal}"

    def at_once(self, percent: int, replicas: int) -> int:
        """The most instances that may be taken at once: of an availability set all but one, in one update domain."""
        return max(1, replicas - 1 if self.is_group else percent * replicas // 100)

    @property
    def going(self) -> bool:
        """Whether it was deleted or is being deleted."""
        return self.deleted or "deletionTimestamp" in self.obj["metadata"]

    def replicas(self, at: datetime, lags: int = 1) -> tuple[int, int]:
        """The least and the most replicas that the operator may believe in."""
        counts = [objects.replicas(s) for s in self.past.within(at, lags)]
        return min(counts), max(counts)


class Book:
    """All that was seen, the timeline, and the violations found so far."""

    def __init__(self, *, timeline_length: int) -> None:
        self.violations: list[Violation] = []
        self.timeline: deque[str] = deque(maxlen=timeline_length)
        self.sets: dict[Key, ScaleSet] = {}
        self.upgrades: dict[str, Upgrade] = {}  # by UID
        self.claims: dict[Key, Json] = {}
        self.claims_going: dict[Key, datetime] = {}  # since when they are being deleted
        self.excused: set[tuple[str, str, str]] = set()  # kind, namespace, name
        self.going_namespaces: set[str] = set()
        self._began: datetime | None = None

    def upgrades_of(self, key: Key) -> list[Upgrade]:
        """The upgrades of a set."""
        return [u for u in self.upgrades.values() if (u.namespace, u.set_name) == key]

    def touching(self, state: ScaleSet, ordinal: int) -> list[tuple[Upgrade, int]]:
        """The upgrades of a set or machine and of the machine's availability set, with what each calls the instance."""
        found = [(upgrade, ordinal) for upgrade in self.upgrades_of(state.key)]
        named = state.obj["spec"].get("availabilitySet") if state.is_machine else None
        group = self.sets.get((state.key[0], f"{objects.GROUP}{named}")) if named else None
        if group is not None:
            places = [p for p, name in group.obj["spec"]["names"].items() if objects.MACHINE + name == state.key[1]]
            found += [(upgrade, place) for upgrade in self.upgrades_of(group.key) for place in places]
        return found

    def tell(self, at: datetime, words: str) -> None:
        """Put a line into the timeline."""
        self._began = self._began or at
        self.timeline.append(f"{(at - self._began).total_seconds():8.3f} {words}")

    def say(self, invariant: str, at: datetime, words: str, *about: str) -> None:
        """Note a violation; ``about`` names objects whose last lines are the evidence."""
        evidence = [line for line in self.timeline if any(name in line for name in about)][-6:]
        self.violations.append(Violation(invariant, words, at, tuple(evidence)))
        self.tell(at, f"!! {invariant}: {words}")
