"""Which tags of a repository are versions, and which of them the newest (docs/api.md, "Discovery").

A pattern says which tags count, an order how one is read: as Major.Minor.Patch or as a date. Patterns are a user's, so
they are matched by RE2, whose time doesn't explode with the tag's length. It still grows with the pattern, whose
repetitions make a few hundred characters a long program: so all of it together has a limit.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import re2

from scalesets.api.discovery import TagOrder
from scalesets.engine import versions
from scalesets.kube.names import Raw

LONGEST_TAG = 128
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}", re.ASCII)
_NUMBERS = re.compile(r"[vV]?([0-9]{1,10})\.([0-9]{1,10})\.([0-9]{1,10})", re.ASCII)
_DATE = re.compile(r"([0-9]{4})([-.]?)([0-9]{2})\2([0-9]{2})(?:[-._T]([0-9]{1,6}))?", re.ASCII)
_GROUP = "version"
_MEMORY = 1 << 20
"""Bytes that one compiled pattern may take."""
MATCHING_SECONDS = 1.0
"""Processor time that a repository's tags may take; 20,000 of them with a pattern as people write them take a fifth."""


class UnusablePattern(Exception):  # noqa: N818 - a user's mistake, in words
    """The pattern is no regular expression of RE2, or too big or too slow a one."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a list of tags holds: the newest versions with their tags, the newest first, and what was passed over."""

    versions: tuple[tuple[str, str], ...]  # version, tag
    unreadable: int = 0  # tags that fit the pattern and are no version
    examples: tuple[str, ...] = ()  # some of them
    doubles: int = 0  # tags for a version that another tag stands for
    older: int = 0  # versions beyond the most that are wanted


class TagRule:
    """Says of each tag whether it is a version. ``spec`` is the `discovery` of an image or extension."""

    def __init__(self, spec: Raw) -> None:
        self._wanted = _compile("tagPattern", spec.get("tagPattern"))
        self._excluded = _compile("excludePattern", spec.get("excludePattern"))
        self._order = TagOrder(spec.get("order") or TagOrder.SEM_VER.value)

    def part(self, tag: str) -> str | None:
        """The part of the tag that is to be a version; None when the tag doesn't count."""
        if not _TAG.fullmatch(tag) or (self._excluded is not None and self._excluded.fullmatch(tag)):
            return None
        if self._wanted is None:
            return tag
        match = self._wanted.fullmatch(tag)
        if match is None:
            return None
        return (match.group(_GROUP) or "") if _GROUP in self._wanted.groupindex else tag

    def version(self, part: str) -> str | None:
        """The part as Major.Minor.Patch without leading zeros; None when it isn't one."""
        return _numbers(part) if self._order is TagOrder.SEM_VER else _day(part)


def choose(tags: Iterable[str], rule: TagRule, *, most: int, known: Mapping[str, str]) -> Chosen:
    """The newest versions among the tags. Of two tags for one version the one that is ``known`` for it counts, else
    the shorter one, so that nothing changes by itself. Takes up to MATCHING_SECONDS: to be called in a thread.
    """
    began = time.thread_time()
    found: dict[str, str] = {}
    unreadable: list[str] = []
    doubles = 0
    for tag in sorted(set(tags), key=lambda t: (len(t), t)):
        part = rule.part(tag)
        if time.thread_time() - began > MATCHING_SECONDS:
            raise UnusablePattern(
                f"tagPattern and excludePattern take more than {MATCHING_SECONDS:g} s for the repository's tags: "
                "write them with fewer repetitions"
            )
        if part is None:
            continue
        version = rule.version(part)
        if version is None:
            unreadable.append(tag)
        elif version in found:
            doubles += 1
            if known.get(version) == tag:
                found[version] = tag
        else:
            found[version] = tag
    newest = sorted(found.items(), key=lambda each: versions.parse(each[0]), reverse=True)
    return Chosen(
        versions=tuple(newest[:most]),
        unreadable=len(unreadable),
        examples=tuple(unreadable[:3]),
        doubles=doubles,
        older=max(0, len(newest) - most),
    )


def _numbers(text: str) -> str | None:
    match = _NUMBERS.fullmatch(text)
    return ".".join(str(int(n)) for n in match.groups()) if match else None


def _day(text: str) -> str | None:
    """``20261101`` is 2026.1101.0; what follows the day, a count or a time of day, is the last number."""
    match = _DATE.fullmatch(text)
    if match is None:
        return None
    year, month, day, count = int(match[1]), int(match[3]), int(match[4]), int(match[5] or 0)
    try:
        date(year, month, day)
    except ValueError:
        return None
    return f"{year}.{month * 100 + day}.{count}"


def _compile(field: str, pattern: str | None) -> Any:
    if not pattern:
        return None
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        words = error.args[0].decode(errors="replace") if error.args and isinstance(error.args[0], bytes) else error
        raise UnusablePattern(f"{field} is no regular expression of RE2: {words}") from error
