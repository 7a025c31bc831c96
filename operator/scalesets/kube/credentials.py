"""Looks at what a model names, Secrets and ConfigMaps, and remembers what is wrong with it (O15, O21; preflight.py).

Before an upgrade touches anything it is a condition of it (writes.py). New instances are made all the same, for a
machine waits for a Secret by itself; but of one that is to be mounted it says nothing that a pod would show. So while
instances don't come up, what they may wait for is looked at too, and said by name.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from scalesets.engine.decision import Event
from scalesets.engine.view import Instance, TroubleKind
from scalesets.kube import catalogues, preflight
from scalesets.kube.client import Cluster, Outcome, Refusal
from scalesets.kube.context import Context
from scalesets.kube.fleet import utc_now
from scalesets.kube.kinds import CONFIG_MAPS, SECRETS
from scalesets.kube.preflight import Report
from scalesets.kube.recorder import Recorder
from scalesets.kube.settings import Settings

STUCK_AFTER = timedelta(seconds=10)
"""A new instance that isn't up by then may wait for something."""
LOOK_EVERY = 60.0
"""Seconds between two looks that find nothing."""


class Credentials:
    """Looks for one set after the other."""

    def __init__(self, cluster: Cluster, settings: Settings, recorder: Recorder) -> None:
        self._cluster = cluster
        self._settings = settings
        self._recorder = recorder

    async def look(self, context: Context, model: str) -> Report:
        """What is wrong with what the model names: trouble of that model from now on. An event tells what is unseen."""

        async def get(kind: str, namespace: str, name: str) -> dict[str, Any] | None:
            return await read_reference(self._cluster, kind, namespace, name)

        seen, view = context.seen, context.view
        report = Report()
        for name in sorted(seen.revisions) if view.is_group else [model]:  # a group's machines have their own
            found = await preflight.check(
                context.scale_set,
                seen.revisions[name],
                get=get,
                read_secrets=self._settings.read_secrets,
                now=utc_now(),
                pull_secrets=catalogues.pull_secrets(seen, view.models[name]),
            )
            report.problems.extend(p for p in found.problems if p not in report.problems)
            report.unchecked.extend(p for p in found.unchecked if p not in report.unchecked)
        troubles = context.memory.troubles
        if report.problems:
            troubles.note(TroubleKind.PREFLIGHT, report.message, utc_now(), model=model)
        else:
            troubles.clear(TroubleKind.PREFLIGHT, model=model)
            if report.unchecked:
                words = "; ".join(report.unchecked)
                self._recorder.tell(context.scale_set, Event("ExternalResourcesNotChecked", words))
        return report

    async def follow(self, context: Context) -> tuple[bool, float | None]:
        """Look while new instances don't come up, and again at what was wrong: whether there is news, and in how many
        seconds to look again.
        """
        model, memory, now = context.view.model, context.memory, utc_now()
        known = memory.troubles.first(TroubleKind.PREFLIGHT)
        if model is None or model.name not in context.seen.revisions:
            return False, None
        if known is None:
            stuck = self._stuck_at(context)
            if stuck is None:
                return False, None
            wait = max((stuck - now).total_seconds(), memory.looked_at + LOOK_EVERY - time.monotonic())
            if wait > 0:
                return False, wait
        elif memory.troubles.first(TroubleKind.PREFLIGHT, held_at=now) is not None:
            return False, None  # the engine looks again when it is over
        memory.looked_at = time.monotonic()
        await self.look(context, model.name)
        return memory.troubles.first(TroubleKind.PREFLIGHT) != known, LOOK_EVERY

    def _stuck_at(self, context: Context) -> datetime | None:
        ready = (context.scale_set.get("status") or {}).get("readyReplicas") or 0
        instances = context.view.instances
        return stuck_at(instances.values()) if ready < len(instances) else None


def stuck_at(instances: Iterable[Instance]) -> datetime | None:
    """When the first of the instances that never were Ready is late; None: there are none."""
    late = (i.created + STUCK_AFTER for i in instances if i.live and not i.ready and i.first_ready is None)
    return min(late, default=None)


async def read_reference(cluster: Cluster, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
    """A Secret or ConfigMap that a model names; None when it doesn't exist."""
    try:
        return await cluster.get(SECRETS if kind == SECRETS.kind else CONFIG_MAPS, namespace, name)
    except Refusal as refusal:
        if refusal.outcome is Outcome.MISSING:
            return None
        if refusal.outcome is Outcome.FORBIDDEN:
            raise preflight.Forbidden(refusal.message) from refusal
        raise
