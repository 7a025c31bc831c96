"""Times and durations between the API's text and the engine's values: RFC 3339 in UTC, ISO 8601 (docs/api.md)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache

from pydantic import TypeAdapter

from scalesets.api import common

render = common.format_time
render_seconds = common.format_second
render_duration = common.format_duration

_DURATION = TypeAdapter(timedelta)


def parse(text: str) -> datetime:
    """An RFC 3339 time as an aware datetime in UTC. Raises ValueError."""
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is UTC else time.astimezone(UTC)


def read(text: str | None) -> datetime | None:
    """The time, or None where there is none."""
    return parse(text) if text else None


@lru_cache(maxsize=256)
def parse_duration(text: str) -> timedelta:
    """An ISO 8601 duration such as ``PT5M``. Raises ValueError."""
    return _DURATION.validate_python(text)
