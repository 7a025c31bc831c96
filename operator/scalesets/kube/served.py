"""Which of the namespaces that the settings name can be served (the chart's watchNamespaces).

Namespaces go at their owners' will, and the roles that were bound in them with them. One that is gone, or in which
nothing is bound, must not stop the operator for all others: it is left out, said by name, and the operator starts anew
when it can be served.

One on its way out is left alone for some seconds by the namespace controller (five, for API servers to notice), and
the operator's roles are bound in it until then. In these its finalizer has to go off the upgrades there: later nobody
who runs here could take it off, and it would hold the namespace for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from scalesets.kube import farewell, rights
from scalesets.kube.client import Cluster, Outcome, Refusal
from scalesets.kube.kinds import NAMESPACES
from scalesets.kube.names import FINALIZER, Raw
from scalesets.kube.rights import Right
from scalesets.kube.settings import Settings

log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
"""How often it is looked whether namespaces stay in which an upgrade is held."""
RETURN_SECONDS = 30.0
"""How often it is looked whether those that were left out can be served."""
MISSING, LEAVES = "it doesn't exist", "it is being deleted"


class NamespacesChanged(Exception):  # noqa: N818
    """What can be served isn't what is served: a new process begins with what there is."""


async def gone(cluster: Cluster, namespaces: Iterable[str]) -> dict[str, str]:
    """Those that don't exist (``MISSING``), or not for long (``LEAVES``). One that may not be read counts as there."""
    namespaces = tuple(namespaces)
    answers = await asyncio.gather(*(_gone(cluster, namespace) for namespace in namespaces))
    return {namespace: why for namespace, why in zip(namespaces, answers, strict=True) if why}


async def _gone(cluster: Cluster, namespace: str) -> str:
    try:
        raw = await cluster.get(NAMESPACES, "", namespace)
    except Refusal as refusal:
        if refusal.outcome is Outcome.MISSING:
            return MISSING
        if refusal.outcome is Outcome.FORBIDDEN:
            return ""
        raise
    return LEAVES if raw["metadata"].get("deletionTimestamp") else ""


async def left_out(cluster: Cluster, settings: Settings, lacking: Iterable[Right]) -> dict[str, str]:
    """The named namespaces that can't be served, and why: those that leave, and those where needed rights are lacking.

    One that doesn't exist is served by who has the rights in it whatever happens. The catalog's isn't left out.
    """
    places = [
        each for each in settings.namespaces if each not in (settings.catalog_namespace, settings.lease_namespace)
    ]
    absent = await gone(cluster, places)
    found = {}
    for namespace in places:
        there = [right for right in lacking if right.namespace == namespace and right.needed]
        if absent.get(namespace) == LEAVES or (there and namespace in absent):
            found[namespace] = absent[namespace]
        elif there:
            found[namespace] = f"not allowed to {rights.in_words(there)}"
    return found


class Departures:
    """Sees which of the served namespaces are being deleted, and lets go of what is held there."""

    def __init__(self, cluster: Cluster, settings: Settings) -> None:
        self._cluster = cluster
        self._settings = settings
        self._leaving: tuple[str, ...] = ()

    async def watch(self, upgrades: Callable[[], Iterable[Raw]]) -> None:
        """Look again and again at those in which one of the upgrades is held; ends with ``NamespacesChanged``."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            held = {
                raw["metadata"]["namespace"]
                for raw in upgrades()
                if FINALIZER in (raw["metadata"].get("finalizers") or ())
            }
            try:
                await self.look(namespace for namespace in self._settings.namespaces if namespace in held)
            except Refusal as refusal:
                log.warning("whether namespaces stay isn't known, asked again: %s", refusal)

    async def look(self, namespaces: Iterable[str]) -> None:
        """``NamespacesChanged`` if one of them leaves, after letting go."""
        found = [namespace for namespace, why in (await gone(self._cluster, namespaces)).items() if why == LEAVES]
        if found:
            self._leaving = tuple(found)
            await self.let_go()
            raise NamespacesChanged(f"{', '.join(found)} is served no more: {LEAVES}")

    async def let_go(self) -> None:
        """Take the finalizer off the upgrades where it was seen that the namespace leaves."""
        for namespace in self._leaving:
            try:
                await farewell.release_in(self._cluster, namespace)
            except Refusal as refusal:
                log.warning("upgrades of %s may be held, and with them the namespace: %s", namespace, refusal)


class Return:
    """Sees when a namespace that was left out can be served."""

    def __init__(self, cluster: Cluster, named: Settings, settings: Settings) -> None:
        self._cluster = cluster
        self._named = named
        self.awaited = tuple(each for each in named.namespaces if each not in settings.namespaces)

    async def watch(self) -> None:
        """Look again and again; ends with ``NamespacesChanged``."""
        while True:
            await asyncio.sleep(RETURN_SECONDS)
            try:
                back = await self.back()
            except Refusal as refusal:
                log.warning("whether %s can be served isn't known: %s", ", ".join(self.awaited), refusal)
                continue
            if back:
                raise NamespacesChanged(f"{', '.join(back)} can be served now")

    async def back(self) -> list[str]:
        """Those that are there now, with all rights."""
        absent = await gone(self._cluster, self.awaited)
        there = [namespace for namespace in self.awaited if namespace not in absent]
        wanted = [right for right in rights.rights(self._named) if right.namespace in there and right.needed]
        lacking = {right.namespace for right in await rights.missing(self._cluster, wanted)}
        return [namespace for namespace in there if namespace not in lacking]
