"""The programs of the control plane, from the first of three sources that has them (docs/local.md)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from scalesets.local.binaries.cache import PROGRAMS, Cache, cache_directory


def find_binaries(*, say: Callable[[str], None]) -> dict[str, Path]:
    """Return the path of every program."""
    cache = Cache(cache_directory())
    return {program: path for program in PROGRAMS if (path := cache.find(program, say=say))}
