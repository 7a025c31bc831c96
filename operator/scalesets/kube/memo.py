"""What was made from an object is kept until the object changes: most of a decision's input is as it was."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

from scalesets.kube.names import Raw

T = TypeVar("T")

_all: list[Memo[Any]] = []


class Memo(Generic[T]):
    """Values by object UID and a variant; one per pair, for the object's newest resourceVersion.

    The decoded object itself is the witness: another dict is another reading, whatever its resourceVersion says.
    """

    def __init__(self, most: int = 4096) -> None:
        self._most = most  # objects
        self._kept: dict[str, dict[Hashable, tuple[Raw, T]]] = {}
        _all.append(self)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, obj: Raw, variant: Hashable, make: Callable[[], T]) -> T:
        """The value for this reading of the object, made when there is none."""
        uid = obj["metadata"]["uid"]
        of_object = self._kept.get(uid)
        if of_object is not None and (kept := of_object.get(variant)) is not None and kept[0] is obj:
            return kept[1]
        value = make()
        if of_object is None:
            if len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]
            of_object = self._kept[uid] = {}
        of_object[variant] = (obj, value)
        return value

    def forget(self, uid: str) -> None:
        """Keep nothing of this object."""
        self._kept.pop(uid, None)


def forget(uid: str) -> None:
    """The object is gone: nothing that was made from it is asked for again (the history of a big set is big)."""
    for memo in _all:
        memo.forget(uid)
