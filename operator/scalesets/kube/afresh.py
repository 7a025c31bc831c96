"""Reads one object afresh into its store, when a refused write says that it may be another by now."""

from __future__ import annotations

from typing import TypeVar

from scalesets.kube.cache import Store
from scalesets.kube.client import Cluster, Outcome, Refusal
from scalesets.kube.kinds import Kind
from scalesets.kube.names import Raw
from scalesets.kube.seen import Key

T = TypeVar("T")


async def refresh(cluster: Cluster, store: Store[Raw], kind: Kind, key: Key) -> None:
    """Read one object afresh into its store. What can't be read now is seen later."""
    known = store.get(key)
    try:
        store.put(await cluster.get(kind, *key))
    except Refusal as refusal:
        if refusal.outcome is Outcome.MISSING and known is not None:
            store.vanished(key, known["metadata"]["uid"])


async def is_still_there(cluster: Cluster, store: Store[T], kind: Kind, key: Key, uid: str) -> bool:
    """Whether the object with this UID exists.

    A Conflict says that another has its name, mostly; but whoever takes every one for that hides what lives on.
    """
    try:
        raw = await cluster.get(kind, *key)
    except Refusal as refusal:
        if refusal.outcome is not Outcome.MISSING:
            raise
        store.vanished(key, uid)
        return False
    there: bool = raw["metadata"]["uid"] == uid
    if not there:
        store.vanished(key, uid)
    store.put(raw)
    return there
