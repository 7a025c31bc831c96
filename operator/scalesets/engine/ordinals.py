"""Sets of instance ordinals as people read and store them: ``0-3,7`` (docs/api.md, RollingUpgrade.status)."""

from __future__ import annotations

from collections.abc import Iterable


def render(ordinals: Iterable[int]) -> str:
    """Ranges in ascending order, comma-separated; the empty set is the empty string."""
    parts: list[str] = []
    first = last = -2
    for ordinal in sorted(ordinals):
        if ordinal == last + 1:
            last = ordinal
            continue
        if last >= 0:
            parts.append(_range(first, last))
        first = last = ordinal
    if last >= 0:
        parts.append(_range(first, last))
    return ",".join(parts)


def parse(text: str) -> frozenset[int]:
    """The inverse of ``render``. Raises ValueError with the offending part."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        first, _, last = part.partition("-")
        if not first.isdecimal() or (last and not last.isdecimal()) or part.endswith("-"):
            raise ValueError(f"not a set of ordinals like 0-3,7: {part!r} in {text!r}")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
