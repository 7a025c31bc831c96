"""Which instances a user means: names (``web-3``), numbers (``3``) and ranges (``0-3,7``).

What is read wrongly here is done to the wrong instances, and no instance at all means all of them to an upgrade: so
nothing is guessed, and every word names at least one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from scalesets.cli.errors import CommandError, not_found, wrong_usage
from scalesets.kube.names import instance_ordinal

_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def select(given: Sequence[str], set_name: str, replicas: int) -> list[str]:
    """The names of the instances, in order; an error names the first one that isn't there."""
    chosen: set[int] = set()
    for first, last in (meant for word in given for meant in _read(word, set_name)):
        if last >= replicas:
            mend = f"the last one is {set_name}-{replicas - 1}" if replicas else "the set has no instances"
            raise not_found(f"no instance {set_name}-{max(first, replicas)}", mend=mend)
        chosen.update(range(first, last + 1))
    return [f"{set_name}-{ordinal}" for ordinal in sorted(chosen)]


def _read(word: str, set_name: str) -> Iterator[tuple[int, int]]:
    """The first and the last instance of each range."""
    for part in word.split(","):
        ordinal = instance_ordinal(part, set_name)
        found = _RANGE.fullmatch(part)
        if ordinal is not None:
            yield ordinal, ordinal
        elif found is None:
            raise _no_instance(word, set_name)
        else:
            first, last = int(found[1]), int(found[2] or found[1])
            if first > last:
                raise wrong_usage(f'"{part}" runs backwards', mend=f"write {last}-{first}")
            yield first, last


def _no_instance(word: str, set_name: str) -> CommandError:
    return wrong_usage(f'"{word}" is no instance of {set_name}', mend=f"write {set_name}-3, 3 or a range like 0-3,7")
