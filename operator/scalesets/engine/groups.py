"""The upgrades of an availability set: what is decided over all of its machines, and what is left to each (E5c, I10).

An availability set is decided as a set whose instances are its machines: one update domain at a time, never all of them
at once. Only the upgrade is decided here; a machine that is lost, new or changed is tended by its own decision, which
believes the running batch of its availability set before its own record (``wanted_of_member``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from scalesets.engine import extensions
from scalesets.engine.decide import decide
from scalesets.engine.decision import Decision, PatchExtension
from scalesets.engine.view import (
    NONE,
    Instance,
    Model,
    ModelExtension,
    Release,
    SetView,
    StartedBy,
    Upgrade,
    UpgradeMode,
)


def decide_group(view: SetView, now: datetime) -> Decision:
    """Decide on one availability set. ``view.instances`` are the pods of its machines by place, ``view.models`` their
    models.
    """
    decision = decide(as_one_set(view), now)
    patches = tuple(a for a in decision.actions if isinstance(a, PatchExtension))
    return replace(decision, actions=patches)


def assign(places: Mapping[str, int], machines: Sequence[str]) -> dict[str, int]:
    """The place of each machine: the one that it has, for the others the lowest that is free, in their order."""
    kept = {name: places[name] for name in machines if name in places}
    taken = set(kept.values())
    free = (place for place in range(len(taken) + len(machines)) if place not in taken)
    return {**kept, **{name: next(free) for name in machines if name not in kept}}


def as_one_set(view: SetView) -> SetView:
    """The machines as the instances of one set: with a model that has the extensions of all of theirs."""
    view = replace(view, names=_taken_over(view))
    present = {o: i for o, i in view.instances.items() if o in view.names}
    record = {o: r for o, r in view.status.record.items() if o in view.names}
    model = _model_of_all(view, {**record, **{o: i.release for o, i in present.items()}})
    members = _members(view)
    at_work = _at_work(view)
    user = at_work is not None and at_work.started_by is StartedBy.USER

    def narrowed(ordinal: int, release: Release) -> Release:
        if (former := members.get(ordinal)) is not None:  # as when its batch began
            return _only(release, [name for name, _ in former.extensions])
        return _narrowed(view, model, release, user=user)

    instances = {o: _with(i, narrowed(o, i.release)) for o, i in present.items()}
    return replace(
        view,
        replicas=max(view.names, default=-1) + 1,
        mode=UpgradeMode.AUTOMATIC,
        model=model,
        model_problem=("", ""),
        models={**view.models, model.name: model},
        instances=instances,
        status=replace(view.status, record={o: narrowed(o, r) for o, r in record.items()}),
        zones=(),
        is_group=True,
    )


def wanted_of_member(group: SetView, ordinal: int, known: Release | None) -> Release | None:
    """Where the running batch of its availability set wants a machine, that has ``known`` on record; None while it has
    no part in one.
    """
    upgrade = group.current_upgrade
    status = upgrade.status if upgrade is not None else None
    batch = status.running_batch if status is not None else None
    if status is None or batch is None or ordinal not in status.scope.intersection(batch.members):
        return None
    former = batch.members[ordinal]
    wanted = former if ordinal in batch.rolled_back else extensions.upgraded(status.extensions, batch.extension, former)
    if known is None:
        return wanted
    version = dict(wanted.extensions).get(batch.extension)
    carried = tuple((n, version if n == batch.extension and version else v) for n, v in known.extensions)
    return replace(known, extensions=carried)


def _taken_over(view: SetView) -> Mapping[int, str]:
    """The machines by place, without a newcomer whose place was another's: it waits until the upgrade at work, and the
    record, have let go of that one.
    """
    given = dict(view.status.machines)
    upgrade = view.current_upgrade
    scope = upgrade.status.scope if upgrade is not None and upgrade.status is not None else NONE
    return {o: name for o, name in view.names.items() if (given[o] == name if o in given else o not in scope)}


def _model_of_all(view: SetView, releases: Mapping[int, Release]) -> Model:
    """A model with the extensions of all machines; of one name with two types the machine of the lowest place counts.

    Its name tells the models apart that it is made of.
    """
    found: dict[str, ModelExtension] = {}
    names = sorted({release.model for release in releases.values()})
    for ordinal in sorted(releases):
        own = view.models.get(releases[ordinal].model)
        for extension in own.extensions if own is not None else ():
            known = found.setdefault(extension.name, extension)
            if known.key == extension.key and extension.enable_automatic_upgrade:
                found[extension.name] = replace(known, enable_automatic_upgrade=True)
    digest = hashlib.sha256("/".join(names).encode()).hexdigest()[:10]
    return Model(name=digest, content=digest, image="", extensions=tuple(found[name] for name in sorted(found)))


def _narrowed(view: SetView, model: Model, release: Release, *, user: bool) -> Release:
    """The release without the extensions that the upgrade leaves alone on this machine: of another type, or, unless a
    user asked for it, not opted in.
    """
    own = view.models.get(release.model)
    return _only(release, [n for n, _ in release.extensions if _takes_part(model, own, n, user=user)])


def _only(release: Release, names: Collection[str]) -> Release:
    left = tuple((n, v) for n, v in release.extensions if n in names)
    return release if left == release.extensions else replace(release, extensions=left)


def _takes_part(model: Model, own: Model | None, name: str, *, user: bool) -> bool:
    mine, of_all = extensions.model_extension(own, name), extensions.model_extension(model, name)
    if mine is None or of_all is None or mine.key != of_all.key:
        return False
    return user or mine.enable_automatic_upgrade or not of_all.enable_automatic_upgrade


def _with(instance: Instance, release: Release) -> Instance:
    return instance if release is instance.release else replace(instance, release=release)


def _at_work(view: SetView) -> Upgrade | None:
    """The upgrade that has the lock or is about to take it: users' first."""
    if view.current_upgrade is not None:
        return view.current_upgrade
    waiting = [u for u in view.upgrades if not u.finished]
    return next((u for u in waiting if u.started_by is StartedBy.USER), None)


def _members(view: SetView) -> Mapping[int, Release]:
    """The members of the running batch, and what each comes from."""
    upgrade = view.current_upgrade
    batch = upgrade.status.running_batch if upgrade is not None and upgrade.status is not None else None
    return batch.members if batch is not None else {}
