"""Words that several messages share."""

from __future__ import annotations

from collections.abc import Sequence


def first_of(some: Sequence[str], most: int, *, separator: str = ", ") -> str:
    """The first of them, and how many more there are: ``a, b and 3 more``, or by semicolons ``a; b; and 3 more``."""
    shown, more = separator.join(some[:most]), len(some) - most
    if more <= 0:
        return shown
    return f"{shown}{'' if separator == ', ' else separator.rstrip()} and {more} more"
