"""What was made from an object is kept until the object changes: most of a decision's input is as it was."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from scalesets.kube.names import Raw

T = TypeVar("T")


class Memo(Generic[T]):
    """Values by object UID and a variant; one per pair, for the object's newest resourceVersion.

    The decoded object itself is the witness: another dict is another reading, whatever its resourceVersion says.
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most
        self._kept: dict[tuple[str, Hashable], tuple[Raw, T]] = {}

    def get(self, obj: Raw, variant: Hashable, make: Callable[[], T]) -> T:
        """The value for this reading of the object, made when there is none."""
        key = (obj["metadata"]["uid"], variant)
        kept = self._kept.get(key)
        if kept is not None and kept[0] is obj:
            return kept[1]
        value = make()
        if key not in self._kept and len(self._kept) >= self._most:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = (obj, value)
        return value
