"""What the operator knows of the cluster: one store per kind, fed by watches and by the answers of its own writes.

Rule 4 of docs/design.md ("Crash-safe by writing the intent first"): entries are keyed by namespace, name *and UID*.
An added or changed object counts only if its resourceVersion is newer; a deletion counts if it names the entry's UID,
whatever its version (it can carry the very resourceVersion that the DELETE answered), and never otherwise. What is
older than the deletion is refused after it, so a late answer can't raise a ghost; a newer state of the same UID says
that the object never went, it only lost the label that the watch selects by, and has it again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from scalesets.kube.names import Raw
from scalesets.kube.seen import Key

T = TypeVar("T")
Parse = Callable[[dict[str, Any], "T | None"], "T"]
Changed = Callable[[Key, "T | None", "T | None"], None]

_REMEMBER_SECONDS = 300.0
"""How long the UID of a deleted object is remembered: much longer than any answer is late."""
_FOR_GOOD = sys.maxsize
"""Deleted as of any version: the API server said by its name that it doesn't exist."""


class HistoryLost(Exception):  # noqa: N818
    """The API server went back in time. Nothing that is known can be trusted; only a fresh start helps."""


class _Entry(Generic[T]):
    __slots__ = ("uid", "value", "version")

    def __init__(self, uid: str, version: int, value: T) -> None:
        self.uid = uid
        self.version = version
        self.value = value


class Store(Generic[T]):
    """The objects of one kind.

    ``parse(raw, previous)`` makes what is kept (``previous``: of the same UID); ``changed`` is told of each change.
    """

    def __init__(
        self, parse: Parse[T], changed: Changed[T] | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._parse = parse
        self._listeners: list[Changed[T]] = [changed] if changed is not None else []
        self._clock = clock
        self._entries: dict[Key, _Entry[T]] = {}
        self._deleted: dict[str, tuple[float, int]] = {}  # uid -> when, as of which version; by when
        self.newest = 0  # the highest resourceVersion seen

    def tell(self, changed: Changed[T]) -> None:
        """From now on ``changed`` is told of each change, after those who are told already."""
        self._listeners.append(changed)

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._entries

    def get(self, key: Key) -> T | None:
        """What is kept of the object, if it exists."""
        entry = self._entries.get(key)
        return entry.value if entry is not None else None

    def values(self) -> Iterator[T]:
        """Everything."""
        return (entry.value for entry in self._entries.values())

    def all_keys(self) -> tuple[Key, ...]:
        """The keys of everything, as of now."""
        return tuple(self._entries)

    def put(self, raw: dict[str, Any]) -> bool:
        """An object as a list, a watch or the answer of a write shows it. False when something newer is known."""
        metadata = raw["metadata"]
        uid: str = metadata["uid"]
        version = int(metadata["resourceVersion"])
        key = (metadata.get("namespace", ""), metadata["name"])
        if version > self.newest:
            self.newest = version
        entry = self._entries.get(key)
        if entry is not None and version <= entry.version:
            return False
        if (buried := self._deleted.get(uid)) is not None and version <= buried[1]:
            return False
        before = entry.value if entry is not None else None
        same = entry is not None and entry.uid == uid
        value = self._parse(raw, before if same else None)
        if entry is None:
            self._entries[key] = _Entry(uid, version, value)
        else:
            if not same:
                self._bury(entry.uid, _FOR_GOOD)
            entry.uid, entry.version, entry.value = uid, version, value
        for changed in self._listeners:
            changed(key, before, value)
        return True

    def gone(self, raw: dict[str, Any]) -> bool:
        """An object was deleted, says a watch."""
        metadata = raw["metadata"]
        version = int(metadata["resourceVersion"])
        if version > self.newest:
            self.newest = version
        return self._take_out((metadata.get("namespace", ""), metadata["name"]), metadata["uid"], version)

    def vanished(self, key: Key, uid: str) -> bool:
        """The object with this UID doesn't exist any more: there is none of its name, or one with another UID."""
        return self._take_out(key, uid, _FOR_GOOD)

    def _take_out(self, key: Key, uid: str, version: int) -> bool:
        self._bury(uid, version)
        entry = self._entries.get(key)
        if entry is None or entry.uid != uid:
            return False
        del self._entries[key]
        for changed in self._listeners:
            changed(key, entry.value, None)
        return True

    def listing(self, namespace: str = "") -> _Listing[T]:
        """Begin a listing of everything (in the namespace)."""
        return _Listing(self, namespace, self.newest)

    def _sweep(self, namespace: str, there: set[str], version: int) -> None:
        """Take out what a list as of ``version`` doesn't hold, unless it is newer than the list."""
        for key, entry in list(self._entries.items()):
            if (not namespace or key[0] == namespace) and entry.version <= version and entry.uid not in there:
                self._take_out(key, entry.uid, version)

    def _bury(self, uid: str, version: int) -> None:
        now = self._clock()
        _, before = self._deleted.pop(uid, (now, version))
        self._deleted[uid] = (now, max(before, version))
        while self._deleted:
            oldest = next(iter(self._deleted))
            if now - self._deleted[oldest][0] < _REMEMBER_SECONDS:
                return
            del self._deleted[oldest]


class _Listing(Generic[T]):
    """A list under way. Objects go into the store as they come, so that no more than a page of raw objects is held."""

    def __init__(self, store: Store[T], namespace: str, newest: int) -> None:
        self._store = store
        self._namespace = namespace
        self._newest = newest
        self._there: set[str] = set()

    def add(self, raw: dict[str, Any]) -> None:
        self._there.add(raw["metadata"]["uid"])
        self._store.put(raw)

    def end(self, version: int) -> None:
        if version < self._newest:
            raise HistoryLost(
                f"listed as of resourceVersion {version}, but {self._newest} was seen before: was etcd restored?"
            )
        self._store._sweep(self._namespace, self._there, version)


def keep(raw: dict[str, Any], _previous: Raw | None) -> Raw:
    """The parse function of a store of raw objects."""
    return raw
