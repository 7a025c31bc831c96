"""Times and durations between the API's text and the engine's values: RFC 3339 in UTC, ISO 8601 (docs/api.md)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from pydantic import TypeAdapter

from scalesets.api import common

render = common.format_time
render_seconds = common.format_second
render_duration = common.format_duration

FIRST_YEAR, LAST_YEAR = 1970, 2999
LONGEST = timedelta(days=3650)
"""More than anybody waits: longer ones, which a template may name, are taken for this, so that times can be added."""
_DURATION = TypeAdapter(timedelta)


def seconds(number: float) -> timedelta:
    """A number of seconds out of a template."""
    return timedelta(seconds=number) if number < LONGEST.total_seconds() else LONGEST


def parse(text: str) -> datetime:
    """An RFC 3339 time as an aware datetime in UTC. Raises ValueError."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is UTC else time.astimezone(UTC)


def read(text: str | None) -> datetime | None:
    """The time, or None where there is none."""
    return parse(text) if text else None


def read_given(text: str | None) -> datetime | None:
    """The time that a user wrote, or None where there is none. Raises ValueError for one that can't be used.

    The API server takes what looks like a time, such as 2026-02-30 or an offset of 99 hours. And there has to be room
    around it: delays are added to it, and offsets taken off.
    """
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text.upper())
        time = (time if time.tzinfo is not None else time.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text} is no time") from error
    if not FIRST_YEAR <= time.year <= LAST_YEAR:
        raise ValueError(f"{text} is not between {FIRST_YEAR} and {LAST_YEAR}")
    return time


@lru_cache(maxsize=256)
def parse_duration(text: str) -> timedelta:
    """An ISO 8601 duration such as ``PT5M``. Raises ValueError."""
    return _DURATION.validate_python(text)
