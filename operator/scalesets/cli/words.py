"""Times, counts and lists in words, short enough for a column and as kubectl writes them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from scalesets.cli.fields import since


def span(duration: timedelta | None) -> str:
    """A duration as kubectl writes ages: ``45s``, ``3m20s``, ``12m``, ``5h10m``, ``3d``."""
    if duration is None:
        return ""
    seconds = max(int(duration.total_seconds()), 0)
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d"


def age(now: datetime, then: datetime | None) -> str:
    """How long ago, in words; empty where the time is unknown."""
    return span(since(now, then))


def count(number: int, noun: str, plural: str = "") -> str:
    """``1 instance``, ``3 instances``."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def listing(items: Sequence[str], *, limit: int = 4) -> str:
    """``a``, ``a and b``, ``a, b, c and 5 more``."""
    if len(items) > limit + 1:
        return f"{', '.join(items[:limit])} and {len(items) - limit} more"
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def share(part: int, whole: int, noun: str) -> str:
    """``6 of 20 instances (30%)``."""
    return f"{part} of {count(whole, noun)} ({percent(part, whole)}%)"


def percent(part: int, whole: int) -> int:
    """The percentage, rounded down (a limit of 20% is passed by 20.5%: compare counts, not this)."""
    return 100 * part // whole if whole else 0


def upper_first(sentence: str) -> str:
    """A sentence with a capital at its start, unless its first word is a name that has none (``web-3``, ``spec.x``)."""
    first = sentence.split(" ", 1)[0]
    return sentence[0].upper() + sentence[1:] if first.isalpha() else sentence
