"""Which instances a user means: names (``web-3``), numbers (``3``) and ranges (``0-3,7``)."""

from __future__ import annotations

from collections.abc import Sequence

from scalesets.cli.errors import not_found, wrong_usage
from scalesets.engine import ordinals
from scalesets.kube.names import instance_ordinal


def select(given: Sequence[str], set_name: str, replicas: int) -> list[str]:
    """The names of the instances, in order; an error names the first one that isn't there."""
    chosen: set[int] = set()
    for one in given:
        ordinal = instance_ordinal(one, set_name)
        if ordinal is not None:
            chosen.add(ordinal)
            continue
        try:
            chosen |= ordinals.parse(one)
        except ValueError as error:
            raise wrong_usage(
                f'"{one}" is no instance of {set_name}', mend=f"write {set_name}-3, 3 or a range like 0-3,7"
            ) from error
    absent = [ordinal for ordinal in sorted(chosen) if ordinal >= replicas]
    if absent:
        last = f"the last one is {set_name}-{replicas - 1}" if replicas else "the set has no instances"
        raise not_found(f"no instance {set_name}-{absent[0]}", mend=last)
    return [f"{set_name}-{ordinal}" for ordinal in sorted(chosen)]
