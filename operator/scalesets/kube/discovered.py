"""What an image's or extension's status says of its discovery: the versions found, and the condition Discovered
(docs/api.md, "Discovery").

What was found stays while a registry can't be asked, and when all of its tags are gone at once, which is no publisher's
way to withdraw a version. A version keeps the date when it was found first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from scalesets.engine.decision import Event
from scalesets.engine.view import Condition
from scalesets.kube import times
from scalesets.kube.names import Raw
from scalesets.kube.phrases import first_of
from scalesets.kube.registry import Problem, Reason

TYPE = "Discovered"
ASKING, CURRENT, SUSPENDED = "Asking", "Current", "Suspended"
MUST_CHANGE = (Reason.NOT_ALLOWED, Reason.PATTERN)
"""Problems that only another spec (or another setting of the operator) ends."""
MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class Found:
    """A tag that is a version, and the image that it names now."""

    version: str
    tag: str
    image: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of asking the registry: versions, the newest first, or the problem. Findings that say the same are
    equal, whenever they were made.
    """

    versions: tuple[Found, ...] | None = None
    note: str = ""  # what was passed over, in words
    problem: tuple[Reason, str] | None = None
    at: datetime | None = field(default=None, compare=False)

    @classmethod
    def of(cls, problem: Problem) -> Finding:
        """What a problem leaves."""
        return cls(problem=(problem.reason, problem.message))


def merge(obj: Raw, finding: Finding | None, now: datetime) -> tuple[list[dict[str, Any]], Condition | None]:
    """The object's `status.discovered` as it should be, and the condition Discovered; none without discovery."""
    spec = obj["spec"].get("discovery")
    status: Raw = obj.get("status") or {}
    before: list[dict[str, Any]] = list(status.get("discovered") or ())
    if not spec:
        return [], None
    if spec.get("suspend"):
        return before, Condition(TYPE, None, SUSPENDED, "the registry isn't asked; what was found stays")
    if finding is None:
        return before, _not_yet(obj, spec)
    if finding.problem is not None:
        reason, message = finding.problem
        kept = "; what was found before stays" if before else ""
        return before, Condition(TYPE, False, reason.value, f"{message}{kept}")
    versions = finding.versions or ()
    if before and not versions:
        words = f"no tag of {spec['repository']} fits any more; what was found before stays"
        return before, Condition(TYPE, False, Reason.NO_TAGS.value, words)
    words = f"{_count(len(versions))} of {spec['repository']}" if versions else f"no tag of {spec['repository']} fits"
    found = [_write(each, status, finding.at or now) for each in versions]
    return found, Condition(TYPE, True, CURRENT, f"{words}{finding.note}")


def condition_of(obj: Raw) -> Raw:
    """The stored condition Discovered; empty when there is none."""
    found = (obj.get("status") or {}).get("conditions") or ()
    return next((c for c in found if c["type"] == TYPE), {})


def may_come(condition: Condition) -> bool:
    """Whether versions aren't known yet, and will be when the registry answers."""
    return condition.status is not True and condition.reason != SUSPENDED


def events(before: Raw, after: Raw) -> Iterator[Event]:
    """What there is to tell of a discovery whose status was written."""
    known, now = _versions(before), _versions(after)
    if fresh := [version for version in now if version not in known]:
        yield Event("VersionsDiscovered", f"found {first_of(fresh, MOST_NAMED)}")
    if gone := [version for version in known if version not in now]:
        yield Event("VersionsWithdrawn", f"not offered any more: {first_of(gone, MOST_NAMED)}; instances on them stay")
    was, is_now = condition_of(before), condition_of(after)
    if is_now.get("status") == "False" and was.get("reason") != is_now.get("reason"):
        yield Event("DiscoveryFailed", f"{is_now['reason']}: {is_now.get('message', '')}", warning=True)
    if was.get("status") == "False" and is_now.get("status") == "True":
        yield Event("DiscoveryWorks", f"after {was.get('reason', '')}: {is_now.get('message', '')}")


def _versions(obj: Raw) -> list[str]:
    return [v["version"] for v in (obj.get("status") or {}).get("discovered") or ()]


def _not_yet(obj: Raw, spec: Raw) -> Condition:
    """Before the first answer of this process: what stood there for this very spec."""
    stored = condition_of(obj)
    if stored and stored.get("observedGeneration") == obj["metadata"].get("generation"):
        state = {"True": True, "False": False}.get(stored["status"])
        return Condition(TYPE, state, stored.get("reason") or ASKING, stored.get("message") or "")
    return Condition(TYPE, None, ASKING, f"{spec['repository']} is being asked for its tags")


def _write(found: Found, status: Raw, at: datetime) -> dict[str, Any]:
    """An entry. A version that was known before, or was here already once, keeps its date."""
    entry = {"version": found.version, "image": found.image, "tag": found.tag}
    for each in status.get("discovered") or ():
        if each["version"] == found.version and each.get("publishedDate"):
            return {**entry, "publishedDate": each["publishedDate"]}
    for each in status.get("versions") or ():
        if each["version"] == found.version and each.get("firstSeenTime"):
            return {**entry, "publishedDate": each["firstSeenTime"]}
    return {**entry, "publishedDate": times.render(at)}


def _count(number: int) -> str:
    return f"{number} version{'' if number == 1 else 's'}"
