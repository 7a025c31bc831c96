"""A scale set, machine or availability set and all that bears on it, read once: what ``plan`` and ``explain`` show the
operator's engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Container, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from scalesets.cli import turns, whose
from scalesets.cli.errors import CommandError, ExitCode
from scalesets.cli.fields import Obj, at, name_of, text
from scalesets.cli.snapshot import Snapshot
from scalesets.cli.turns import Turn
from scalesets.engine import groups
from scalesets.engine.view import Instance, Ordinals, SetView, Timing
from scalesets.kube import claims, models, pods, views
from scalesets.kube.names import owner_name
from scalesets.kube.seen import Seen
from scalesets.kube.settings import Settings

if TYPE_CHECKING:
    from scalesets.cli.cluster import Cluster


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What was read. ``unread`` names what the user may not read; answers are then less complete."""

    snapshot: Snapshot
    images: tuple[Obj, ...] = ()
    extensions: tuple[Obj, ...] = ()
    revisions: tuple[Obj, ...] = ()
    claims: tuple[Obj, ...] = ()
    budgets: tuple[Obj, ...] = ()
    nodes: tuple[Obj, ...] = ()
    lease: Obj | None = None
    unread: tuple[str, ...] = ()
    catalog_namespace: str = ""
    turn: Turn | None = None  # of a machine by itself

    @property
    def now(self) -> datetime:
        """When it was read."""
        return self.snapshot.now


async def look_around(cluster: Cluster, name: str, *, catalog_namespace: str) -> Surroundings:
    """Read them. What is beside the point is left out where the user may not read it."""
    named = whose.known(name)
    settings = Settings(catalog_namespace=catalog_namespace)
    unread: list[str] = []

    async def if_allowed(what: str, reading: Awaitable[tuple[Obj, ...]]) -> tuple[Obj, ...]:
        from scalesets.cli.cluster import ForbiddenError

        try:
            return await reading
        except ForbiddenError:
            unread.append(what)
            return ()

    async def nothing() -> tuple[Obj, ...]:
        return ()

    async def lease() -> tuple[Obj, ...]:
        try:
            return (await cluster.lease(catalog_namespace, settings.lease_name),)
        except CommandError as error:
            if error.exit_code is ExitCode.NOT_FOUND:
                return ()
            raise

    snapshot, images, extensions = await asyncio.gather(
        cluster.snapshot(name), cluster.images(catalog_namespace), cluster.extensions(catalog_namespace)
    )
    has_extensions = any(at(fleet, "spec.extensions") for fleet in (snapshot.scale_set, *snapshot.machines))
    revisions, disks, budgets, leases, nodes = await asyncio.gather(
        if_allowed("controllerrevisions", cluster.revisions(named)),
        if_allowed("persistentvolumeclaims", cluster.claims(named)),
        if_allowed("poddisruptionbudgets", cluster.budgets()),
        if_allowed("leases", lease()),
        if_allowed("nodes", cluster.nodes() if has_extensions else nothing()),
    )
    turn = await turns.read(cluster, snapshot)
    if turn is not None and not turn.whole:
        unread.append("virtualmachines of other namespaces")
    return Surroundings(
        snapshot=snapshot,
        images=images,
        extensions=extensions,
        revisions=revisions,
        claims=disks,
        budgets=budgets,
        nodes=nodes,
        lease=leases[0] if leases else None,
        unread=tuple(sorted(unread)),
        catalog_namespace=catalog_namespace,
        turn=turn,
    )


def engine_view(around: Surroundings) -> SetView:
    """The engine's view of the set, made as the operator makes it.

    The operator's flags are not known here: its trigger delays show in what it says in the set's conditions.
    """
    try:
        view = _built(around, Settings(catalog_namespace=around.catalog_namespace))
        view = replace(view, timing=_timing(view), held_back=around.turn.words if around.turn is not None else "")
        return replace(view, unpatchable=_on_old_kubelets(around, view.instances)) if around.nodes else view
    except (KeyError, ValueError, TypeError) as error:
        message = f"{around.snapshot.name} can't be understood: {type(error).__name__}: {error}"
        mend = "are this program, the operator and the CRDs of one version?"
        raise CommandError(message, mend=mend) from error


def _built(around: Surroundings, settings: Settings) -> SetView:
    if around.snapshot.whose is None or around.snapshot.whose.owner is not whose.AVAILABILITY_SET:
        return views.build(_seen(around), settings=settings)
    group = views.build_group(_seen(around), settings=settings)
    if around.revisions:
        return groups.as_one_set(group)
    return replace(group, replicas=max(group.names, default=-1) + 1)  # what each has installed is not told apart


def _timing(view: SetView) -> Timing:
    """The operator's, as far as the set's status tells: when it tries failed extensions again."""
    lasts = view.status.last_extension_upgrades.values()
    told = [last.retry_delay for last in lasts if last.retry_delay is not None]
    return replace(view.timing, extension_retry_interval=max(told)) if told else view.timing


def _on_old_kubelets(around: Surroundings, instances: Mapping[int, Instance]) -> Ordinals:
    from scalesets.kube import kubelets  # brings the Kubernetes client, for which help and completion have no time

    old = {name_of(n) for n in around.nodes if kubelets.is_too_old(text(n, "status.nodeInfo.kubeletVersion"))}
    return kubelets.on_nodes(instances, old)


def _seen(around: Surroundings) -> Seen:
    snapshot = around.snapshot
    uids = {text(o, "metadata.uid") for o in (snapshot.machines or (snapshot.scale_set,))}
    own = owner_name(snapshot.scale_set)
    disks: dict[int, dict[str, claims.Claim]] = {}
    for raw in around.claims:
        claim = claims.parse(raw)
        if claim is not None and claim.ordinal is not None and claim.set_name == own:
            disks.setdefault(claim.ordinal, {})[claim.template] = claim
    return Seen(
        scale_set=snapshot.scale_set,
        instances=_instances(snapshot),
        claims=disks,
        revisions={models.model_name(r): r for r in around.revisions if _owned_by(r, uids)},
        upgrades=snapshot.upgrades,
        images=around.images,
        extensions=around.extensions,
        catalog_namespace=around.catalog_namespace,
        places={name: place for place, name in snapshot.names.items()},
    )


def _instances(snapshot: Snapshot) -> dict[int, Instance]:
    """By their places; a machine knows itself as the only one."""
    found = {
        ordinal: pod.instance
        for ordinal, raw in snapshot.pods_by_ordinal().items()
        if (pod := pods.parse(raw, previous=None, now=snapshot.now)) is not None and pod.owner_uid
    }
    return {place: replace(instance, ordinal=place) for place, instance in found.items()}


def _owned_by(obj: Obj, uids: Container[str]) -> bool:
    return any(o.get("controller") and text(o, "uid") in uids for o in at(obj, "metadata.ownerReferences", []))
