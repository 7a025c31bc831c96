"""Which instances can't be patched: a kubelet before 1.32 doesn't restart a native sidecar whose image is patched
(docs/rules.md, "Before a batch touches anything").

Nodes are listed only while an extension upgrade is near or runs, and what they say holds for some minutes. What can't
be learnt counts as new enough: an instance that doesn't restart its sidecar fails, and is put back.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime

from scalesets.engine import extensions
from scalesets.engine.view import NONE, Instance, Ordinals, SetView, UpgradeType
from scalesets.kube.client import Cluster, Outcome, Refusal
from scalesets.kube.kinds import NODES
from scalesets.kube.names import Raw

log = logging.getLogger(__name__)

FIRST_MINOR = 32
"""Of Kubernetes 1: from then on a patched sidecar is restarted."""
HOLDS_FOR = 300.0
AGAIN_AFTER = 15.0
"""Seconds until nodes are listed again, after an answer and after none."""

_VERSION = re.compile(r"v?(\d+)\.(\d+)")


class Kubelets:
    """What is known of the nodes' kubelets, for all sets."""

    def __init__(self, cluster: Cluster, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._clock = clock
        self._old: frozenset[str] = frozenset()
        self._stale_at = float("-inf")
        self._said = False
        self._asking = asyncio.Lock()

    @property
    def fresh_for(self) -> float:
        """For how many seconds what is known still holds."""
        return max(0.0, self._stale_at - self._clock())

    async def learn(self) -> str:
        """List the nodes, unless another set just did. What is to be said about it, once: that they may not be read."""
        async with self._asking:
            return "" if self.fresh_for else await self._ask()

    async def _ask(self) -> str:
        old: set[str] = set()
        wait, words = HOLDS_FOR, ""
        try:
            async for nodes, _ in self._cluster.pages(NODES):
                old.update(n["metadata"]["name"] for n in nodes if is_too_old(kubelet_version(n)))
        except Refusal as refusal:
            if refusal.outcome is not Outcome.FORBIDDEN:
                log.warning("the kubelets' versions are not known, asked again: %s", refusal)
                wait = AGAIN_AFTER
            elif not self._said:
                self._said = True
                words = (
                    "whether kubelets are older than 1.32, which don't restart a patched extension, can't be seen and "
                    f"is not looked at: {refusal.message}; give the operator list on nodes (ClusterRole "
                    "scaleset-operator)"
                )
        else:
            self._old = frozenset(old)
        self._stale_at = self._clock() + wait
        return words

    def unpatchable(self, instances: Mapping[int, Instance]) -> Ordinals:
        """The instances on nodes that don't restart a patched sidecar."""
        return on_nodes(instances, self._old)


def on_nodes(instances: Mapping[int, Instance], nodes: Collection[str]) -> Ordinals:
    """The instances on one of these nodes."""
    if not nodes:
        return NONE
    return frozenset(o for o, instance in instances.items() if instance.node in nodes) or NONE


def is_too_old(version: str) -> bool:
    """Whether a kubelet's version, such as ``v1.31.4-gke.1``, is before 1.32. What can't be read isn't."""
    found = _VERSION.match(version)
    return found is not None and (int(found[1]), int(found[2])) < (1, FIRST_MINOR)


def is_near(view: SetView, now: datetime) -> bool:
    """Whether an extension upgrade is asked for or runs, or the platform has one to make."""
    if any(u.type is UpgradeType.EXTENSION and not u.finished for u in view.upgrades):
        return True
    model = view.model
    known = model.extensions if model is not None else ()
    followed = [e for e in known if extensions.automatic_upgrade(view, e) == extensions.ENABLED]
    if not followed:
        return False
    installed = [dict(r.extensions) for r in {id(i.release): i.release for i in view.instances.values()}.values()]
    return any(
        extensions.newest_of_major(view.extensions.get(e.key), found[e.name], now)
        for e in followed
        for found in installed
        if e.name in found
    )


def kubelet_version(node: Raw) -> str:
    """What a node says of its kubelet; empty when it says nothing."""
    return str(((node.get("status") or {}).get("nodeInfo") or {}).get("kubeletVersion") or "")
